/**
 * A TCP relay between one party and the broker, which can do to their
 * connections what networks do: hold bytes up, let few through, or lose them
 * without a word.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Of one direction: what waits in the relay, at most, before it reads no more. */
const QUEUE_BYTES_MAX = 256 * 1024;

export interface LinkQuality {
  readonly delayMs: number;
  readonly bytesPerSecond: number;
}

const PERFECT: LinkQuality = { delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY };

interface Connection {
  readonly party: Socket;
  readonly broker: Socket;
  /** Nothing passes any more, and neither side is told. */
  silent: boolean;
}

export class Relay {
  quality = PERFECT;
  address = '';
  readonly #connections = new Set<Connection>();
  readonly #server = createServer((party) => this.#accept(party));
  #partitioned = false;

  private constructor(private readonly target: string) {}

  /** `target` is host:port. */
  static async start(target: string): Promise<Relay> {
    const relay = new Relay(target);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    relay.address = `127.0.0.1:${(relay.#server.address() as AddressInfo).port}`;
    return relay;
  }

  /** The connections there are are lost, and neither side hears of it: only silence tells. */
  halfOpen(): void {
    for (const connection of this.#connections) connection.silent = true;
  }

  /** Likewise, and new ones come to nothing, until it is healed. */
  partition(): void {
    this.#partitioned = true;
    this.halfOpen();
  }

  heal(): void {
    this.#partitioned = false;
    this.quality = PERFECT;
  }

  close(): void {
    this.#server.close();
    for (const { party, broker } of this.#connections) for (const socket of [party, broker]) socket.destroy();
  }

  #accept(party: Socket): void {
    const [host, port] = this.target.split(':') as [string, string];
    const broker = connect(Number(port), host);
    const connection: Connection = { party, broker, silent: this.#partitioned };
    this.#connections.add(connection);
    this.#pass(connection, party, broker);
    this.#pass(connection, broker, party);
  }

  #pass(connection: Connection, from: Socket, to: Socket): void {
    let queuedBytes = 0;
    let freeMs = 0;
    from.on('data', (bytes) => {
      if (connection.silent) return;
      const { delayMs, bytesPerSecond } = this.quality;
      const nowMs = performance.now();
      // In order, whatever the delay was for those before.
      freeMs = Math.max(freeMs, nowMs + delayMs) + (bytes.length / bytesPerSecond) * 1000;
      queuedBytes += bytes.length;
      if (queuedBytes > QUEUE_BYTES_MAX) from.pause();
      const send = () => {
        queuedBytes -= bytes.length;
        if (connection.silent || to.destroyed) return;
        const room = to.write(bytes);
        if (!room) to.once('drain', () => from.resume());
        else if (queuedBytes <= QUEUE_BYTES_MAX) from.resume();
      };
      if (freeMs <= nowMs) send();
      else setTimeout(send, freeMs - nowMs);
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      if (!connection.silent) to.destroy();
      if (connection.party.destroyed && connection.broker.destroyed) this.#connections.delete(connection);
    });
  }
}
