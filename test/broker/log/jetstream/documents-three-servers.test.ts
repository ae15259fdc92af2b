/**
 * Logs of documents on three servers, and on the oldest that is taken: the contract, and leaders that are killed while two
 * brokers publish. It takes minutes, so that `npm run check` runs it and `npm test` does not.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { documentStream } from '../../../../src/broker/log/documents/document-streams.js';
import type { JetStreamDocumentLog } from '../../../../src/broker/log/documents/jetstream-document-log.js';
import { MiB } from '../../../../src/limits.js';
import { documentLogContract } from '../../../contract/document-log.js';
import { batchOf, readLog } from '../../../harness/broker/documents.js';
import { JetStreamDocuments } from '../../../harness/nats/jetstream-documents.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const KILLS = Math.floor(runs(1) / 2);
const PUBLISHERS = 8;
const skip = KILLS === 0 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats();

for (const version of ['newest', 'floor'] as const) {
  if (KILLS === 0 || needsNats(version) !== false) continue;
  const servers: NatsServers[] = [];
  before(async () => {
    servers.push(await NatsServers.start({ version, count: version === 'newest' ? 3 : 1 }));
  });
  after(() => servers[0]!.destroy());
  documentLogContract(`jetstream, ${version}`, (wanted) => JetStreamDocuments.create(servers[0]!, wanted));
}

/** What a subscription makes of what it is told. */
class Told {
  readonly events: string[] = [];
  repeated = 0;

  constructor(log: JetStreamDocumentLog) {
    log.follow({
      stored: (batch) => {
        this.repeated += batch.repeated.length;
        for (const [at, { id }] of batch.documents.entries()) {
          if (!batch.repeats(at)) this.events.push(`${batch.node} ${id}`);
        }
      },
    });
  }
}

/** Sends its events as a client does: again, at any broker, until it is told that they are stored. */
class Publishing {
  acknowledged = 0;
  /** Milliseconds. */
  pauseMax = 0;
  readonly name: string;
  readonly #brokers: readonly JetStreamDocumentLog[];

  constructor(name: string, brokers: readonly JetStreamDocumentLog[]) {
    this.name = name;
    this.#brokers = brokers;
  }

  async run(goesOn: () => boolean): Promise<void> {
    for (let at = 0; goesOn(); at++) {
      const batch = batchOf('app.load', [String(this.acknowledged)], 'x'.repeat(500), this.name);
      const beganMs = performance.now();
      for (let tries = 0, isStored = false; !isStored; tries++) {
        const log = this.#brokers[(at + tries) % 2]!;
        isStored = await log.append(batch).then(
          () => true,
          () => false,
        );
      }
      this.pauseMax = Math.max(this.pauseMax, performance.now() - beganMs);
      this.acknowledged++;
    }
  }
}

test('leaders are killed while two brokers publish: no acknowledged event is lost, none is delivered twice', {
  skip,
}, async (t: TestContext) => {
  const servers = await NatsServers.start({ count: 3 });
  const documents = await JetStreamDocuments.create(servers, { bytesMax: 256 * MiB });
  try {
    const both = [documents.log, await documents.another()];
    const told = both.map((log) => new Told(log));
    const publishing = Array.from({ length: PUBLISHERS }, (_, at) => new Publishing(`@p${at}`, both));
    let isOver = false;
    const running = Promise.all(publishing.map((each) => each.run(() => !isOver)));
    const pauses: number[] = [];
    const count = () => publishing.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    for (let kill = 0; kill < KILLS; kill++) {
      const begun = count();
      await until('events are taken', () => count() > begun + 100, count);
      for (const each of publishing) each.pauseMax = 0;
      const info = await documents.link.manager.streams.info(documentStream(documents.cluster, 'app'));
      const leader = servers.of(info.cluster!.leader!);
      await leader.kill();
      const atKill = publishing.map(({ acknowledged }) => acknowledged);
      const goOn = () => publishing.every(({ acknowledged }, at) => acknowledged > atKill[at]! + 1);
      await until('all go on', goOn, count);
      pauses.push(Math.max(...publishing.map(({ pauseMax }) => pauseMax)));
      leader.start();
      await leader.ready();
      await sleep(1_000);
    }
    isOver = true;
    await running;
    const end = Math.max(...both.map((log) => log.deliverableOffset));
    await until('both have read all', () => both.every((log) => log.deliverableOffset >= end));
    for (const { name, acknowledged } of publishing) {
      const own = told[0]!.events.filter((event) => event.startsWith(`${name} `));
      assert.deepEqual(
        own,
        Array.from({ length: acknowledged }, (_, at) => `${name} ${at}`),
      );
    }
    assert.deepEqual(told[0], told[1]);
    const read = (await readLog(await documents.another(), 1)).flatMap((batch) => {
      assert.ok(typeof batch !== 'string');
      return batch.documents.flatMap(({ id }, at) => (batch.repeats(at) ? [] : [`${batch.node} ${id}`]));
    });
    assert.deepEqual(read, told[0]!.events, 'also by a broker that reads it all from the stream');
    const seconds = pauses.sort((a, b) => a - b).map((ms) => (ms / 1000).toFixed(1));
    const passed = `${told[0]!.repeated} more in the stream and passed over`;
    t.diagnostic(
      `${KILLS} kills, ${read.length} events, ${passed}; longest pauses of a publisher, s: ${seconds.join(' ')}`,
    );
  } finally {
    await documents.destroy();
    await servers.destroy();
  }
});
