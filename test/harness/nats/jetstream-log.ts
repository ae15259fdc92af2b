/** Partition logs on a real nats-server for tests: one stream, and as many brokers on it as are opened. */
import assert from 'node:assert/strict';
import { AppendBounds } from '../../../src/broker/log/jetstream/appender.js';
import { CatchUpTurns } from '../../../src/broker/log/jetstream/catch-up-turns.js';
import { JetStreamLog, type JetStreamLogOptions } from '../../../src/broker/log/jetstream/jetstream-log.js';
import { partitionForm } from '../../../src/broker/log/jetstream/streams.js';
import type { NatsLink } from '../../../src/broker/nats/nats-link.js';
import { makeStream } from '../../../src/broker/nats/stream-form.js';
import { MiB, PARTITIONS } from '../../../src/limits.js';
import type { NatsServers } from './nats-servers.js';
import { linkTo } from './state-under-test.js';

/** Longer than any test: nothing but what it appends is in the stream. */
const NEVER_MS = 3_600_000;

let clusters = 0;

export class JetStreamLogs {
  readonly cluster = `test-${++clusters}`;
  readonly #servers: NatsServers;
  readonly #opened = new Map<JetStreamLog, NatsLink>();
  #made = false;

  constructor(servers: NatsServers) {
    this.#servers = servers;
  }

  /** @param bytesMax of the stream, which is made by the first call */
  async open(bytesMax = 64 * MiB, { times, ...options }: Partial<JetStreamLogOptions> = {}): Promise<JetStreamLog> {
    const link = options.link ?? (await linkTo(this.#servers));
    try {
      if (!this.#made) {
        const bounds = { bytesMax: bytesMax * PARTITIONS, ageMsMax: NEVER_MS, replicas: this.#servers.servers.length };
        await makeStream(link.manager, partitionForm(this.cluster, 0, bounds), '0123456789abcdef');
      }
      this.#made = true;
      const log = await JetStreamLog.open({
        ...{ cluster: this.cluster, partition: 0, broker: `b${this.#opened.size}`, link },
        ...{ bounds: new AppendBounds(), turns: new CatchUpTurns() },
        times: { tickMs: NEVER_MS, silenceMs: NEVER_MS, retryMsMin: 50, ...times },
        onLost: (cause) => assert.fail(cause),
        onRewound: (_log, offset) => assert.fail(`rewound to ${offset}`),
        ...options,
      });
      this.#opened.set(log, link);
      return log;
    } catch (cause) {
      await link.close();
      throw cause;
    }
  }

  another(): Promise<JetStreamLog> {
    return this.open();
  }

  link(log: JetStreamLog): NatsLink {
    return this.#opened.get(log)!;
  }

  /** Its connections are gone, and it closes nothing. */
  async kill(log: JetStreamLog): Promise<void> {
    await this.link(log).close();
  }

  async enforce(log: JetStreamLog): Promise<void> {
    await log.settled();
    await log.look();
  }

  async destroy(): Promise<void> {
    for (const [log, link] of this.#opened) {
      await log.close();
      await link.close();
    }
  }
}
