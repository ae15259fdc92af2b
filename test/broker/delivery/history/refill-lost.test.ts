/** Refills where the log has lost the frames that say what is owed, forgotten by retention or damaged, or goes back. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NodeView, type Owed } from '../../../../src/broker/delivery/cursor/node-view.js';
import { Refill } from '../../../../src/broker/delivery/history/refill.js';
import { owedOf } from '../../../../src/broker/delivery/selectors/owed-tally.js';
import { SelectorSet } from '../../../../src/broker/delivery/selectors/selector-set.js';
import type { Tally } from '../../../../src/broker/delivery/selectors/tally.js';
import { partitionOf } from '../../../../src/broker/log/partition-log.js';
import { HistoryAnswer } from '../../../../src/broker/nodes/history/history-answer.js';
import { BytePool } from '../../../../src/flow/byte-pool.js';
import { Signal } from '../../../../src/flow/signal.js';
import { MiB, OWED_RANGES_MAX } from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import type { Frame } from '../../../../src/wire/frame/frame.js';
import { historyEndCodec } from '../../../../src/wire/messages.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import { columns, historyFrameOf } from '../../../harness/broker/matched.js';
import { publish, REFILL, sorted } from '../../../harness/broker/refills.js';
import { type Recorded, type TestAgent, TestRecorder } from '../../../harness/broker/test-agent.js';
import { frameOver } from '../../../harness/frames.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
before(async () => {
  harness = new Harness();
  harness.log = { bytesMax: MiB };
  await harness.startBroker();
});
after(() => harness.destroy());

/** A name of a node of this partition. */
function named(partition: number, letter: string): string {
  return range(0, 1_000)
    .map((at) => letter + at)
    .find((name) => partitionOf(name) === partition)!;
}

/** The oldest file of the node's partition. */
function fileOf(node: string): string {
  const dir = join(harness.dataDir, 'broker', 'log', `partition-${partitionOf(node)}`);
  const [oldest] = readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort();
  return join(dir, oldest!);
}

async function isInLog(agent: TestAgent): Promise<void> {
  await until('it is in the log', () => agent.acknowledged.get('process')?.timeNs === agent.recorder.frontier.timeNs);
}

/** Where in the node's file it stands what is appended meanwhile: in the middle of it. */
async function appended(agent: TestAgent, node: string, append: () => void): Promise<number> {
  await isInLog(agent);
  const from = statSync(fileOf(node)).size;
  append();
  await isInLog(agent);
  return Math.floor((from + statSync(fileOf(node)).size) / 2);
}

/** Nothing behind it can be read any more, as long as the file is the newest. */
function damage(file: string, at: number): void {
  const opened = openSync(file, 'r+');
  writeSync(opened, Buffer.of(0x5a, 0xa5), 0, 2, at);
  closeSync(opened);
}

/** Until retention has taken the file. */
async function forget(file: string, noise: TestAgent, subscriber: Subscriber): Promise<void> {
  while (existsSync(file)) {
    publish(noise, range(1_000, 1_080), false, 'x'.repeat(3_000));
    await isInLog(noise);
  }
  await subscriber.until('all of the noise', () => {
    return subscriber.pids.filter((pid) => pid >= 1_000).length === noise.recorder.events.length;
  });
}

/** A frame is lost on the way; what is shed behind it comes with the history that is asked for it. */
function publishHole(agent: TestAgent): void {
  publish(agent, range(400, 401), false);
  publish(agent, range(401, 403), true);
  agent.loses = true;
  publish(agent, range(403, 405), false);
  agent.loses = false;
  publish(agent, range(405, 407), true);
  publish(agent, range(407, 408), false);
}

const lost = ({ gaps }: Subscriber) =>
  gaps
    .filter(({ reason }) => reason === 'evicted')
    .map(({ node, events, eventsUnknown }) => [node, eventsUnknown ? 'unknown' : Number(events)])
    .sort();

