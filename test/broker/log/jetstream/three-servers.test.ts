/**
 * The log on three servers, and on the oldest that is taken: the contract, leaders that are killed under load, and a
 * broker that is cut off. It takes minutes, so that `npm run check` runs it and `npm test` does not.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import {
  APPEND_PENDING_BYTES_MAX,
  APPEND_WINDOW_BYTES_MAX,
  KiB,
  LOG_MARKS_MAX,
  LOG_RECENT_CHUNK,
  LOG_RECENT_CHUNKS_MAX,
  MiB,
  READER_BYTES_MAX,
} from '../../../../src/limits.js';
import { PROCESS, partitionLogContract } from '../../../contract/partition-log.js';
import { Relay } from '../../../harness/cluster/relay.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { Sender, secondsText, Told } from '../../../harness/nats/log-load.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo } from '../../../harness/nats/state-under-test.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const KILLS = Math.floor(runs(1) / 2);
const NODES = 8;
const CUT_OFF_MS = 60_000;
/** Of the broker that is cut off: each frame is tried every ten seconds, and were tries kept, they would soon be too much. */
const CUT_OFF_NODES = 500;
const CUT_OFF_FRAME_BYTES = 60 * KiB;
/** Of objects for one frame of which it is known how far it reaches, or one that a follower is told. */
const OBJECT_BYTES = 1 * KiB;
/**
 * What the two logs may take more than before, by their bounds: frames that wait, frames that were given to a connection
 * that nobody reads, what readers have asked for, and what is known of frames.
 */
const GROWN_BYTES_MAX =
  APPEND_PENDING_BYTES_MAX +
  2 * APPEND_WINDOW_BYTES_MAX +
  2 * (2 * READER_BYTES_MAX + 4 * LOG_MARKS_MAX + LOG_RECENT_CHUNK * LOG_RECENT_CHUNKS_MAX * OBJECT_BYTES);
const TIMES = { tickMs: 1_000, silenceMs: 3_000, retryMsMin: 1_000 };
const VERSIONS = ['newest', 'floor'] as const;
const skipOf = (version: (typeof VERSIONS)[number]) =>
  KILLS === 0 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats(version);

for (const version of VERSIONS) {
  if (skipOf(version) !== false) continue;
  const servers: NatsServers[] = [];
  before(async () => {
    servers.push(await NatsServers.start({ version, count: version === 'newest' ? 3 : 1 }));
  });
  after(() => servers[0]!.destroy());
  partitionLogContract(`jetstream, ${version}`, async () => new JetStreamLogs(servers[0]!));
}

/** One partition of two brokers, with nodes on both, and a subscription of each. */
class Partition {
  readonly logs: JetStreamLogs;
  readonly told: readonly Told[];
  readonly senders: readonly Sender[];
  readonly #both: readonly JetStreamLog[];
  #over = false;
  #running: Promise<unknown>;

  static async begin(servers: NatsServers): Promise<Partition> {
    const logs = new JetStreamLogs(servers);
    const open = () => logs.open(512 * MiB, { times: TIMES });
    return new Partition(logs, [await open(), await open()]);
  }

  private constructor(logs: JetStreamLogs, both: readonly JetStreamLog[]) {
    this.logs = logs;
    this.#both = both;
    this.told = both.map((log) => new Told(log));
    this.senders = Array.from({ length: NODES }, (_, at) => new Sender(both[at % 2]!, `n${at}`));
    this.#running = Promise.all(this.senders.map((sender) => sender.run(() => !this.#over)));
  }

