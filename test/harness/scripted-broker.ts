/**
 * A gRPC server that speaks the Backplane service over a numbered list of
 * events: what a client sees can be foretold exactly, and the connection can
 * be cut at any event. The real broker is tested with the real client elsewhere.
 */
import { Server, ServerCredentials, type ServerWritableStream, status } from '@grpc/grpc-js';
import { BackplaneError } from '../../src/errors.js';
import type { BusEvent } from '../../src/wire/event/event.js';
import { EventWriter } from '../../src/wire/event/event-writer.js';
import { rawService } from '../../src/wire/grpc/rpc.js';
import { callFailure } from '../../src/wire/grpc/status-details.js';
import {
  eventBatchCodec,
  explainResponseCodec,
  getStatusResponseCodec,
  listNodesResponseCodec,
  listSubscriptionsRequestCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
  nsToTimestamp,
  type SubscribeRequest__Output,
  type SubscribeResponse,
  subscribeRequestCodec,
  subscribeResponseCodec,
} from '../../src/wire/messages.js';

type Call = ServerWritableStream<Buffer, Buffer>;
type Unary = (call: { readonly request: Buffer }, done: (error: object | null, answer?: Buffer) => void) => void;

/** SubscribeResponse.events: field 2, length-delimited. */
const EVENTS_TAG = 0x12;

export interface ScriptedBrokerOptions {
  readonly events: readonly BusEvent[];
  /** Sent in front of the events of every stream. */
  readonly notices?: readonly SubscribeResponse[];
  /** For each stream in turn: after how many of its events it is cut, and with what status. None: not cut. */
  readonly cuts?: readonly ({ readonly after: number; readonly code: status; readonly details: string } | undefined)[];
  /** Sent behind the last event; with follow the stream stays open. */
  readonly coverage?: SubscribeResponse['coverage'];
  readonly nodesMissing?: readonly string[];
  /** Takes the place of what `accepted` says otherwise. */
  readonly accepted?: SubscribeResponse['accepted'];
  readonly batch?: number;
  /** Streams are refused for want of room. */
  readonly full?: boolean;
  /** Streams are cut before they are accepted. */
  readonly refusing?: boolean;
  readonly port?: number;
}

export class ScriptedBroker {
  readonly requests: SubscribeRequest__Output[] = [];
  /** Streams that the client cancelled. */
  cancelled = 0;
  /** Batches that the socket took. */
  written = 0;
  #server = new Server();
  #options: ScriptedBrokerOptions;

  private constructor(options: ScriptedBrokerOptions) {
    this.#options = options;
  }

  address = '';

  static async start(options: ScriptedBrokerOptions): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(options);
    const unary =
      (answer: (request: Buffer) => Buffer): Unary =>
      ({ request }, done) =>
        done(null, answer(request));
    broker.#server.addService(rawService('Backplane'), {
      Subscribe: (call: Call) => void broker.#subscribe(call),
      Explain: unary(() =>
        explainResponseCodec.encode({
          plan: {
            filter: 'process.pid == 1',
            topics: ['process'],
            stages: [{ place: 'agent', text: 'matches "x"\x1b[0m' }],
          },
          nodes: ['node-a'],
        }),
      ),
      ListNodes: unary(() =>
        listNodesResponseCodec.encode({
          nodes: [
            {
              name: 'node-a',
              state: 'NODE_STATE_DEGRADED',
              degraded: 'no tracefs',
              labels: ['zone=b', 'os=debian', 'zone=a'],
              eventsRecorded: '12',
              cpuRatio: 0.004,
            },
          ],
        }),
      ),
      ListTopics: unary(() =>
        listTopicsResponseCodec.encode({ topics: [{ name: 'process', description: 'programs' }] }),
      ),
      // In two pages.
      ListSubscriptions: unary((bytes) => {
        const { pageToken } = listSubscriptionsRequestCodec.decode(bytes, bytes.length);
        return listSubscriptionsResponseCodec.encode(
          pageToken === ''
            ? { subscriptions: [{ id: 's1', client: 'me' }], nextPageToken: '1' }
            : { subscriptions: [{ id: 's2', client: pageToken }] },
        );
      }),
      GetStatus: unary(() => getStatusResponseCodec.encode({ version: '1.2.3', nodes: 1, eventsIngested: '7' })),
    });
    const port = await new Promise<number>((resolve, reject) => {
      const credentials = ServerCredentials.createInsecure();
      broker.#server.bindAsync(`127.0.0.1:${options.port ?? 0}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    broker.address = `127.0.0.1:${port}`;
    return broker;
  }

  /** As a kill does: connections are cut. */
  stop(): void {
    this.#server.forceShutdown();
  }

  async #subscribe(call: Call): Promise<void> {
    const request = subscribeRequestCodec.decode(call.request, 1 << 20);
    const cut = this.#options.cuts?.[this.requests.length];
    this.requests.push(request);
    let cancelled = false;
    let flow = () => {};
    call.on('drain', () => flow());
    call.on('cancelled', () => {
      cancelled = true;
      this.cancelled++;
      flow();
    });
    if (this.#options.full) {
      const message = 'at most 1 subscriptions run at once';
      call.emit('error', callFailure(new BackplaneError('resource_exhausted', message, { retryAfterMs: 1_000 })));
      return;
    }
    if (request.filter === 'bad') {
      call.emit('error', { code: status.INVALID_ARGUMENT, details: 'filter: column 1: unknown field "bad"' });
      return;
    }
    const since = nsToTimestamp(1_000_000_000n);
    const nodesMissing = [...(this.#options.nodesMissing ?? [])];
    const accepted = { subscriptionId: 's', nodes: ['node-a'], nodesMissing, since, ...this.#options.accepted };
    if (!this.#options.refusing) this.#write(call, { accepted });
    for (const notice of this.#options.notices ?? []) this.#write(call, notice);
    const first = request.cursor === '' ? 0 : Number(request.cursor) + 1;
    const left = this.#options.events.length - first;
    const count = Math.min(left, Number(request.limit) || left, cut?.after ?? left);
    for (let at = first; at < first + count && !cancelled; at += this.#options.batch ?? 3) {
      const end = Math.min(at + (this.#options.batch ?? 3), first + count);
      const flowing = this.#write(call, batch(this.#options.events, at, end));
      this.written++;
      if (!flowing && !cancelled) await new Promise<void>((resolve) => (flow = resolve));
    }
    if (cut !== undefined) call.emit('error', cut);
    else if (!request.follow) {
      if (this.#options.coverage) this.#write(call, { coverage: this.#options.coverage });
      call.end();
    }
  }

  #write(call: Call, response: SubscribeResponse | Buffer): boolean {
    return call.write(Buffer.isBuffer(response) ? response : subscribeResponseCodec.encode(response));
  }
}

/** A SubscribeResponse whose events are spliced bytes, as a broker sends them. */
function batch(events: readonly BusEvent[], from: number, to: number): Buffer {
  const writer = new EventWriter();
  for (const event of events.slice(from, to)) writer.write(event);
  const head = eventBatchCodec.encode({ node: 'node-a', topic: 'process', history: true, cursor: String(to - 1) });
  const content = Buffer.concat([head, writer.take()]);
  const length: number[] = [];
  let rest = content.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([EVENTS_TAG, ...length, rest]), content]);
}
