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
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import { makeStream } from '../../../../src/broker/nats/stream-form.js';
import { MiB } from '../../../../src/limits.js';
import { PROCESS } from '../../../contract/partition-log.js';
import { batchOf, readLog } from '../../../harness/broker/documents.js';
import { CutDisk, cannotCut } from '../../../harness/files/cut-disk.js';
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

/** A log of two brokers with nodes and subscriptions, and what brokers write down besides. */
async function load(servers: NatsServers, rewound: (log: JetStreamLog) => void) {
  const logs = new JetStreamLogs(servers);
  let senders: Sender[] = [];
  const onRewound = (log: unknown) => {
    for (const [at, sender] of senders.entries()) if (both[at % 2] === log) sender.endSession();
    rewound(log as JetStreamLog);
  };
  const open = () => logs.open(256 * MiB, { times: TIMES, onRewound });
  const both = [await open(), await open()];
  const told = both.map((log) => new Told(log));
  senders = Array.from({ length: NODES }, (_, at) => new Sender(both[at % 2]!, `n${at}`));
  const link = await linkTo(servers);
  for (const form of coordinationStreams('cut', 3)) {
    await makeStream(link.manager, { ...form, max_bytes: 32 * MiB }, '0123456789abcdef');
  }
  const regressions: string[] = [];
  const onRegression = (reason: string) => regressions.push(reason);
  const state = await openNatsState(link, 'cut', { ...keptStream('cut'), onRegression });
  const bounds = { bytesMax: 32 * MiB };
  const onLost = { onRewound: () => undefined };
  const audit = await JetStreamDocuments.create(servers, bounds, 'audit', onLost);
  const app = await JetStreamDocuments.create(servers, bounds, 'app', onLost);
  const trail = new AuditDocuments(audit.log);
  await state.put('budget.n', { number: 0 });
  const done = { puts: 0, entries: 0, events: 0 };
  let over = false;
  const goesOn = () => !over;
  const running = Promise.all([
    ...senders.map((sender) => sender.run(goesOn)),
    (async () => {
      for (let number = 1; goesOn(); number++) {
        await state.put('budget.n', { number }).then(
          () => (done.puts = Math.max(done.puts, number)),
          () => undefined,
        );
      }
    })(),
    (async () => {
      for (let number = 1; goesOn(); ) {
        await trail.append([{ number }]).then(
          () => (done.entries = number++),
          () => undefined,
        );
      }
    })(),
    (async () => {
      for (let number = 1; goesOn(); ) {
        await app.log.append(batchOf('app.a', [String(number)])).then(
          () => (done.events = number++),
          () => undefined,
        );
      }
    })(),
  ]);
  const acknowledged = () => senders.reduce((sum, sender) => sum + sender.acknowledged, 0);
  const stop = async () => {
    over = true;
    await running;
  };
  const close = async () => {
    await state.close();
    await audit.destroy();
    await app.destroy();
    await link.close();
    await logs.destroy();
  };
  const documents = async () => {
    const read = await Promise.all([audit.log, app.log].map((log) => readLog(log, log.firstOffset)));
    return read.map((batches) => batches.filter((batch) => typeof batch !== 'string').length) as [number, number];
  };
  const lastSequence = async () => (await link.manager.streams.info(`BP_${logs.cluster}_0`)).state.last_seq;
  return { both, told, senders, state, done, regressions, acknowledged, stop, close, lastSequence, documents };
}

for (const syncsAlways of [false, true]) {
  const which = syncsAlways ? 'always, and nothing is lost' : 'default, and nodes send again what is lost';
  test(`a power cut under load: ${which}`, { skip }, async (t: TestContext) => {
    const disks = [0, 1, 2].map(() => new CutDisk(DISK_BYTES));
    const places = [];
    for (const { dir } of disks) places.push({ dir, enter: [], host: (await ownAddress()).split(':')[0]! });
    const servers = await NatsServers.start({ count: 3, syncsAlways, places, storeBytesMax: DISK_BYTES });
    try {
      const all = servers.servers.map((server, at) => ({ server, disk: disks[at]! }));
      let rewinds = 0;
      const loaded = await load(servers, () => rewinds++);
      const { senders, told, both, done, acknowledged } = loaded;
      const goOn = async (steps: number) => {
        const begun = acknowledged();
        await until('frames are taken', () => acknowledged() > begun + steps, acknowledged);
      };
      await goOn(500);
      for (const disk of disks) disk.sync();
      await Promise.all([goOn(1_000), sleep(UNSYNCED_MS)]);
      const losing = syncsAlways ? all : all.slice(0, 2);
      const before = { sequence: Math.max(...both.map((log) => log.deliverableOffset)) - 1, ...done };
      await cutPower(all, losing);
      const had = senders.map((sender) => sender.acknowledged);
      await start(losing);
      if (!syncsAlways) {
        await sleep(LATE_MS);
        await start(all.slice(2));
      }
      const last = await until('it answers', () => loaded.lastSequence().catch(() => undefined));
      if (!syncsAlways) {
        await until(
          'the logs know',
          () => rewinds >= 2,
          () => both.map((log) => log.trouble),
        );
        assert.ok(
          last < before.sequence,
          `last_seq must have fallen for this to be a test: ${before.sequence}, ${last}`,
        );
      }
      await goOn(500);
      await loaded.stop();
      const isTold = () => told.every((each) => senders.every(({ name, acknowledged: to }) => each.to(name) >= to));
      await until('both have told all', isTold, () => both.map((log) => log.deliverableOffset));
      for (const { faults } of told) assert.deepEqual(faults, [], 'also for a subscription that was ahead');
      const again = new Told(both[1]!);
      const reader = both[1]!.reader(1, PROCESS);
      for (let item = await reader.next(); item; item = await reader.next())
        if (item.kind === 'frame') again.take(item);
      assert.deepEqual(again.faults, []);
      for (const [at, { name, acknowledged: to }] of senders.entries()) {
        assert.ok(to >= had[at]!);
        assert.ok(again.to(name) >= to, `${name} is lost`);
      }
      if (syncsAlways) {
        assert.equal(rewinds, 0);
        assert.deepEqual(loaded.regressions, []);
        assert.ok(Number(loaded.state.get('budget.n')!.value.number) >= done.puts);
        const [entries, events] = await loaded.documents();
        assert.ok(entries >= done.entries && events >= done.events, `${entries} ${events}`);
      }
      const lost = syncsAlways ? 'nothing' : `${before.sequence - last} of ${before.sequence} messages`;
      const { puts, entries, events } = done;
      const besides = `${puts} budgets, ${entries} entries of the audit, ${events} events of applications`;
      t.diagnostic(`NATS lost ${lost}; ${acknowledged()} steps, ${told[0]!.duplicates} frames passed over; ${besides}`);
      await loaded.close();
    } finally {
      await servers.destroy();
      for (const disk of disks) disk.remove();
    }
  });
}