  get acknowledged(): number {
    return this.senders.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  async leader(): Promise<string> {
    const info = await this.logs.link(this.#both[0]!).manager.streams.info(`BP_${this.logs.cluster}_0`);
    return info.cluster?.leader ?? '';
  }

  /** Another server becomes leader than this one. */
  async leaveLeader(name: string): Promise<void> {
    const { asking } = this.logs.link(this.#both[0]!);
    const stepDown = `$JS.API.STREAM.LEADER.STEPDOWN.BP_${this.logs.cluster}_0`;
    await until('another leader', async () => {
      const leader = await this.leader().catch(() => '');
      if (leader !== '' && leader !== name) return true;
      await asking.request(stepDown, '', { timeout: 1_000 }).catch(() => undefined);
      return false;
    });
  }

  /** Stops, and looks whether all was told once, and is in the log. Returns how much. */
  async end(): Promise<string> {
    this.#over = true;
    await this.#running;
    const isTold = () =>
      this.told.every((told) => this.senders.every(({ name, acknowledged }) => told.to(name) >= acknowledged));
    await until('both have told all', isTold, () => this.#both.map((log) => log.deliverableOffset));
    for (const { faults } of this.told) assert.deepEqual(faults, []);
    const again = new Told(this.#both[1]!);
    const reader = this.#both[1]!.reader(1, PROCESS);
    for (let item = await reader.next(); item; item = await reader.next()) {
      assert.equal(item.kind, 'frame');
      if (item.kind === 'frame') again.take(item);
    }
    assert.deepEqual(again.faults, []);
    for (const { name, acknowledged } of this.senders) assert.ok(again.to(name) >= acknowledged, `${name} is lost`);
    await this.logs.destroy();
    return `${this.acknowledged} steps, ${this.told[0]!.duplicates} frames passed over`;
  }
}

for (const version of VERSIONS) {
  test(`leaders are killed under load: nothing acknowledged is lost, or told twice (${version})`, {
    skip: skipOf(version),
  }, async (t: TestContext) => {
    const servers = await NatsServers.start({ count: 3, version });
    try {
      const [one, elsewhere] = [await Partition.begin(servers), await Partition.begin(servers)];
      const [deliveredAgain, pauses, stoodStill, stayed]: [number[], number[], number[], number[]] = [[], [], [], []];
      for (let kill = 0; kill < KILLS; kill++) {
        const leader = servers.of(await one.leader());
        await elsewhere.leaveLeader(leader.name);
        const begun = [one.acknowledged, elsewhere.acknowledged];
        await until(
          'frames are taken',
          () => one.acknowledged > begun[0]! + 100 && elsewhere.acknowledged > begun[1]! + 100,
          () => one.acknowledged + elsewhere.acknowledged,
        );
        for (const sender of one.senders) sender.pauseMax = 0;
        const elsewhereLed = await elsewhere.leader();
        const still = longestPause(elsewhere);
        const killedMs = performance.now();
        await leader.kill();
        const again = toldAgain(one, killedMs);
        await until(
          'all nodes are told again',
          () => again.left.size === 0,
          () => one.acknowledged,
        );
        deliveredAgain.push(again.lastMs);
        stoodStill.push(still());
        // Two busy processors can keep any leader from its followers for so long that they elect another.
        if ((await elsewhere.leader()) === elsewhereLed) stayed.push(stoodStill.at(-1)!);
        pauses.push(Math.max(...one.senders.map(({ pauseMax }) => pauseMax)));
        leader.start();
        await leader.ready();
        await sleep(1_000);
      }
      const ends = [await one.end(), await elsewhere.end()];
      t.diagnostic(`${KILLS} kills, ${ends.join('; ')}; s: delivered again ${secondsText(deliveredAgain)}`);
      t.diagnostic(`longest append ${secondsText(pauses)}; led elsewhere stood still ${secondsText(stoodStill)}`);
      t.diagnostic(`of these, where the leader stayed the same: ${secondsText(stayed)}`);
    } finally {
      await servers.destroy();
    }
  });
}

/** Those nodes that have not been told yet with something that was sent after now, to both subscriptions. */
function toldAgain({ told, senders }: Partition, fromMs: number): { readonly left: Set<string>; lastMs: number } {
  const again = { left: new Set<string>(), lastMs: 0 };
  for (const [at, each] of told.entries()) {
    const sent = new Map(senders.map(({ name, sending }) => [name, sending]));
    for (const name of sent.keys()) again.left.add(`${at} ${name}`);
    each.onNew = (node, to) => {
      if (to <= sent.get(node)! || !again.left.delete(`${at} ${node}`)) return;
      again.lastMs = performance.now() - fromMs;
    };
  }
  return again;
}

/** From now on, the longest time in which one of the subscriptions was told nothing of a node. */
function longestPause({ told, senders }: Partition): () => number {
  let longest = 0;
  const lastMs = new Map<string, number>();
  const beganMs = performance.now();
  for (const [at, each] of told.entries()) {
    for (const { name } of senders) lastMs.set(`${at} ${name}`, beganMs);
    each.onNew = (node) => {
      const key = `${at} ${node}`;
      longest = Math.max(longest, performance.now() - lastMs.get(key)!);
      lastMs.set(key, performance.now());
    };
  }
  return () => Math.max(longest, ...[...lastMs.values()].map((ms) => performance.now() - ms));
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Of this process, without what is garbage: of objects and buffers. */
function usedMemory(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('a broker that is cut off from NATS acknowledges nothing, stays small, and catches up', {
  skip: skipOf('newest'),
}, async (t: TestContext) => {
  const servers = await NatsServers.start({ count: 3 });
  const relay = await Relay.start(servers.servers.map(({ url }) => url.slice('nats://'.length)));
  const logs = new JetStreamLogs(servers);
  try {
    const urls = relay.address.split(',').map((address) => `nats://${address}`);
    const link = await linkTo({ urls: urls.join(',') });
    const direct = await logs.open(512 * MiB, { times: TIMES });
    const cut = await logs.open(512 * MiB, { times: TIMES, link });
    const told = [new Told(direct), new Told(cut)];
    const sendersTo = (log: JetStreamLog, name: string, count: number, frameBytes?: number) =>
      Array.from({ length: count }, (_, node) => new Sender(log, `${name}-n${node}`, frameBytes));
    const senders = [sendersTo(direct, 'b0', 100), sendersTo(cut, 'b1', CUT_OFF_NODES, CUT_OFF_FRAME_BYTES)];
    let over = false;
    const running = Promise.all(senders.flat().map((sender) => sender.run(() => !over)));
    const count = (at: number) => senders[at]!.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    await until(
      'frames are taken',
      () => count(0) > 500 && count(1) > CUT_OFF_NODES,
      () => count(0) + count(1),
    );
    relay.partition();
    const [atCut, others, sentBytes] = [count(1), count(0), link.publishing.stats().outBytes];
    const usedBytes = usedMemory();
    let usedBytesMax = usedBytes;
    const endMs = performance.now() + CUT_OFF_MS;
    while (performance.now() < endMs) {
      await sleep(CUT_OFF_MS / 12);
      usedBytesMax = Math.max(usedBytesMax, usedMemory());
    }
    assert.equal(count(1), atCut, 'nothing is acknowledged');
    assert.ok(count(0) > others, 'the other broker goes on');
    const sent = link.publishing.stats().outBytes - sentBytes;
    assert.ok(sent < 3 * APPEND_WINDOW_BYTES_MAX, `${sent} bytes were given to a connection that nobody reads`);
    const grown = usedBytesMax - usedBytes;
    assert.ok(grown < GROWN_BYTES_MAX, `${grown} bytes more are in use, the bounds allow ${GROWN_BYTES_MAX}`);
    const healedMs = performance.now();
    const sinceText = () => ((performance.now() - healedMs) / 1000).toFixed(1);
    const behind = direct.deliverableOffset - cut.deliverableOffset;
    relay.heal();
    await until(
      'it reads again',
      () => cut.trouble === undefined && count(1) > atCut,
      () => [cut.deliverableOffset, cut.trouble],
    );
    const readsText = sinceText();
    const goesOn = () => count(1) > atCut + CUT_OFF_NODES;
    await until('it goes on', goesOn, () => [count(1), cut.deliverableOffset]);
    const stepsText = sinceText();
    over = true;
    await running;
    const isTold = () =>
      told.every((each) => senders.flat().every(({ name, acknowledged }) => each.to(name) >= acknowledged));
    await until('both have told all', isTold, () => [direct, cut].map((log) => log.deliverableOffset));
    for (const { faults } of told) assert.deepEqual(faults, []);
    const grownMiB = Math.round(grown / MiB);
    t.diagnostic(
      `cut off for ${CUT_OFF_MS / 1000} s: ${Math.round(sent / MiB)} MiB sent in vain, ${grownMiB} MiB more in use, ` +
        `${behind} messages behind; s after it healed: first acknowledged ${readsText}, a step of each node ${stepsText}, all told ${sinceText()}`,
    );
  } finally {
    await logs.destroy();
    relay.close();
    await servers.destroy();
  }
});
