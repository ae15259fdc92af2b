/**
 * A TCP relay between one party and the brokers, which can do to their
 * connections what networks do: hold bytes up, let few through, or lose them
 * without a word.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Bytes that wait in the relay per direction, at most, before it stops reading. */
const QUEUE_BYTES_MAX = 256 * 1024;

export interface LinkQuality {
  readonly delayMs: number;
  readonly bytesPerSecond: number;
}

const PERFECT: LinkQuality = { delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY };

interface Connection {
  readonly party: Socket;
  readonly broker: Socket;
  /** Which of the brokers. */
  readonly at: number;
  /** Nothing passes any more, and neither side is told. */
  silent: boolean;
}

export class Relay {
  quality = PERFECT;
  /** Where it listens: one host:port for each broker, comma-separated. */
  readonly address: string;
  readonly #connections = new Set<Connection>();
  readonly #servers: readonly Server[];
  #partitioned = false;
  #only: number | undefined;

  private constructor(servers: readonly Server[], targets: readonly string[]) {
    this.#servers = servers;
    const addresses = servers.map((server) => server.address() as AddressInfo);
    this.address = addresses.map(({ address, port }) => `${address}:${port}`).join(',');
    for (const [at, server] of servers.entries())
      server.on('connection', (party) => this.#accept(party, targets[at]!, at));
  }

  /** `targets` are host:port; it listens at `host`. */
  static async start(targets: readonly string[], host = '127.0.0.1'): Promise<Relay> {
    const servers = targets.map(() => createServer().listen(0, host));
    await Promise.all(servers.map((server) => once(server, 'listening')));
    return new Relay(servers, targets);
  }

  /** Only this one of the brokers takes connections, the others' end; undefined: all do. */
  only(at: number | undefined): void {
    this.#only = at;
    for (const { party, broker, at: own } of this.#connections)
      if (at !== undefined && own !== at) for (const socket of [party, broker]) socket.destroy();
  }

  /** Loses all present connections without telling either side, which notice only the silence. */
  halfOpen(): void {
    for (const connection of this.#connections) connection.silent = true;
  }

  /** Likewise, and new connections fail too, until the relay is healed. */
  partition(): void {
    this.#partitioned = true;
    this.halfOpen();
  }

  heal(): void {
    this.#partitioned = false;
    this.quality = PERFECT;
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const { party, broker } of this.#connections) for (const socket of [party, broker]) socket.destroy();
  }

  #accept(party: Socket, target: string, at: number): void {
    if (this.#only !== undefined && this.#only !== at) {
      party.destroy();
      return;
    }
    const [host, port] = target.split(':') as [string, string];
    const broker = connect(Number(port), host);
    const connection: Connection = { party, broker, at, silent: this.#partitioned };
    this.#connections.add(connection);
    this.#pass(connection, party, broker);
    this.#pass(connection, broker, party);
  }

  #pass(connection: Connection, from: Socket, to: Socket): void {
    const queue: { readonly bytes: Buffer; readonly dueMs: number }[] = [];
    let queuedBytes = 0;
    let freeMs = 0;
    let timer: NodeJS.Timeout | undefined;
    // One after the other, whatever the delay was for those before.
    const pump = () => {
      timer = undefined;
      for (let first = queue[0]; first !== undefined; first = queue[0]) {
        const waitMs = first.dueMs - performance.now();
        if (waitMs > 0) {
          timer = setTimeout(pump, waitMs);
          return;
        }
        queue.shift();
        queuedBytes -= first.bytes.length;
        if (!connection.silent && !to.destroyed) to.write(first.bytes);
      }
      if (to.writableNeedDrain) from.pause();
      else from.resume();
    };
    from.on('data', (bytes) => {
      if (connection.silent) return;
      const { delayMs, bytesPerSecond } = this.quality;
      freeMs = Math.max(freeMs, performance.now() + delayMs) + (bytes.length / bytesPerSecond) * 1000;
      queue.push({ bytes, dueMs: freeMs });
      queuedBytes += bytes.length;
      if (queuedBytes > QUEUE_BYTES_MAX) from.pause();
      if (timer === undefined) pump();
    });
    to.on('drain', () => {
      if (queuedBytes <= QUEUE_BYTES_MAX) from.resume();
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      // What is on its way arrives first.
      if (!connection.silent) setTimeout(() => to.destroy(), Math.max(0, freeMs - performance.now()));
      if (connection.party.destroyed && connection.broker.destroyed) this.#connections.delete(connection);
    });
  }
}
