/** One gRPC call by hand, with any headers, and what its caller can see of the answer. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { codeOfStatus, DETAILS_KEY } from '../../../src/wire/grpc/status-details.js';

export interface GrpcAnswer {
  /** Number of gRPC; 0 is OK. */
  readonly status: number;
  readonly message: string;
  /** The broker's own code. */
  readonly code: string | undefined;
  readonly messages: readonly Buffer[];
}

export class GrpcCaller {
  readonly #session: ClientHttp2Session;

  constructor(address: string) {
    this.#session = connect(`http://${address}`);
    this.#session.on('error', () => undefined);
  }

  close(): void {
    this.#session.destroy();
  }

  /**
   * @param authorization undefined: no such header
   * @param enough ends the call after so many messages
   * @param more other headers
   */
  async call(
    path: string,
    authorization: string | undefined,
    request: Buffer,
    enough = Number.POSITIVE_INFINITY,
    more: Readonly<Record<string, string>> = {},
  ): Promise<GrpcAnswer> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(authorization === undefined ? {} : { authorization }),
      ...more,
    });
    stream.on('error', () => undefined);
    let told: IncomingHttpHeaders = {};
    let bytes = Buffer.alloc(0);
    const messages: Buffer[] = [];
    const note = (headers: IncomingHttpHeaders) => {
      told = { ...told, ...headers };
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece]);
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
        const end = 5 + bytes.readUInt32BE(1);
        messages.push(bytes.subarray(5, end));
        bytes = bytes.subarray(end);
        if (messages.length >= enough) stream.close();
      }
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(request.length, 1);
    stream.end(Buffer.concat([head, request]));
    await once(stream, 'close');
    const details = told[DETAILS_KEY];
    return {
      status: Number(told['grpc-status'] ?? (messages.length > 0 ? 0 : -1)),
      message: decodeURI(String(told['grpc-message'] ?? '')),
      code: details === undefined ? undefined : codeOfStatus(Buffer.from(String(details), 'base64')),
      messages,
    };
  }
}
