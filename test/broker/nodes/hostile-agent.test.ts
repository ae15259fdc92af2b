/**
 * What agents may say by mistake or on purpose: each is refused with the field,
 * the bound and the value, memory stays bounded, and everybody else is served on.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  BUDGET_BURST_MS_MAX,
  FRAME_EVENTS_MAX,
  FRAME_SHED_IDS_MAX,
  HISTORY_CREDIT_BYTES,
  KiB,
  MiB,
  PREDICATES_MAX,
} from '../../../src/limits.js';
import { createBackplaneClient } from '../../../src/wire/grpc/rpc.js';
import { WALL_NS_MAX } from '../../../src/wire/messages.js';
import { messageCodec } from '../../../src/wire/schema.js';
import { element } from '../../harness/arbitrary/frame-arbitrary.js';
import { type Harness, range } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { Witness } from '../../harness/broker/witness.js';
import { until } from '../../harness/until.js';

const U64_MAX = '18446744073709551615';
const I64_MAX = '9223372036854775807';
const I64_MIN = '-9223372036854775808';
const NAMES = ['a.b/../c', '*', '>', 'a b', 'a\r\nb: c', '__proto__', 'n'.repeat(4 * KiB)];

let witness: Witness;
let harness: Harness;
let rssBefore = 0;

before(async () => {
  witness = await Witness.start();
  ({ harness } = witness);
  rssBefore = process.memoryUsage.rss();
});
after(() => witness.destroy());

/** Whatever this file has sent so far, others are served, and little is held. */
async function served(): Promise<void> {
  await witness.served();
  assert.ok(process.memoryUsage.rss() - rssBefore < 256 * MiB);
}

let names = 0;
const stranger = (hello = {}): Promise<TestAgent> => {
  const recorder = new TestRecorder(`recorder-${names}`, 5);
  return harness.agent(`stranger-${names++}`, recorder, hello);
};

/** Sends what ends the session; returns the reason. */
async function refusal(agent: TestAgent, send: () => void): Promise<string> {
  send();
  await until('the session ends', () => agent.ended !== undefined);
  assert.ok(!/[\r\n]/.test(agent.ended!) && agent.ended!.length < 700, agent.ended);
  return agent.ended!;
}

/** As others encode it: nothing is checked. */
const frameCodec = messageCodec<object, object>('Frame');
/** A field that events do not have: number 2047, a varint of two bytes. */
const UNKNOWN_FIELD = Buffer.of(0xf8, 0x7f, 0x80, 0x01);
const elements = (count: number, bytes = 4): Buffer =>
  Buffer.concat(range(0, count).map(() => element(bytes, UNKNOWN_FIELD)));
const position = (timeNs: bigint | string, epoch: number | string = 5, lane = 0) => ({
  epoch: String(epoch),
  timeNs: String(timeNs),
  lane,
  tie: 0,
});
/** Two events at 1010 and 1020 ns, of 6 bytes each. */
const SOUND = {
  topic: 'process',
  coveredFrom: position(1000n),
  coveredTo: position(2000n),
  count: 2,
  eventSizes: [6, 6],
  eventTimesNs: ['1010', '1020'],
  eventLanes: [0, 0],
  eventTies: [0, 0],
  matches: [{ predicateId: '7', all: true, indices: [] }],
  events: elements(2),
};
const many = (count: number) => ({
  count,
  eventSizes: range(0, count).map(() => 6),
  eventTimesNs: range(0, count).map((at) => String(1001 + at)),
  eventLanes: range(0, count).map(() => 0),
  eventTies: range(0, count).map(() => 0),
  matches: [],
  coveredTo: position(1_000_000n),
  events: elements(count),
});
const match = (indices: number[], all = false, predicateId = '7') => ({ predicateId, all, indices });

