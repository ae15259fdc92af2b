/**
 * gRPC set-up of both sides. Servers get and give raw Buffers: handlers decode them, so that the answer to a bad
 * message says what is wrong with it. Clients get typed objects, except on the data streams, which carry encoded frames
 * end to end.
 *
 *   LiveRequest    := (frame 1)+
 *   HistoryRequest := query_id varint 1 | (frame 2 | HistoryEnd 3)
 */
import {
  type CallOptions,
  type ChannelCredentials,
  type ChannelInterface,
  type ChannelOptions,
  type Client,
  type ClientDuplexStream,
  type ClientWritableStream,
  credentials as channelCredentials,
  InterceptingCall,
  type Interceptor,
  type Metadata,
  type MethodDefinition,
  makeGenericClientConstructor,
  type requestCallback,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import {
  KEEPALIVE_MS,
  KEEPALIVE_TIMEOUT_MS,
  LIVE_MESSAGE_FRAMES_MAX,
  MESSAGE_BYTES_MAX,
  UPLINK_WINDOW_BYTES,
} from '../../limits.js';
import type { BackplaneClient } from '../gen/backplane/v1/Backplane.js';
import type { ControlRequest } from '../gen/backplane/v1/ControlRequest.js';
import type { ControlResponse__Output } from '../gen/backplane/v1/ControlResponse.js';
import type { GroupsClient } from '../gen/backplane/v1/Groups.js';
import type { HistoryEnd, HistoryEnd__Output } from '../gen/backplane/v1/HistoryEnd.js';
import type { JoinClient } from '../gen/backplane/v1/Join.js';
import {
  historyEndCodec,
  type PublisherClient,
  type SubscribeResponse__Output,
  subscribeResponseCodec,
} from '../messages.js';
import { LENGTH, ProtoReader, ProtoWriter, varintBytes } from '../protobuf.js';
import { VERSION_KEY } from '../protocol.js';
import { encodedBatch, receivedBatch, typedBatch } from '../received-batch.js';
import { serviceDefinition } from '../schema.js';

/** Metadata key that ties an agent's data streams to its control stream. */
export const SESSION_KEY = 'backplane-session';

export type HistoryMessage =
  | { readonly queryId: number; readonly frameBytes: Buffer }
  | { readonly queryId: number; readonly end: HistoryEnd };

export type ReceivedHistoryMessage =
  | { readonly queryId: number; readonly frameBytes: Buffer }
  | { readonly queryId: number; readonly end: HistoryEnd__Output };

export interface UplinkClient extends Client {
  control(metadata: Metadata, options?: CallOptions): ClientDuplexStream<ControlRequest, ControlResponse__Output>;
  /** The values written are encoded frames: see encodeLiveMessage. */
  live(metadata: Metadata, callback: requestCallback<object>): ClientWritableStream<readonly Buffer[]>;
  history(metadata: Metadata, callback: requestCallback<object>): ClientWritableStream<HistoryMessage>;
}

/** At most what one frame takes in a LiveRequest beyond its own bytes. */
const FRAME_HEAD_BYTES = 8;

/** Whether a frame of so many bytes can go in one LiveRequest with `frames` others of `bytes` together. */
export function fitsLiveMessage(frames: number, bytes: number, frameBytes: number): boolean {
  return frames < LIVE_MESSAGE_FRAMES_MAX && bytes + frameBytes + (frames + 1) * FRAME_HEAD_BYTES <= MESSAGE_BYTES_MAX;
}

function encodeLiveMessage(frames: readonly Buffer[]): Buffer {
  let bytes = 0;
  for (const frame of frames) bytes += frame.length + FRAME_HEAD_BYTES;
  const writer = new ProtoWriter(bytes);
  for (const frame of frames) {
    writer.tag(1, LENGTH);
    writer.varint(frame.length);
    writer.bytes.set(frame, writer.offset);
    writer.offset += frame.length;
  }
  return writer.finish();
}

/**
 * The encoded frames within a LiveRequest, as views; as copies where most of the message is something else, which would
 * stay in memory with them. Throws invalid_argument.
 */
export function decodeLiveMessage(bytes: Buffer): Buffer[] {
  const reader = new ProtoReader(bytes, 'live message');
  const frames: Buffer[] = [];
  let framesBytes = 0;
  while (reader.nextTag()) {
    if (reader.field === 1) framesBytes += frames[frames.push(reader.chunk()) - 1]!.length;
    else reader.skip();
    if (frames.length > LIVE_MESSAGE_FRAMES_MAX)
      throw reader.fail(`frames must be at most ${LIVE_MESSAGE_FRAMES_MAX}, got more`);
  }
  if (frames.length === 0) throw reader.fail('frames must be at least 1, got none');
  return framesBytes < bytes.length / 2 ? frames.map((frame) => Buffer.from(frame)) : frames;
}

/** What decodeHistoryMessage decodes. */
export function encodeHistoryMessage(message: HistoryMessage): Buffer {
  const isFrame = 'frameBytes' in message;
  const content = isFrame ? message.frameBytes : historyEndCodec.encode(message.end);
  const writer = new ProtoWriter(content.length + varintBytes(message.queryId) + 8);
  writer.uintField(1, message.queryId);
  writer.tag(isFrame ? 2 : 3, LENGTH);
  writer.varint(content.length);
  writer.bytes.set(content, writer.offset);
  writer.offset += content.length;
  return writer.finish();
}

/** Decodes a message of a History stream; `frameBytes` of the result is a view. Throws invalid_argument. */
export function decodeHistoryMessage(bytes: Buffer): ReceivedHistoryMessage {
  const reader = new ProtoReader(bytes, 'history message');
  let queryId = 0;
  let frameBytes: Buffer | undefined;
  let end: Buffer | undefined;
  while (reader.nextTag()) {
    if (reader.field === 1) queryId = reader.uint();
    else if (reader.field === 2) frameBytes = reader.chunk();
    else if (reader.field === 3) end = reader.chunk();
    else reader.skip();
  }
  if (frameBytes !== undefined && end === undefined) return { queryId, frameBytes };
  if (end !== undefined && frameBytes === undefined) {
    return { queryId, end: historyEndCodec.decode(end, MESSAGE_BYTES_MAX) };
  }
  throw reader.fail('must have either frame or end');
}

/** The services that a broker implements itself. */
export type Service = 'Uplink' | 'Backplane' | 'Groups' | 'Publisher' | 'Join';

/** For a server: every request and response is the encoded message. */
export function rawService(name: Service): ServiceDefinition {
  const raw: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  for (const [method, definition] of Object.entries(serviceDefinition(name))) {
    raw[method] = {
      ...definition,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
  }
  return raw;
}

/** Options of every client: bounded messages, working backpressure, detection of dead peers, no proxy in between. */
function createChannelOptions(): ChannelOptions {
  return {
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    // With a retry buffer, write() never reports a full socket until it is full too.
    'grpc.enable_retries': 0,
    'grpc.per_rpc_retry_buffer_size': 0,
    'grpc.retry_buffer_size': 0,
    'grpc-node.flow_control_window': UPLINK_WINDOW_BYTES,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.enable_channelz': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
  };
}

/** What calls send: a text, or a function that is asked for each call, because tokens are renewed. */
export type TokenSource = string | undefined | (() => string | undefined);

/** Sends the token with every call. */
function bearer(token: TokenSource, { showsCertificate }: ChannelSecurity): readonly Interceptor[] {
  if (token === undefined || showsCertificate) return [];
  return [
    withMetadata((metadata) => {
      const sent = typeof token === 'function' ? token() : token;
      if (sent !== undefined) metadata.set('authorization', `Bearer ${sent}`);
    }),
  ];
}

/** Sends the caller's version with every call. */
function versioned(version: string | undefined): readonly Interceptor[] {
  return version === undefined ? [] : [withMetadata((metadata) => metadata.set(VERSION_KEY, version))];
}

function withMetadata(add: (metadata: Metadata) => void): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        add(metadata);
        next(metadata, listener);
      },
    });
}