test('what a log lost of what is owed comes from recorders where that is all they have, and is told as lost else', async () => {
  const names = { a: named(0, 'a'), b: named(1, 'b'), c: named(2, 'c'), d: named(2, 'd'), e: named(3, 'e') };
  const { a, b, c, d, e } = names;
  const all = Object.values(names);
  const agents = new Map<string, TestAgent>();
  for (const name of all) agents.set(name, await harness.agent(name));
  const of = (node: string) => agents.get(node)!;
  const noise = await harness.agent(named(2, 'z'));
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  // Nothing is refilled as long as it can still be read what is owed.
  for (const node of [a, b, c, d]) of(node).answerWith = () => undefined;
  publish(of(a), range(0, 2), false);
  const inA = await appended(of(a), a, () => publish(of(a), range(2, 7), true));
  publish(of(a), range(7, 11), true);
  publish(of(b), range(100, 102), false);
  const inB = await appended(of(b), b, () => publish(of(b), range(102, 105), true));
  publish(of(b), range(105, 108), false);
  publish(of(b), range(108, 110), true);
  publish(of(c), range(200, 201), false);
  publish(of(c), range(201, 206), true);
  publish(of(d), range(300, 301), false);
  publish(of(d), range(301, 304), true);
  publish(of(d), range(304, 307), false);
  publishHole(of(e));
  const sent = [0, 1, 100, 101, 105, 106, 107, 200, 300, 304, 305, 306, 400, ...range(403, 408)];
  const owed = [...range(2, 11), ...range(102, 105), 108, 109, ...range(201, 206), ...range(301, 304), 401, 402];
  await subscriber.has(sent.length);
  for (const node of all) await isInLog(of(node));
  await subscriber.until('all that is shed', () => {
    const shed = subscriber.gaps.filter(({ reason }) => reason === 'shed');
    return shed.reduce((sum, { events }) => sum + Number(events), 0) === owed.length;
  });
  for (const node of [a, b, c, d]) of(node).kill();
  damage(fileOf(a), inA);
  damage(fileOf(b), inB);
  await forget(fileOf(c), noise, subscriber);
  const { cursor } = subscriber;
  const connected = [a, b, c, d].map((node) => harness.agent(node, of(node).recorder));
  for (const again of await Promise.all(connected)) await until('interest', () => again.topics.includes('process'));
  const gone = [...range(102, 105), 108, 109, ...range(301, 304)];
  const settled = () => subscriber.refilled.length + gone.length >= owed.length && lost(subscriber).length > 1;
  await until('all that is owed', settled, () => [subscriber.refilled.length, lost(subscriber)]);
  assert.deepEqual(
    sorted(subscriber.refilled),
    owed.filter((pid) => !gone.includes(pid)),
  );
  assert.deepEqual(lost(subscriber), [
    [b, 5],
    [d, 3],
  ]);
  const { shed, refilled, matched, delivered } = await harness.ledger();
  assert.deepEqual([shed, refilled, matched], [8, owed.length - 8, delivered! + 8]);
  const received = subscriber.pids.filter((pid) => pid < 1_000);
  assert.deepEqual(sorted(received), sorted([...sent, ...owed.filter((pid) => !gone.includes(pid))]));
  // Who resumes does not know how much it was, nor that nothing else was delivered.
  const resumed = harness.subscribe({ ...REFILL, cursor });
  await resumed.until('the gaps', () => lost(resumed).length >= 4);
  assert.deepEqual(
    lost(resumed),
    [a, b, c, d].map((node) => [node, 'unknown']),
  );
  assert.deepEqual(
    resumed.refilled.filter((pid) => pid < 400),
    [],
  );
});

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });

/**
 * One round of refills of one node, of whose log's frames up to 9 were delivered. Returns what is owed then.
 * @param answers what it is asked by, and where events go
 */
async function owedAfter(
  view: NodeView,
  next: (reader: { offset: number }) => unknown,
  answers: { readonly broker?: object; readonly outlet?: object } = {},
): Promise<readonly Owed[]> {
  const reader = {
    offset: 0,
    next: async () => next(reader),
    close: () => undefined,
  };
  const log = {
    reader: (offset: number) => {
      reader.offset = offset;
      return reader;
    },
  };
  const refill = new Refill({
    ...{
      signal: new AbortController().signal,
      selectors: new SelectorSet([{ id: '', predicate }]),
      wake: new Signal(),
    },
    position: {
      ...{ views: new Map([['a', view]]), places: Array(8).fill({ delivered: 9, log }) },
      ...{ makeNotes: async () => undefined, cursor: () => '' },
    },
    broker: { route: { reaches: () => true }, ...answers.broker },
    outlet: answers.outlet,
    planner: { untilNs: () => undefined },
  } as never);
  await refill.during(async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  });
  return view.owed.get('process') ?? [];
}

const RANGE = { offsetFrom: 3, offsetTo: 8, after: at(5n), skipped: false, counted: true };

