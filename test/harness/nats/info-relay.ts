/**
 * A relay before a real nats-server, which can say of itself what another server would: an older version, a smaller
 * max_payload. All else passes as it is.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface ToldByServer {
  readonly version?: string;
  readonly max_payload?: number;
}

export class InfoRelay {
  /** What connections that begin from now on are told in place of what the server says. */
  told: ToldByServer = {};
  /** How many connections were told something else than the server says. */
  deceived = 0;
  /** What these have sent. */
  sentByDeceived = '';
  /** As `--nats` takes it. */
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, target: URL) {
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.url = `nats://${address}:${port}`;
    server.on('connection', (client) => this.#accept(client, target));
  }

  /** @param url of the server, nats://host:port */
  static async start(url: string): Promise<InfoRelay> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new InfoRelay(server, new URL(url));
  }

  /** Ends all connections. Clients come again. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.drop();
  }

  #accept(client: Socket, { hostname, port }: URL): void {
    const { told } = this;
    const isDeceived = Object.keys(told).length > 0;
    if (isDeceived) this.deceived++;
    const server = connect(Number(port), hostname);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    }
    const end = () => {
      for (const socket of [client, server]) {
        socket.destroy();
        this.#sockets.delete(socket);
      }
    };
    client.on('close', end);
    server.on('close', end);
    client.on('data', (bytes) => {
      if (isDeceived) this.sentByDeceived += bytes.toString('latin1');
      server.write(bytes);
    });
    let first = '';
    const onFirst = (bytes: Buffer) => {
      first += bytes.toString('latin1');
      if (!first.includes('\r\n')) return;
      // A server introduces itself again when it has heard who is there.
      server.off('data', onFirst).on('data', (more) => client.write(isDeceived ? otherwise(more, told) : more));
      client.write(otherwise(Buffer.from(first, 'latin1'), told));
    };
    server.on('data', onFirst);
  }
}

/** The same bytes, with what is told in each introduction. */
function otherwise(bytes: Buffer, told: ToldByServer): Buffer {
  const text = bytes
    .toString('latin1')
    .replace(/^INFO (\{.*\})(?=\s*\r\n)/gm, (_, info) => `INFO ${JSON.stringify({ ...JSON.parse(info), ...told })}`);
  return Buffer.from(text, 'latin1');
}
