/**
 * Power cuts: servers whose stores lose what was not synced. It takes a minute and root, so that `npm run check` runs it
 * and `npm test` does not.
 *
 * By default NATS acknowledges what is in memory: of three servers two lose it, and start before the third, so that what
 * was acknowledged is gone. With `sync_interval: always` all three lose their power, and nothing may be gone.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditDocuments } from '../../../../src/broker/cluster/audit-documents.js';
import { coordinationStreams, keptStream } from '../../../../src/broker/cluster/nats/coordination-streams.js';
import type { NatsState } from '../../../../src/broker/cluster/nats/nats-state.js';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { makeStream } from '../../../../src/broker/nats/stream-form.js';
import { MiB } from '../../../../src/limits.js';
import { PROCESS } from '../../../contract/partition-log.js';
import { batchOf, readLog } from '../../../harness/broker/documents.js';
import { CutDisk, cannotCut } from '../../../harness/files/cut-disk.js';
import { CommittingGroup } from '../../../harness/groups/committing.js';
import { JetStreamDocuments } from '../../../harness/nats/jetstream-documents.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { Sender, Told } from '../../../harness/nats/log-load.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { type NatsServer, NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo, openNatsState } from '../../../harness/nats/state-under-test.js';
import { ownAddress } from '../../../harness/own-address.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const DISK_BYTES = 2 ** 30;
const NODES = 8;
const TIMES = { tickMs: 1_000, silenceMs: 3_000, retryMsMin: 1_000 };
/** Before the third server starts. */
const LATE_MS = 10_000;
const UNSYNCED_MS = 5_000;
const skip = runs(1) < 2 ? 'only with BACKPLANE_TEST_FACTOR' : needsNats() || cannotCut();

interface Powered {
  readonly server: NatsServer;
  readonly disk: CutDisk;
}

/** At one moment for all. */
async function cutPower(all: readonly Powered[], losing: readonly Powered[]): Promise<void> {
  for (const { server } of all) server.pause();
  for (const { disk } of losing) disk.cut();
  await Promise.all(all.map(({ server }) => server.kill()));
  for (const { disk } of losing) disk.restore();
}

async function start(powered: readonly Powered[]): Promise<void> {
  for (const { server } of powered) server.start();
  await Promise.all(powered.map(({ server }) => server.ready()));
}

/** Two groups of one state: the broker of one runs on, that of the other is started again after the cut. */
async function groups(link: NatsLink, state: NatsState) {
  const [on, off] = [await CommittingGroup.open('on', state), await CommittingGroup.open('off', state)];
  let isCut = false;
  const run = (goesOn: () => boolean) => Promise.all([on.run(goesOn), off.run(() => goesOn() && !isCut)]);
  const cut = () => {
    isCut = true;
    off.close();
  };
  /** Returns figures. @param isKept nothing may be lost */
  const check = async (isKept: boolean) => {
    const own = await openNatsState(link, 'cut', { ...keptStream('cut'), broker: 'b2', onRegression: () => undefined });
    const again = await CommittingGroup.open('off', own, off);
    try {
      const { kept } = again;
      if (isKept) assert.ok(kept >= off.committed, `commits up to ${kept} of ${off.committed}`);
      await again.member();
      await on.member();
      for (const { fallen } of [on, off, again]) assert.deepEqual(fallen, [], 'epochs never fall');
      if (isKept) assert.ok(on.kept >= on.committed);
      const lost = Math.max(0, off.committed - kept);
      return `${on.commits + off.commits} commits in ${on.given + off.given} epochs, the last ${lost} of ${off.committed} rounds of one group lost`;
    } finally {
      again.close();
      on.close();
      await own.close();
    }
  };
  return { run, cut, check };
}

/** What brokers write down that no recorder could send again: budgets, the audit, events of applications, groups. */
async function records(servers: NatsServers, link: NatsLink) {
  for (const form of coordinationStreams('cut', 3)) {
    await makeStream(link.manager, { ...form, max_bytes: 32 * MiB }, '0123456789abcdef');
  }
  const regressions: string[] = [];
  const onRegression = (reason: string) => regressions.push(reason);
  const state = await openNatsState(link, 'cut', { ...keptStream('cut'), onRegression });
  const create = (name: 'audit' | 'app') =>
    JetStreamDocuments.create(servers, { bytesMax: 32 * MiB }, name, { onRewound: () => undefined });
  const [audit, app] = [await create('audit'), await create('app')];
  const trail = new AuditDocuments(audit.log);
  const grouped = await groups(link, state);
  const writers = [
    (number: number) => state.put('budget.n', { number }),
    (number: number) => trail.append([{ number }]),
    (number: number) => app.log.append(batchOf('app.a', [String(number)])),
  ];
  /** Of each, how many were acknowledged. */
  const written = writers.map(() => 0);
  const run = async (goesOn: () => boolean) => {
    const one = async (write: (number: number) => Promise<unknown>, at: number) => {
      while (goesOn())
        await write(written[at]! + 1).then(
          () => written[at]!++,
          () => undefined,
        );
    };
    await Promise.all([...writers.map(one), grouped.run(goesOn)]);
  };
  /** Of each, how many there are. */
  const found = async () => {
    const counts = [Number(state.get('budget.n')?.value.number)];
    for (const { log } of [audit, app]) {
      const batches = await readLog(log, log.firstOffset);
      counts.push(batches.filter((batch) => typeof batch !== 'string').length);
    }
    return counts;
  };
  const close = async () => {
    await state.close();
    await audit.destroy();
    await app.destroy();
  };
  return { run, written, found, regressions, groups: grouped, close };
}