test('where the log gives nothing at this moment all that is owed stays owed, from where it was refilled', async () => {
  const view = new NodeView('a');
  view.owe('process', { ...RANGE });
  const owed = await owedAfter(view, () => undefined);
  assert.deepEqual(
    owed.map(({ offsetFrom, after }) => [offsetFrom, after]),
    [[3, at(5n)]],
  );
  const further = await owedAfter(view, (reader) => {
    reader.offset = 6;
  });
  assert.deepEqual(
    further.map(({ offsetFrom, after }) => [offsetFrom, after]),
    [[6, undefined]],
  );
});

test('what a log that goes back gives up while it is read is not refilled any more', async () => {
  const view = new NodeView('a');
  const [first, second] = [{ ...RANGE }, { ...RANGE, offsetFrom: 8, offsetTo: undefined }];
  view.owe('process', first);
  view.owe('process', second);
  const frame = frameOver(at(5n), at(7n), { shed: [{ predicateIds: [predicate.id], events: 3 }] });
  const read: number[] = [];
  const owed = await owedAfter(view, ({ offset }) => {
    read.push(offset);
    if (read.length === 1) return { kind: 'frame', offset: 4, node: 'a', frame };
    view.settleOwed('process', first);
    return undefined;
  });
  assert.deepEqual(owed, [second]);
  // Nobody was asked for the first one, or that would have failed here.
  assert.deepEqual(read, [3, 3, 8]);
});

/**
 * Likewise, where the frame at offset 4 says what is owed and the recorder answers with events of a frame each. Returns
 * what was told, too.
 */
async function refilled(view: NodeView, frame: Frame, events: readonly Recorded[], onEvent: () => void) {
  const told = { events: 0, gaps: 0, counts: {} as Record<string, number> };
  const answer = () => {
    const nothing = () => undefined;
    const given = new HistoryAnswer('a', MiB, nothing, nothing);
    given.begin();
    for (const event of events) given.receive(historyFrameOf('process', 1, [event]));
    given.finish(historyEndCodec.decode(historyEndCodec.encode({ source: 'synthetic' }), MiB));
    return given;
  };
  const outlet = {
    ...{ left: 100, client: 'me', admit: () => undefined },
    count: (kind: string, _topic: string, { events }: Tally, sign = 1) => {
      told.counts[kind] = (told.counts[kind] ?? 0) + sign * events;
    },
    batch: async () => {
      told.events++;
      onEvent();
    },
    message: async () => {
      told.gaps++;
    },
  };
  const route = { reaches: () => true, history: answer };
  const broker = { route, registry: { record: () => ({ epoch: 1 }) }, historyPool: new BytePool(16 * MiB) };
  const next = (reader: { offset: number }) => {
    const isBefore = reader.offset <= 4;
    reader.offset = isBefore ? 5 : 9;
    return isBefore ? { kind: 'frame', offset: 4, node: 'a', frame } : undefined;
  };
  return { told, owed: await owedAfter(view, next, { broker, outlet }) };
}

test('what is given up while it is refilled, as too much is owed behind it, comes no more: it is told as lost', async () => {
  const recorder = new TestRecorder('a');
  const events = range(0, 4).map((pid) => recorder.record('process.exec', pid));
  const shed = [{ predicateIds: [predicate.id], events: 4 }];
  const view = new NodeView('a');
  view.owe('process', { ...RANGE, after: undefined, due: owedOf('shed', { events: 4, of: [] }) });
  let givenUp: Owed | undefined;
  const { told } = await refilled(view, frameOver(at(0n), recorder.frontier, { shed }), events, () => {
    for (let more = 0; more < OWED_RANGES_MAX && givenUp === undefined; more++)
      givenUp = view.owe('process', { ...RANGE, offsetFrom: 8, offsetTo: 9 });
  });
  assert.deepEqual(told, { events: 1, gaps: 0, counts: { throttled: 0, refilled: 1, shed: -1 } });
  assert.equal(givenUp?.due?.shed.events, 3);
});

test('of a frame that was skipped behind what history had of it, nobody knows how much, all that is refilled is counted', async () => {
  const recorder = new TestRecorder('a');
  const events = range(0, 4).map((pid) => recorder.record('process.exec', pid));
  const matches = [{ predicateId: predicate.id, all: true, indices: [] }];
  const frame = frameOver(at(0n), recorder.frontier, { count: 4, matches, ...columns(events) });
  const view = new NodeView('a');
  const after = events[1]!.event.position;
  view.owe('process', { ...RANGE, after, skipped: true, due: owedOf('skipped', { events: 2, of: [] }) });
  const { told, owed } = await refilled(view, frame, events, () => undefined);
  assert.deepEqual(told, { events: 2, gaps: 0, counts: { throttled: 0, refilled: 2, skipped: -2 } });
  assert.deepEqual(owed, []);
});
