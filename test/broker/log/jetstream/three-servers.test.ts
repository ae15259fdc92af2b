/**
 * The log on three servers, and on the oldest that is taken: the contract, and leaders that are killed under load. It takes
 * minutes, so that `npm run check` runs it and `npm test` does not.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { follows } from '../../../../src/broker/log/chain.js';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import { MiB } from '../../../../src/limits.js';
import { encodeFrame } from '../../../../src/wire/frame/frame.js';
import type { Position } from '../../../../src/wire/position.js';
import { frameOf, PROCESS, partitionLogContract } from '../../../contract/partition-log.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const KILLS = Math.floor(runs(1) / 2);
const NODES = 8;
const skip = KILLS === 0 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats();

for (const version of ['newest', 'floor'] as const) {
  if (KILLS === 0 || needsNats(version) !== false) continue;
  const servers: NatsServers[] = [];
  before(async () => {
    servers.push(await NatsServers.start({ version, count: version === 'newest' ? 3 : 1 }));
  });
  after(() => servers[0]!.destroy());
  partitionLogContract(`jetstream, ${version}`, async () => new JetStreamLogs(servers[0]!));
}

/** What a subscription makes of what it is told. */
class Told {
  readonly frames: string[] = [];
  /** A leader that dies may have stored a frame whose successor has not seen it yet: it is then taken again. */
  duplicates = 0;

  constructor(log: JetStreamLog) {
    const reached = new Map<string, Position>();
    log.follow(({ node, frame }) => {
      const followed = follows(frame, reached.get(node));
      if (followed === 'duplicate') this.duplicates++;
      else this.frames.push(`${node} ${followed === 'next' ? '' : followed}${frame.coveredTo.timeNs}`);
      if (followed !== 'duplicate') reached.set(node, frame.coveredTo);
    });
  }
}

/** Frames of one node, appended as ingest does: one that is not taken is tried again. */
class Node {
  acknowledged = 0;
  /** Milliseconds. */
  pauseMax = 0;
  readonly #log: JetStreamLog;
  readonly #name: string;

  constructor(log: JetStreamLog, name: string) {
    this.#log = log;
    this.#name = name;
  }

  async run(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      const frame = { ...frameOf(this.acknowledged, this.acknowledged + 1, 1_000), continues: this.acknowledged > 0 };
      const beganMs = performance.now();
      for (let isTaken = false; !isTaken; ) {
        isTaken = await this.#log.append(this.#name, frame, encodeFrame(frame)).then(
          () => true,
          () => false,
        );
      }
      this.pauseMax = Math.max(this.pauseMax, performance.now() - beganMs);
      this.acknowledged++;
    }
  }
}

test('leaders are killed under load: no acknowledged frame is lost, none is delivered twice', {
  skip,
}, async (t: TestContext) => {
  const servers = await NatsServers.start({ count: 3 });
  const logs = new JetStreamLogs(servers);
  const times = { tickMs: 1_000, silenceMs: 3_000, retryMsMin: 1_000 };
  try {
    const both = [await logs.open(512 * MiB, { times }), await logs.open(512 * MiB, { times })];
    const told = both.map((log) => new Told(log));
    const nodes = Array.from({ length: NODES }, (_, at) => new Node(both[at % 2]!, `n${at}`));
    let over = false;
    const running = Promise.all(nodes.map((node) => node.run(() => !over)));
    const pauses: number[] = [];
    const count = () => nodes.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    for (let kill = 0; kill < KILLS; kill++) {
      const before = count();
      await until('frames are taken', () => count() > before + 100, count);
      for (const node of nodes) node.pauseMax = 0;
      const info = await logs.link(both[0]!).manager.streams.info(`BP_${logs.cluster}_0`);
      const leader = servers.of(info.cluster!.leader!);
      await leader.kill();
      const atKill = nodes.map(({ acknowledged }) => acknowledged);
      await until(
        'all nodes go on',
        () => nodes.every(({ acknowledged }, at) => acknowledged > atKill[at]! + 1),
        count,
      );
      pauses.push(Math.max(...nodes.map(({ pauseMax }) => pauseMax)));
      leader.start();
      await leader.ready();
      await sleep(1_000);
    }
    over = true;
    await running;
    const end = Math.max(...both.map((log) => log.deliverableOffset));
    await until('both have read all', () => both.every((log) => log.deliverableOffset >= end));
    const wanted = nodes.flatMap(({ acknowledged }, at) =>
      Array.from({ length: acknowledged }, (_, i) => `n${at} ${i + 1}`),
    );
    for (const { frames } of told) assert.deepEqual([...frames].sort(), wanted.sort());
    assert.deepEqual(told[0], told[1]);
    const reader = both[1]!.reader(1, PROCESS);
    let read = 0;
    for (let item = await reader.next(); item; item = await reader.next()) read += item.kind === 'frame' ? 1 : 0;
    const { duplicates } = told[0]!;
    assert.equal(read, wanted.length + duplicates);
    const seconds = pauses.sort((a, b) => a - b).map((ms) => (ms / 1000).toFixed(1));
    const passed = `${duplicates} of them twice in the stream and passed over`;
    t.diagnostic(
      `${KILLS} kills, ${wanted.length} frames, ${passed}; longest pauses of a node, s: ${seconds.join(' ')}`,
    );
  } finally {
    await logs.destroy();
    await servers.destroy();
  }
});