const UNSOUND: [object, RegExp][] = [
  [{ count: 3 }, /count must be the number of event_sizes, 2, got 3/],
  [{ count: 0xffff_ffff }, /count must be the number of event_sizes, 2, got 4294967295/],
  [{ eventSizes: [6, 7] }, /size of event 1 must be 2 to 65536 and within events, got 7/],
  [{ eventSizes: [6, 0xffff_ffff] }, /size of event 1 must be/],
  [{ eventSizes: [6, 0] }, /size of event 1 must be/],
  [{ events: Buffer.concat([elements(2), Buffer.from('x')]) }, /event_sizes must add up to 13 bytes of events, got 12/],
  [{ events: Buffer.alloc(12, 0x12) }, /event 0 is not one element of EventBatch.events/],
  [{ eventTimesNs: ['1020', '1010'] }, /events must stand in position order, event 1 does not/],
  [{ eventTimesNs: ['1010'] }, /columns must have equal lengths/],
  [{ eventTimesNs: ['1010', U64_MAX] }, /the last event must not come after covered_to/],
  [{ eventTimesNs: ['0', '1010'] }, /the first event must come after covered_from/],
  [{ eventLanes: [0, 65_536] }, /lane of event 1 must be at most 65535, got 65536/],
  [{ coveredFrom: position(3000n) }, /covered_from must not come after covered_to/],
  [{ coveredFrom: position(I64_MAX), coveredTo: position(U64_MAX) }, /the first event must come after covered_from/],
  [{ coveredTo: position(2000n, U64_MAX) }, /position: field 1 must be below 2\^53/],
  [
    { coveredTo: position(2000n, Number.MAX_SAFE_INTEGER), coveredFrom: position(1n) },
    /epoch must be 0 to 5, got 9007/,
  ],
  [{ coveredTo: position(2000n, 5, 65_536) }, /lane must be at most 65535, got 65536/],
  [{ matches: [match([0, 2])] }, /match indices must ascend and be below 2, got 2 after 0/],
  [{ matches: [match([1, 0])] }, /match indices must ascend/],
  [{ matches: [match([0, 0])] }, /match indices must ascend/],
  [{ matches: [match([0xffff_ffff])] }, /match indices must ascend and be below 2, got 4294967295/],
  [{ matches: [match([], true), match([], true)] }, /predicate 7 has two match lists/],
  [{ matches: [match([0], true)] }, /must have either all or indices/],
  [{ matches: range(0, PREDICATES_MAX + 1).map((id) => match([], true, String(id))) }, /at most 1024 matches/],
  [{ shed: [{ predicateIds: ['7'], events: '1' }] }, /must have either events or shed, got 2 and 1/],
  [{ lost: U64_MAX }, /field 7 must be below 2\^53, got 18446744073709552000/],
  [{ late: U64_MAX }, /field 9 must be below 2\^53/],
  [{ watermark: { seconds: I64_MAX, nanos: 0 } }, /watermark: field 1 must be below 2\^53/],
  [{ watermark: { seconds: '253402300800', nanos: 0 } }, /watermark: must be a time from 1970 to 9999/],
  [{ watermark: { seconds: '-1', nanos: 0 } }, /watermark: /],
  [{ watermark: { seconds: '1', nanos: 1_000_000_000 } }, /watermark: must be a time/],
  [{ refused: true }, /refused must have neither events nor shed/],
  [{ ...many(FRAME_EVENTS_MAX + 1) }, /field 5 must have at most 8192 elements/],
  [{ ...many(1), eventSizes: [70_004], events: element(70_000, 1) }, /size of event 0 must be 2 to 65536/],
];
const NOTHING = { count: 0, eventSizes: [], eventTimesNs: [], eventLanes: [], eventTies: [], matches: [], events: '' };
const UNSOUND_SHED: [object[], RegExp][] = [
  [[{ predicateIds: ['7'], events: U64_MAX }], /field 2 must be below 2\^53/],
  [[{ predicateIds: ['7'], events: '0' }], /shed of predicate 7 must be at least 1, got 0/],
  [range(0, 2).map(() => ({ predicateIds: ['7'], events: '1' })), /predicate 7 is shed twice/],
  [[{ predicateIds: [], events: '1' }], /shed must have predicate_ids/],
  [[{ predicateIds: ['7', '8', '7'], events: '1' }], /shed names 7, 8, 7 twice/],
  [range(0, FRAME_SHED_IDS_MAX + 1).map((id) => ({ predicateIds: [String(id)], events: '1' })), /at most 8192 shed/],
  [
    range(0, 9).map((at) => ({ predicateIds: range(0, 1000).map((id) => String(at + id * 9)), events: '1' })),
    /at most 8192 predicate_ids of shed, got 9000/,
  ],
];

