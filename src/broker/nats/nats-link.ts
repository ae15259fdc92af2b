/**
 * A broker's connections to NATS. What is published, what is read and what is asked have one each, so that none of them
 * waits behind the others.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { BackplaneError } from '../../errors.js';
import { NATS_REQUEST_MS } from '../../limits.js';
import { connectNats, type NatsOptions } from './connect.js';
import type { StreamPublisher } from './stream-publisher.js';

export interface NatsLink {
  readonly publishing: NatsConnection;
  readonly reading: NatsConnection;
  readonly asking: NatsConnection;
  readonly client: JetStreamClient;
  /** Frames, of which many are under way. */
  readonly publisher: StreamPublisher;
  readonly manager: JetStreamManager;
  /** Whether what is published leaves this process. */
  readonly connected: boolean;
  close(): Promise<void>;
}

/**
 * Throws as connectNats does.
 * @param onUnfit called where one of the connections comes to a server that no broker may use: that connection is closed then
 */
export async function openLink(
  options: NatsOptions,
  name: string,
  onUnfit?: (reason: BackplaneError) => void,
): Promise<NatsLink> {
  const { jetstream, jetstreamManager } = await import('./nats-library.js');
  const { StreamPublisher } = await import('./stream-publisher.js');
  const open: NatsConnection[] = [];
  const close = async () => {
    // What was said in this turn is written at its end, also to connections that are closed by then: that would be an error.
    await turn();
    await Promise.all(open.map((connection) => connection.close()));
  };
  try {
    for (const purpose of ['publishes', 'reads', 'asks']) {
      open.push(await connectNats(options, `${name} ${purpose}`, onUnfit));
    }
    const [publishing, reading, asking] = open as [NatsConnection, NatsConnection, NatsConnection];
    const manager = await jetstreamManager(untilLost(asking), { timeout: NATS_REQUEST_MS, checkAPI: false });
    const publisher = new StreamPublisher(publishing);
    let connected = true;
    void watch(publishing, (is) => {
      connected = is;
      if (!is) publisher.disconnected();
    });
    return {
      ...{ publishing, reading, asking, manager, publisher, close },
      client: jetstream(publishing, { timeout: NATS_REQUEST_MS }),
      get connected() {
        return connected;
      },
    };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** The same connection, whose requests end with it: what it was asked has no answer then, and need not be waited for. */
function untilLost(connection: NatsConnection): NatsConnection {
  const open = new Set<(cause: Error) => void>();
  void watch(connection, (connected) => {
    if (!connected) for (const end of open) end(new Error('the connection to NATS was lost'));
  });
  const request: NatsConnection['request'] = (...asked) =>
    new Promise((resolve, reject) => {
      open.add(reject);
      const over = () => open.delete(reject);
      connection
        .request(...asked)
        .then(resolve, reject)
        .finally(over);
    });
  return Object.create(connection, { request: { value: request } });
}

/** Until the connection is closed. */
async function watch(connection: NatsConnection, tell: (connected: boolean) => void): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'disconnect') tell(false);
    else if (type === 'reconnect') tell(true);
  }
  tell(false);
}
