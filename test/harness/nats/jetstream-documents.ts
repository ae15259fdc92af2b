/** A log of documents on a real nats-server for tests: one stream, and as many brokers on it as are opened. */
import assert from 'node:assert/strict';
import { PUBLISHING } from '../../../src/broker/app/publisher.js';
import { documentForm } from '../../../src/broker/log/documents/document-streams.js';
import {
  JetStreamDocumentLog,
  type JetStreamDocumentLogOptions,
} from '../../../src/broker/log/documents/jetstream-document-log.js';
import { AppendBounds } from '../../../src/broker/log/jetstream/appender.js';
import { CatchUpTurns } from '../../../src/broker/log/jetstream/catch-up-turns.js';
import type { NatsLink } from '../../../src/broker/nats/nats-link.js';
import { makeStream } from '../../../src/broker/nats/stream-form.js';
import { MiB } from '../../../src/limits.js';
import type { DocumentLogName } from '../../../src/wire/event/document-topics.js';
import type { DocumentLogUnderTest, DocumentLogWanted } from '../../contract/document-log.js';
import { until } from '../until.js';
import type { NatsServers } from './nats-servers.js';
import { linkTo } from './state-under-test.js';

let clusters = 0;

export class JetStreamDocuments implements DocumentLogUnderTest {
  readonly cluster = `documents-${++clusters}`;
  readonly #links: NatsLink[] = [];
  readonly #logs: JetStreamDocumentLog[] = [];
  readonly #servers: NatsServers;
  readonly #name: DocumentLogName;
  readonly #ids: DocumentLogWanted['ids'];

  private constructor(servers: NatsServers, name: DocumentLogName, { ids = PUBLISHING }: DocumentLogWanted) {
    this.#servers = servers;
    this.#name = name;
    this.#ids = name === 'audit' ? undefined : ids;
  }

  static async create(
    servers: NatsServers,
    wanted: DocumentLogWanted = {},
    name: DocumentLogName = 'app',
    options: Partial<JetStreamDocumentLogOptions> = {},
  ): Promise<JetStreamDocuments> {
    const documents = new JetStreamDocuments(servers, name, wanted);
    const link = await linkTo(servers);
    const form = documentForm(documents.cluster, name, servers.servers.length);
    await makeStream(link.manager, { ...form, max_bytes: wanted.bytesMax ?? 16 * MiB }, '0123456789abcdef');
    await link.close();
    await documents.another(options);
    return documents;
  }

  get log(): JetStreamDocumentLog {
    return this.#logs[0]!;
  }

  get link(): NatsLink {
    return this.#links[0]!;
  }

  /** Another broker's. */
  async another(options: Partial<JetStreamDocumentLogOptions> = {}): Promise<JetStreamDocumentLog> {
    const link = options.link ?? (await linkTo(this.#servers));
    this.#links.push(link);
    const log = await JetStreamDocumentLog.open({
      ...{ name: this.#name, cluster: this.cluster, link, ids: this.#ids },
      ...{ bounds: new AppendBounds(), turns: new CatchUpTurns() },
      onTrouble: () => undefined,
      onRewound: (_stream, offset) => assert.fail(`rewound to ${offset}`),
      onLost: (cause) => assert.fail(cause),
      ...options,
    });
    this.#logs.push(log);
    return log;
  }

  async enforce(): Promise<void> {
    const { name } = this.#stream();
    const { state } = await this.link.manager.streams.info(name);
    for (const log of this.#logs) {
      await log.look();
      await until('all is read', () => log.deliverableOffset > state.last_seq);
    }
  }

  #stream() {
    return documentForm(this.cluster, this.#name);
  }

  async destroy(): Promise<void> {
    for (const log of this.#logs) await log.close();
    for (const link of this.#links) await link.close();
  }
}