test('an invalid frame is refused with the reason, and the node is listed with that reason', async () => {
  const shed = UNSOUND_SHED.map(([shed, reason]): [object, RegExp] => [{ ...NOTHING, shed }, reason]);
  for (const [change, reason] of [...UNSOUND, ...shed]) {
    const agent = await stranger();
    const ended = await refusal(agent, () => agent.sendFrame(frameCodec.encode({ ...SOUND, ...change })));
    assert.match(ended, reason, JSON.stringify(change).slice(0, 200));
  }
  for (const topic of [...NAMES, 'weather', 'constructor']) {
    const agent = await stranger();
    const ended = await refusal(agent, () => agent.sendFrame(frameCodec.encode({ ...SOUND, topic })));
    assert.match(ended, /topic/, topic);
  }
  const { nodes } = (await (await fetch(`http://${harness.broker.httpAddress}/v1/nodes`)).json()) as {
    nodes: { name: string; degraded: string }[];
  };
  const shown = nodes.find(({ name }) => name === 'stranger-0')?.degraded;
  assert.match(shown ?? '', /^no sound frame of process behind 5:1000:0:0: frame: count must be/);
  await served();
});

test('a frame cut at any byte is refused, or is a smaller valid one', async () => {
  const whole = frameCodec.encode(SOUND);
  for (const end of range(0, whole.length)) {
    const agent = await stranger();
    agent.sendFrame(whole.subarray(0, end));
    await until('an answer', () => agent.ended !== undefined || agent.acknowledged.has('process'));
    if (agent.ended !== undefined) assert.match(agent.ended, /no sound frame.*: frame/);
    agent.kill();
  }
  await served();
});

test('the most extreme numbers that a frame may have, and unknown predicates, cost others nothing', async () => {
  const agent = await stranger();
  const everyone = harness.subscribe({ topics: ['process'], follow: true });
  await everyone.isAccepted();
  const strange = {
    ...SOUND,
    // From where it said that it sends all.
    coveredFrom: position(0n),
    matches: [match([1], false, U64_MAX), match([0], false, '0')],
    lost: String(Number.MAX_SAFE_INTEGER),
    late: String(Number.MAX_SAFE_INTEGER),
    watermark: { seconds: String(WALL_NS_MAX / 1_000_000_000n), nanos: 0 },
  };
  agent.sendFrame(frameCodec.encode(strange));
  const shed = [{ predicateIds: [U64_MAX], events: String(Number.MAX_SAFE_INTEGER) }];
  const end = { coveredFrom: position(2000n), coveredTo: position(U64_MAX, 5, 65_535) };
  agent.sendFrame(frameCodec.encode({ ...SOUND, ...NOTHING, ...end, shed }));
  await until('both are taken', () => agent.acknowledged.get('process')?.timeNs === 2n ** 64n - 1n);
  await until('what was lost is told', () => everyone.gaps.some(({ reason }) => reason === 'kernel_overrun'));
  await served();
  assert.ok(everyone.pids.includes(witness.count - 1));
  everyone.cancel();
  // The name is not spent: another recorder goes on in a later epoch.
  const gone = harness.subscribe({ topics: ['process'], nodes: [agent.node], follow: true });
  await gone.isAccepted();
  agent.kill();
  await until('it is gone', () => gone.responses.some(({ nodeStatus }) => nodeStatus?.state === 'NODE_STATE_GONE'));
  const next = await harness.agent(agent.node, new TestRecorder('wiped', 5));
  assert.equal(next.welcome?.epochMin, '6');
});

