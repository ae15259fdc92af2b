/** HTTP/2 written by hand, for valid but hostile traffic such as DATA frames of one byte. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const CONTINUATION = 9;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const FRAME_HEAD_BYTES = 9;

export class RawHttp2 {
  /** Streams that the server has reset, and with which error code. */
  readonly resets = new Map<number, number>();
  /** Streams on which the server has sent headers. */
  readonly answered = new Set<number>();
  /** Streams that the server has ended. */
  readonly ended = new Set<number>();
  #pongs = 0;
  closed = false;
  #pending = Buffer.alloc(0);

  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => this.#read(bytes));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
    });
  }

  /** `address` is host:port. */
  static async connect(address: string): Promise<RawHttp2> {
    const [host, port] = address.split(':') as [string, string];
    const socket = connect(Number(port), host);
    await once(socket, 'connect');
    const raw = new RawHttp2(socket);
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0)]));
    return raw;
  }

  /** Opens a stream of the odd number `id` for a gRPC call. `more` are headers besides, of up to 126 bytes. */
  request(id: number, path: string, more: readonly (readonly [string, string])[] = []): void {
    const headers = {
      ':method': 'POST',
      ':scheme': 'http',
      ':path': path,
      ':authority': 'x',
      'content-type': 'application/grpc',
      te: 'trailers',
    };
    const all = [...Object.entries(headers), ...more];
    const literals = all.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]);
    this.#socket.write(frame(HEADERS, END_HEADERS, id, Buffer.concat(literals)));
  }

  /** Opens a stream whose headers never end, or goes on with them. */
  async headersOf(id: number, bytes: number, first: boolean): Promise<void> {
    const literal = Buffer.concat([Buffer.from([0]), text('x'), text('y'.repeat(100))]);
    const payload = Buffer.concat(Array.from({ length: Math.floor(bytes / literal.length) }, () => literal));
    if (!this.#socket.write(frame(first ? HEADERS : CONTINUATION, 0, id, payload))) await this.#drained();
  }

  async reset(id: number): Promise<void> {
    const cancel = Buffer.from([0, 0, 0, 8]);
    if (!this.#socket.write(frame(RST_STREAM, 0, id, cancel))) await this.#drained();
  }

  /** Resolves when the server has read all that was sent before. */
  async ping(): Promise<void> {
    const pongs = this.#pongs + 1;
    this.#socket.write(frame(PING, 0, 0, Buffer.alloc(8)));
    while (this.#pongs < pongs && !this.closed) await once(this.#socket, 'data');
  }

  /** The bytes in DATA frames of so many bytes each, the last of which may end the stream. Resolves when the socket has taken them. */
  async data(id: number, bytes: Buffer, bytesEach: number, last = false): Promise<void> {
    if (bytes.length === 0) this.#socket.write(frame(DATA, last ? END_STREAM : 0, id));
    for (let at = 0; at < bytes.length && !this.closed; ) {
      const frames: Buffer[] = [];
      for (const end = Math.min(bytes.length, at + 4096 * bytesEach); at < end; at += bytesEach) {
        const flags = last && at + bytesEach >= bytes.length ? END_STREAM : 0;
        frames.push(frame(DATA, flags, id, bytes.subarray(at, at + bytesEach)));
      }
      if (!this.#socket.write(Buffer.concat(frames))) await this.#drained();
    }
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #drained(): Promise<void> {
    if (this.closed) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const event of ['drain', 'close']) this.#socket.off(event, done);
        resolve();
      };
      for (const event of ['drain', 'close']) this.#socket.on(event, done);
    });
  }

  #read(bytes: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    while (this.#pending.length >= FRAME_HEAD_BYTES) {
      const length = this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < FRAME_HEAD_BYTES + length) return;
      const [type, flags] = [this.#pending[3]!, this.#pending[4]!];
      const id = this.#pending.readUInt32BE(5);
      const payload = this.#pending.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + length);
      if ((type === HEADERS || type === DATA) && (flags & END_STREAM) !== 0) this.ended.add(id);
      if (type === PING && flags === ACK) this.#pongs++;
      if (type === HEADERS) this.answered.add(id);
      else if (type === RST_STREAM) this.resets.set(id, payload.readUInt32BE(0));
      else if ((type === SETTINGS || type === PING) && flags !== ACK) {
        this.#socket.write(frame(type, ACK, 0, type === PING ? payload : Buffer.alloc(0)));
      }
      this.#pending = this.#pending.subarray(FRAME_HEAD_BYTES + length);
    }
  }
}

function frame(type: number, flags: number, id: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK: an uncompressed string of up to 126 bytes. */
function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}