/** A log of two brokers with nodes and subscriptions, and what brokers write down besides. */
async function load(servers: NatsServers, rewound: (offset: number) => void) {
  const logs = new JetStreamLogs(servers);
  const senders: Sender[] = [];
  const onRewound = (log: unknown, offset: number) => {
    for (const [at, sender] of senders.entries()) if (both[at % 2] === log) sender.endSession();
    rewound(offset);
  };
  const open = () => logs.open(256 * MiB, { times: TIMES, onRewound });
  const both = [await open(), await open()];
  const told = both.map((log) => new Told(log));
  for (let at = 0; at < NODES; at++) senders.push(new Sender(both[at % 2]!, `n${at}`));
  const link = await linkTo(servers);
  const kept = await records(servers, link);
  let over = false;
  const goesOn = () => !over;
  const running = Promise.all([...senders.map((sender) => sender.run(goesOn)), kept.run(goesOn)]);
  const acknowledged = () => senders.reduce((sum, sender) => sum + sender.acknowledged, 0);
  const stop = async () => {
    over = true;
    await running;
  };
  const close = async () => {
    await kept.close();
    await link.close();
    await logs.destroy();
  };
  return { both, told, senders, kept, acknowledged, stop, close };
}

/** What a subscription makes of all that the log has. A reader that a server gives nothing comes back. */
async function toldFromBeginning(log: JetStreamLog, senders: readonly Sender[]): Promise<Told> {
  const told = new Told(log);
  const reader = log.reader(1, PROCESS);
  const isAll = async () => {
    for (let item = await reader.next(); item; item = await reader.next()) if (item.kind === 'frame') told.take(item);
    return senders.every(({ name, acknowledged }) => told.to(name) >= acknowledged);
  };
  await until('all is read again', isAll, () => senders.map(({ name }) => told.to(name)));
  return told;
}

for (const syncsAlways of [false, true]) {
  const which = syncsAlways ? 'always, and nothing is lost' : 'default, and nodes send again what is lost';
  test(`a power cut under load: ${which}`, { skip }, async (t: TestContext) => {
    const disks = [0, 1, 2].map(() => new CutDisk(DISK_BYTES));
    const places = [];
    for (const { dir } of disks) places.push({ dir, enter: [], host: (await ownAddress()).split(':')[0]! });
    const servers = await NatsServers.start({ count: 3, syncsAlways, places, storeBytesMax: DISK_BYTES });
    let loaded: Awaited<ReturnType<typeof load>> | undefined;
    try {
      const all = servers.servers.map((server, at) => ({ server, disk: disks[at]! }));
      const rewound: number[] = [];
      loaded = await load(servers, (offset) => rewound.push(offset));
      const { senders, told, both, acknowledged } = loaded;
      const goOn = async (steps: number) => {
        const begun = acknowledged();
        await until('frames are taken', () => acknowledged() > begun + steps, acknowledged);
      };
      await goOn(500);
      for (const disk of disks) disk.sync();
      await Promise.all([goOn(1_000), sleep(UNSYNCED_MS)]);
      const losing = syncsAlways ? all : all.slice(0, 2);
      const before = Math.max(...both.map((log) => log.deliverableOffset)) - 1;
      await cutPower(all, losing);
      loaded.kept.groups.cut();
      const had = senders.map((sender) => sender.acknowledged);
      await start(losing);
      if (!syncsAlways) {
        await sleep(LATE_MS);
        // It may take minutes until it is current again: its log is longer than that of the two, and another.
        all[2]!.server.start();
      }
      // Else nothing was tested.
      if (!syncsAlways) await until('both logs know that the end is lost', () => rewound.length >= 2, acknowledged);
      assert.ok(rewound.every((offset) => offset <= before));
      await goOn(500);
      const isAgain = ({ name }: Sender, at: number) =>
        Number(both[at % 2]!.coveredTo(name, 'process')?.timeNs ?? 0) >= had[at]!;
      await until('what was acknowledged was sent again', () => senders.every(isAgain), acknowledged);
      await loaded.stop();
      const isTold = () => told.every((each) => senders.every(({ name, acknowledged: to }) => each.to(name) >= to));
      await until('both have told all', isTold, () => both.map((log) => log.deliverableOffset));
      for (const { faults } of told) assert.deepEqual(faults, [], 'also for a subscription that was ahead');
      const again = await toldFromBeginning(both[1]!, senders);
      assert.deepEqual(again.faults, []);
      for (const [at, { acknowledged: to }] of senders.entries()) assert.ok(to >= had[at]!);
      const { written, found, regressions } = loaded.kept;
      if (syncsAlways) {
        assert.deepEqual(rewound, []);
        assert.deepEqual(regressions, []);
        const there = await found();
        assert.ok(
          written.every((count, at) => there[at]! >= count),
          `${there} of ${written}`,
        );
      }
      const committed = await loaded.kept.groups.check(syncsAlways);
      const lost = syncsAlways ? 'nothing' : `what it had from ${rewound} on, of ${before} messages`;
      const [budgets, entries, events] = written;
      const besides = `${budgets} budgets, ${entries} entries of the audit, ${events} events of applications, ${committed}`;
      t.diagnostic(`NATS lost ${lost}; ${acknowledged()} steps, ${told[0]!.duplicates} frames passed over; ${besides}`);
    } finally {
      await loaded?.stop();
      await loaded?.close();
      await servers.destroy();
      for (const disk of disks) disk.remove();
    }
  });
}