test('a hello with any field out of bounds is refused', async () => {
  const bad: [object, RegExp][] = [
    [{ epoch: U64_MAX }, /hello.epoch must be at most 281474976710656, got 1844/],
    [{ epoch: String(2 ** 48 + 1) }, /hello.epoch must be at most 281474976710656/],
    [{ wallTime: { seconds: I64_MIN, nanos: 0 } }, /hello.wall_time must be a time from 1970 to 9999/],
    [{ wallTime: { seconds: '1', nanos: -1 } }, /hello.wall_time must be/],
    [{ degraded: 'd'.repeat(500 * KiB) }, /hello.degraded must be at most 1024 characters, got 512000/],
    [{ kernelRelease: 'k'.repeat(254) }, /hello.kernel_release must be at most 253 characters, got 254/],
    [{ kernelRelease: 'k\u001b[2J' }, /hello.kernel_release must have no control characters, got "k\\u001b\[2J"/],
    [{ bootId: 'b\u009b' }, /hello.boot_id must have no control characters/],
    [{ source: 'one\ntwo' }, /hello.source must have no control characters/],
    [{ profiles: range(0, 100_000).map(() => 'x') }, /hello.profiles must be at most 16 of 253 characters, got 100000/],
    [{ profiles: ['p'.repeat(900 * KiB)] }, /hello.profiles must be/],
    [{ budget: { burstMs: BUDGET_BURST_MS_MAX + 1 } }, /hello.budget.burst_ms must be at most 3600000, got 3600001/],
    [{ budget: { burstMs: 0xffff_ffff } }, /hello.budget.burst_ms must be at most 3600000, got 4294967295/],
    ...NAMES.filter((name) => name !== '__proto__').flatMap((name): [object, RegExp][] => [
      [{ node: name }, /hello.node: must/],
      [{ recorderId: name }, /hello.recorder_id: must/],
    ]),
  ];
  for (const [hello, reason] of bad) await assert.rejects(stranger(hello), reason, JSON.stringify(hello).slice(0, 100));
  // A node's rates are no bound of the broker's: they only have to be borne.
  const budgets = [U64_MAX, '0', '1'].map((rate) => {
    return {
      liveBytesPerSecond: rate,
      liveEventsPerSecond: rate,
      historyBytesPerSecond: rate,
      burstMs: BUDGET_BURST_MS_MAX,
    };
  });
  for (const budget of budgets) {
    const agent = await stranger({ budget, node: '__proto__' });
    await until('interest', () => agent.interests.length > 0 || agent.welcome !== undefined);
    await served();
    agent.kill();
    await until('it is gone', () => agent.ended !== undefined);
  }
});

test('reports and acknowledgements out of bounds end the session, and the listings stay usable', async () => {
  const rules = Object.fromEntries(range(0, 257).map((rule) => [`rule-${rule}`, '1']));
  const bad: [object, RegExp][] = [
    [{ report: { cpuRatio: Number.NaN } }, /report.cpu_ratio must be a number from 0, got NaN/],
    [{ report: { cpuRatio: Number.POSITIVE_INFINITY } }, /report.cpu_ratio/],
    [{ report: { cpuRatio: -1 } }, /report.cpu_ratio/],
    [{ report: { recordedFrom: { seconds: I64_MIN, nanos: 0 } } }, /report.recorded_from must be a time/],
    [{ report: { recordedFrom: { seconds: I64_MAX, nanos: 999_999_999 } } }, /report.recorded_from/],
    [{ report: { wallTime: { seconds: '0', nanos: 2_000_000_000 } } }, /report.wall_time/],
    [{ report: { degraded: 'd'.repeat(900 * KiB) } }, /report.degraded must be at most 1024 characters/],
    [{ report: { source: 's'.repeat(254) } }, /report.source must be at most 253 characters/],
    [{ report: { redactions: rules } }, /report.redactions must have at most 256 rules, got 257/],
    [{ report: { blindSpots: rules } }, /report.blind_spots must have at most 64 types, got 257/],
    [{ report: { blindSpots: { 'file.open': 'b'.repeat(257) } } }, /report.blind_spots of .* must be at most 256/],
    [{ report: { blindSpots: { 'file\nopen': '' } } }, /report.blind_spots must have no control characters/],
    [{ hello: { node: 'other', recorderId: 'r' } }, /hello comes once/],
    [{ interestAck: { generation: '1' } }, /interest_ack.position is missing/],
    [{ interestAck: { position: position(1n, U64_MAX) } }, /interest_ack.position.epoch must be below 2\^53/],
    [{ interestAck: { position: position(1n, 6) } }, /interest_ack.position.epoch must be at most 5, got 6/],
    [{ interestAck: { position: position(1n, 5, 70_000) } }, /interest_ack.position.lane must be at most 65535/],
    [{}, /hello comes once/],
  ];
  for (const [message, reason] of bad) {
    const agent = await stranger();
    assert.match(await refusal(agent, () => agent.say(message)), reason);
  }
  const agent = await stranger();
  const report = {
    eventsLost: U64_MAX,
    eventsShed: U64_MAX,
    residentBytes: U64_MAX,
    liveDemandBytesPerSecond: U64_MAX,
  };
  agent.say({
    report: { ...report, recordedFrom: { seconds: '0', nanos: 0 }, redactions: { ['__proto__']: U64_MAX } },
  });
  // Generations that were never sent, and errors of predicates that were never asked.
  for (const generation of ['0', '999', U64_MAX]) {
    const errors = range(0, 2_000).map((id) => ({ id: String(id), message: 'e'.repeat(100) }));
    agent.say({ interestAck: { generation, position: position(U64_MAX), errors } });
  }
  await served();
  assert.equal(agent.ended, undefined);
});