/** How a channel is secured. */
export interface ChannelSecurity {
  readonly isSecure: boolean;
  /** This side has a certificate of its own, which is its credential: a call has only one, so no token goes with it. */
  readonly showsCertificate: boolean;
  readonly credentials: ChannelCredentials;
  /** Of the channel, which belong to the credentials. */
  readonly options: ChannelOptions;
}

/** No encryption. */
export const CLEAR_CHANNEL: ChannelSecurity = {
  isSecure: false,
  showsCertificate: false,
  credentials: channelCredentials.createInsecure(),
  options: {},
};

/** `address` is host:port; `token` is the broker's, if it requires one. */
export function createUplinkClient(address: string, token?: string, security?: ChannelSecurity): UplinkClient {
  const definition = serviceDefinition('Uplink');
  const withFrames: ServiceDefinition = {
    ...definition,
    Live: { ...definition.Live!, requestSerialize: encodeLiveMessage },
    History: { ...definition.History!, requestSerialize: encodeHistoryMessage },
  };
  return createClient('Uplink', address, token, security, {}, withFrames) as unknown as UplinkClient;
}

/**
 * Batches of events come as ReceivedBatch. Turns one that cannot be decoded, because one of its events is invalid, into
 * a gap, so that the stream continues. Brokers check events on arrival, but older brokers do not.
 */
