/**
 * Two bounds that the gRPC library lacks on a server: the memory of incomplete messages, and the time until a call's
 * request arrives. The library keeps every DATA frame of a message as a buffer of its own until the message is whole: a
 * megabyte in frames of one byte would cost a hundred.
 *
 *   stream := (compressed u8 | length u32 | message)*
 */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { FIRST_MESSAGE_MS, INCOMPLETE_BYTES_MAX, PIECE_BYTES } from '../../limits.js';
import { DETAILS_KEY } from './status-details.js';

/** Calls that may stay silent: they belong to a session that has identified itself. */
const SILENT: ReadonlySet<string> = new Set(['/backplane.v1.Uplink/Live', '/backplane.v1.Uplink/History']);

/** Calls that anybody may make and leave open: a connection with only such calls counts as idle. */
const HEALTH_PREFIX = '/grpc.health.v1.';

const HEAD_BYTES = 5;

/** The state of one connection. */
interface Traffic {
  incompleteBytes: number;
  /** Calls whose request has arrived and that have not ended. */
  calls: number;
  /** Called when the first such call begins or the last one ends. */
  readonly onBusy: (busy: boolean) => void;
}

/**
 * Guards a connection. `onBusy` is called when a first call's request has arrived, and when the last such call has
 * ended.
 */
export function guardMessages(session: ServerHttp2Session, onBusy: (busy: boolean) => void): void {
  const traffic: Traffic = { incompleteBytes: 0, calls: 0, onBusy };
  session.on('stream', (stream, headers) => {
    const path = String(headers[':path']);
    const call = new GuardedCall(stream, traffic, !path.startsWith(HEALTH_PREFIX));
    if (!SILENT.has(path)) call.expectMessage();
  });
}

class GuardedCall {
  /** Memory cost of the incomplete message. */
  #heldBytes = 0;
  #headLeft = HEAD_BYTES;
  #length = 0;
  #bodyLeft = 0;
  #timer: NodeJS.Timeout | undefined;
  /** A whole message has arrived. */
  #heard = false;

  readonly #stream: ServerHttp2Stream;
  readonly #connection: Traffic;
  /** Whether the call makes its connection busy, which keeps it open. */
  readonly #counts: boolean;

  constructor(stream: ServerHttp2Stream, connection: Traffic, counts: boolean) {
    this.#stream = stream;
    this.#connection = connection;
    this.#counts = counts;
    // The library has its own listener, and keeps the stream paused until it wants data.
    stream.on('data', (piece: Buffer) => this.#receive(piece));
    stream.on('close', () => this.#ended());
  }

  expectMessage(): void {
    this.#timer = setTimeout(() => {
      this.#refuse(status.DEADLINE_EXCEEDED, `the request must come within ${FIRST_MESSAGE_MS} ms`);
    }, FIRST_MESSAGE_MS);
    this.#timer.unref();
  }

  #receive(piece: Buffer): void {
    const rest = this.#walk(piece);
    if (rest < piece.length) this.#said();
    const before = rest < piece.length ? 0 : this.#heldBytes;
    this.#hold(rest === 0 ? 0 : before + rest + PIECE_BYTES);
    if (this.#connection.incompleteBytes <= INCOMPLETE_BYTES_MAX) return;
    const cost = `incomplete messages of a connection must take at most ${INCOMPLETE_BYTES_MAX} bytes`;
    this.#refuse(status.RESOURCE_EXHAUSTED, `${cost}, with ${PIECE_BYTES} for each DATA frame`);
  }

  #said(): void {
    if (this.#heard) return;
    this.#heard = true;
    clearTimeout(this.#timer);
    if (this.#counts && this.#connection.calls++ === 0) this.#connection.onBusy(true);
  }

  #ended(): void {
    clearTimeout(this.#timer);
    this.#hold(0);
    if (this.#heard && this.#counts && --this.#connection.calls === 0) this.#connection.onBusy(false);
  }

  /** Returns the number of bytes up to the end of the last complete message. */
  #walk(piece: Buffer): number {
    let completeTo = 0;
    for (let at = 0; at < piece.length; ) {
      if (this.#headLeft > 0) {
        const byte = piece[at++]!;
        if (this.#headLeft-- < HEAD_BYTES) this.#length = this.#length * 256 + byte;
        this.#bodyLeft = this.#length;
      } else {
        const taken = Math.min(this.#bodyLeft, piece.length - at);
        this.#bodyLeft -= taken;
        at += taken;
      }
      if (this.#headLeft > 0 || this.#bodyLeft > 0) continue;
      this.#headLeft = HEAD_BYTES;
      this.#length = 0;
      completeTo = at;
    }
    return piece.length - completeTo;
  }

  #hold(bytes: number): void {
    this.#connection.incompleteBytes += bytes - this.#heldBytes;
    this.#heldBytes = bytes;
  }

  #refuse(code: status, message: string): void {
    refuseCall(this.#stream, code, message, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/**
 * Answers in place of the library, unless the library has answered, and closes the stream with an HTTP/2 error code.
 * `details`: an encoded google.rpc.Status.
 */
export function refuseCall(
  stream: ServerHttp2Stream,
  code: status,
  message: string,
  closeCode: number,
  details?: Buffer,
): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.headersSent) {
    const headers = { ':status': 200, 'content-type': 'application/grpc' };
    const told = details === undefined ? {} : { [DETAILS_KEY]: details.toString('base64') };
    stream.respond(
      { ...headers, 'grpc-status': String(code), 'grpc-message': encodeURI(message), ...told },
      { endStream: true },
    );
  }
  stream.close(closeCode);
}
