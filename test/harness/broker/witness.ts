/** A subscriber that must be served whatever others send, and calls made of arbitrary bytes. */
import assert from 'node:assert/strict';
import { type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { Harness, type Subscriber } from './harness.js';
import type { TestAgent } from './test-agent.js';

export class Witness {
  /** The number of events recorded so far, all of which must arrive. */
  count = 0;

  private constructor(
    readonly harness: Harness,
    readonly agent: TestAgent,
    readonly subscriber: Subscriber,
  ) {}

  static readonly httpConnections = 1024;

  static async start(): Promise<Witness> {
    const harness = new Harness();
    harness.httpBounds = { connections: Witness.httpConnections, streams: Witness.httpConnections / 2 };
    await harness.startBroker();
    const agent = await harness.agent('witness');
    const subscriber = harness.subscribe({ topics: ['process'], nodes: ['witness'], follow: true });
    await subscriber.isAccepted();
    return new Witness(harness, agent, subscriber);
  }

  /** Asserts that the subscriber gets each new event once, that health is good, and that everything can be listed. */
  async served(): Promise<void> {
    const { harness, agent, subscriber } = this;
    agent.recorder.record('process.exec', this.count++);
    agent.publish();
    await subscriber.has(this.count);
    assert.equal(subscriber.pids.length, this.count);
    assert.equal(subscriber.pids.at(-1), this.count - 1);
    await this.isServing();
    for (const path of ['/v1/nodes', '/v1/subscriptions', '/v1/status', '/v1/topics', '/metrics', '/readyz']) {
      const answer = await fetch(`http://${harness.broker.httpAddress}${path}`);
      assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
    }
  }

  async isServing(): Promise<void> {
    const Health = makeGenericClientConstructor(healthService as never, 'Health');
    const client = new Health(this.harness.broker.grpcAddress, credentials.createInsecure()) as never as {
      check(request: object, answer: (error: Error | null, response: { status: string | number }) => void): void;
      close(): void;
    };
    const { status } = await new Promise<{ status: string | number }>((resolve, reject) => {
      client.check({ service: '' }, (error, response) => (error ? reject(error) : resolve(response)));
    });
    client.close();
    assert.ok(status === 'SERVING' || status === 1);
  }

  /** Calls a gRPC method with the given bytes, in the given pieces. */
  call(path: string, pieces: readonly Buffer[], headers: Record<string, string> = {}): Promise<Answer> {
    return this.#answer(path, headers, (stream) => {
      for (const piece of pieces) stream.write(piece);
      stream.end();
    });
  }

  /** A call that sends nothing. */
  callOpen(path: string): Promise<Answer> {
    return this.#answer(path, {}, () => undefined);
  }

  async #answer(
    path: string,
    headers: Record<string, string>,
    send: (stream: ClientHttp2Stream) => void,
  ): Promise<Answer> {
    const session = connectHttp2(`http://${this.harness.broker.grpcAddress}`);
    session.on('error', () => undefined);
    try {
      const stream = session.request({ ...requestTo(path), ...headers });
      stream.on('error', () => undefined);
      const found: { status?: string; message?: string } = {};
      const note = (each: Record<string, unknown>) => {
        if (each['grpc-status'] !== undefined) found.status = String(each['grpc-status']);
        if (each['grpc-message'] !== undefined) found.message = decodeURIComponent(String(each['grpc-message']));
      };
      stream.on('response', note).on('trailers', note);
      stream.resume();
      send(stream);
      await new Promise((resolve) => stream.on('close', resolve));
      return { status: found.status, message: found.message ?? '', reset: stream.rstCode };
    } finally {
      session.destroy();
    }
  }

  destroy(): Promise<void> {
    return this.harness.destroy();
  }
}

export interface Answer {
  readonly status: string | undefined;
  readonly message: string;
  /** HTTP/2 error code of the stream; 0: none. */
  readonly reset: number | undefined;
}

export function requestTo(path: string): Record<string, string> {
  return {
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
}

/** A gRPC message: compressed flag, length, bytes; the length may lie. */
export function framed(message: Buffer, compressed = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}