export function decodeSubscribeResponse(bytes: Buffer, read = receivedBatch): SubscribeResponse__Output {
  try {
    const batch = read(bytes);
    if (batch !== undefined) return { item: 'events', events: batch };
    return subscribeResponseCodec.decode(bytes, bytes.length);
  } catch (cause) {
    const gap = { ...batchNames(bytes, cause), eventsUnknown: true, reason: 'refused' };
    const message = 'the broker sent these events with some that are none: nobody can decode them';
    return subscribeResponseCodec.decode(
      subscribeResponseCodec.encode({ gap: { ...gap, message } }),
      bytes.length + 1024,
    );
  }
}

/** Node and topic of a response that is a batch of events; throws `cause` for any other response. */
function batchNames(bytes: Buffer, cause: unknown): { node: string; topic: string } {
  const encoded = encodedBatch(bytes);
  if (encoded === undefined) throw cause;
  const batch = new ProtoReader(encoded, 'batch');
  const names = { node: '', topic: '' };
  while (batch.nextTag()) {
    if (batch.field === 1) names.node = batch.chunk().toString('utf8');
    else if (batch.field === 2) names.topic = batch.chunk().toString('utf8');
    else batch.skip();
  }
  return names;
}

/** What users of the client library may set of a connection. */
export interface ConnectionOptions {
  /** Take precedence over this client's own. */
  readonly channelOptions?: ChannelOptions | undefined;
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Batches are decoded in the client library's form as they come. */
  readonly typed?: boolean | undefined;
  /** The caller's version, which brokers then check: see checkVersions. Who says none is served whatever it is. */
  readonly version?: string | undefined;
  /** The connection of another client, to be shared. */
  readonly channel?: ChannelInterface | undefined;
}

/** `address` is host:port; `token` is the broker's, if it requires one. Answers are objects (see schema.ts). */
export function createBackplaneClient(
  address: string,
  token?: TokenSource,
  security?: ChannelSecurity,
  options?: ConnectionOptions,
): BackplaneClient {
  const definition = serviceDefinition('Backplane');
  const lenient: ServiceDefinition = {
    ...definition,
    Subscribe: {
      ...definition.Subscribe!,
      responseDeserialize: (bytes) => decodeSubscribeResponse(bytes, options?.typed ? typedBatch : receivedBatch),
    },
  };
  return createClient('Backplane', address, token, security, options, lenient) as unknown as BackplaneClient;
}

/** The same for groups. */
export function createGroupsClient(
  address: string,
  token?: TokenSource,
  security?: ChannelSecurity,
  options?: ConnectionOptions,
): GroupsClient {
  return createClient('Groups', address, token, security, options) as unknown as GroupsClient;
}

/** The same for who publishes. */
export function createPublisherClient(
  address: string,
  token?: TokenSource,
  security?: ChannelSecurity,
  options?: ConnectionOptions,
): PublisherClient {
  return createClient('Publisher', address, token, security, options) as unknown as PublisherClient;
}

function createClient(
  name: Service,
  address: string,
  token: TokenSource,
  security: ChannelSecurity = CLEAR_CHANNEL,
  { channelOptions, interceptors = [], version, channel }: ConnectionOptions = {},
  definition = serviceDefinition(name),
): Client {
  const Constructor = makeGenericClientConstructor(definition, name);
  return new Constructor(address, security.credentials, {
    ...createChannelOptions(),
    ...security.options,
    ...channelOptions,
    ...(channel === undefined ? {} : { channelOverride: channel }),
    interceptors: [...interceptors, ...versioned(version), ...bearer(token, security)],
  });
}

/** `address` is host:port; `token` is the broker's, where a call wants it. */
export function createJoinClient(address: string, security: ChannelSecurity, token?: string): JoinClient {
  return createClient('Join', address, token, security) as unknown as JoinClient;
}