test('history that nobody asked for, that is invalid, or that exceeds its credit ends the session', async () => {
  const bad: [{ queryId: number; frameBytes: Buffer } | { queryId: number; end: object }, RegExp][] = [
    [{ queryId: 1, end: {} }, /history query 1 was never asked/],
    [{ queryId: Number.MAX_SAFE_INTEGER, frameBytes: Buffer.alloc(10) }, /was never asked/],
  ];
  for (const [message, reason] of bad) {
    const agent = await stranger();
    assert.match(await refusal(agent, () => agent.sendHistory(message)), reason);
  }
  const ends: [object, RegExp | undefined][] = [
    [{ coveredFrom: { seconds: I64_MIN, nanos: -1 } }, /history_end.covered_from must be a time/],
    [{ coveredTo: { seconds: I64_MAX, nanos: 0 } }, /history_end.covered_to must be a time/],
    [{ source: 's'.repeat(300) }, /history_end.source must be at most/],
    [{ error: 'e'.repeat(900 * KiB) }, /history_end.error must be at most/],
    [{ lost: U64_MAX, damagedBytes: U64_MAX, late: U64_MAX, eventsScanned: U64_MAX }, undefined],
  ];
  for (const [end, reason] of ends) {
    const agent = await stranger();
    agent.answerWith = (queryId) => agent.sendHistory({ queryId, end });
    const asker = harness.subscribe({ topics: ['process'], nodes: [agent.node], since: '1h' });
    await asker.end();
    assert.equal(asker.error, undefined);
    assert.equal(asker.coverage?.nodes[0]?.absent, reason !== undefined);
    if (reason) assert.match(agent.ended ?? '', reason);
  }
  const greedy = await stranger();
  greedy.answerWith = (queryId) => {
    for (let bytes = 0; bytes < 4 * HISTORY_CREDIT_BYTES; bytes += 256 * KiB) {
      greedy.sendHistory({ queryId, frameBytes: Buffer.alloc(256 * KiB, 0xff) });
    }
  };
  const asker = harness.subscribe({ topics: ['process'], nodes: [greedy.node], since: '1h' });
  await asker.end();
  assert.match(asker.coverage?.nodes[0]?.message ?? '', /history frame: |beyond its credit/);
  await served();
});

test('a node that overspent a small budget by days is read again as soon as it may send more', async () => {
  const agent = await stranger();
  const subscriber = harness.subscribe({ topics: ['process'], nodes: [agent.node], follow: true });
  await subscriber.isAccepted();
  const client = createBackplaneClient(harness.broker.grpcAddress);
  const allow = (liveBytesPerSecond: string | undefined) =>
    new Promise<void>((resolve, reject) => {
      const budget = liveBytesPerSecond === undefined ? {} : { budget: { liveBytesPerSecond } };
      client.setBudget({ nodes: [agent.node], ...budget }, (error) => (error ? reject(error) : resolve()));
    });
  await allow('1');
  for (let frame = 0; frame < 12; frame++) {
    for (const each of range(0, 4_000)) agent.recorder.record('process.exec', each);
    agent.publish();
  }
  await until('some of it', () => agent.acknowledged.has('process'));
  await sleep(1_500);
  assert.ok(agent.acknowledged.get('process')!.timeNs < agent.recorder.frontier.timeNs, 'most of it is not read');
  await allow(undefined);
  await until('all of it', () => agent.acknowledged.get('process')!.timeNs === agent.recorder.frontier.timeNs);
  client.close();
  await served();
});
