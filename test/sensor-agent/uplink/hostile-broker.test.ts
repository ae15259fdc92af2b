/**
 * What a broker may say by mistake or on purpose: the agent answers it with one
 * line or lets the session go, comes back, keeps its memory bounded and records on.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB, MiB } from '../../../src/limits.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeFrame } from '../../../src/wire/frame/frame.js';
import type { ControlResponse } from '../../../src/wire/messages.js';
import { MAIN } from '../../harness/bus/command.js';
import { HostileBroker, type HostileSession } from '../../harness/hostile-broker.js';
import { until as untilProgress } from '../../harness/until.js';

const U64_MAX = '18446744073709551615';
const RSS_BYTES_MAX = 320 * MiB;

let broker: HostileBroker;
let agent: ChildProcess;
let logged = '';
const dataDir = mkdtempSync(join(tmpdir(), 'backplane-agent-'));

before(async () => {
  broker = await HostileBroker.start();
  agent = fork(MAIN, ['agent'], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      PATH: process.env.PATH ?? '',
      BACKPLANE_DATA_DIR: dataDir,
      BACKPLANE_SOURCE: 'synthetic',
      BACKPLANE_SYNTHETIC_RATE: '300',
      BACKPLANE_BROKERS: broker.address,
      BACKPLANE_LOG_LEVEL: 'warn',
      BACKPLANE_RECORDER_BYTES_MAX: '128MiB',
      BACKPLANE_BUDGET_LIVE_BYTES: '1GiB',
      BACKPLANE_BUDGET_LIVE_EVENTS: '1000000',
      BACKPLANE_BUDGET_HISTORY_BYTES: '1GiB',
    },
  });
  for (const stream of [agent.stdout!, agent.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      logged += text;
    });
  }
});
after(() => {
  agent.kill('SIGKILL');
  broker.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

function until<T>(what: string, holds: () => T | undefined | false): Promise<Exclude<T, false | undefined>> {
  return untilProgress(
    what,
    () => {
      const found = holds();
      if (!found) assert.equal(agent.exitCode, null, `the agent has ended: ${logged}`);
      return found || undefined;
    },
    () => logged,
  ) as Promise<Exclude<T, false | undefined>>;
}

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const spec = (change: object = {}) => {
  const { id, ...rest } = predicate.spec;
  return { ...rest, topics: [...rest.topics], fields: [], id: id.toString(), ...change };
};
const position = (timeNs: string, epoch: string, lane = 0) => ({ epoch, timeNs, lane, tie: 0 });
const PAST = position('1', '1');
const GENEROUS = {
  liveBytesPerSecond: String(1024 * MiB),
  liveEventsPerSecond: '1000000',
  historyBytesPerSecond: String(MiB),
};

function rssBytes(): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * KiB;
}

const session = () => until('the agent is connected', () => broker.session?.live && broker.session);
let generation = 0;
let queries = 1000;

/** It answers interest, publishes sound frames, answers history, and is of bounded size. */
async function well(): Promise<void> {
  const it = await session();
  const asked = String(++generation);
  it.say({ lease: { budget: GENEROUS, validMs: 0 } }, { interest: { generation: asked, predicates: [spec()] } });
  await until('interest is acknowledged', () => it.heard.some(({ interestAck }) => interestAck?.generation === asked));
  it.frames.length = 0;
  const events = () => it.frames.reduce((sum, bytes) => sum + decodeFrame(bytes).count, 0);
  await until('events come', () => events() > 10);
  const end = await answerTo(it, { last: 3 });
  assert.equal(end.error, '');
  it.say({ interest: { generation: String(++generation), predicates: [] } });
  assert.ok(rssBytes() < RSS_BYTES_MAX, `${rssBytes()} bytes resident`);
}

async function answerTo(it: HostileSession, query: object) {
  const queryId = ++queries;
  it.say({ historyQuery: { queryId, predicates: [spec()], ...query } } as ControlResponse);
  return until(`an end of ${JSON.stringify(query).slice(0, 200)}`, () => {
    const last = it.history.find((message) => message.queryId === queryId && 'end' in message);
    return last && 'end' in last ? last.end : undefined;
  });
}

test('an invalid welcome, or one out of bounds, is refused with a log line, and the next one is accepted', async () => {
  await well();
  const covered = (to: object) => ({ session: 's', covered: [{ topic: 'process', to, resume: true }] });
  const welcomes: [ControlResponse, RegExp | undefined][] = [
    [{ lease: { budget: GENEROUS } }, /the broker did not begin with a welcome/],
    [
      { welcome: { session: 's', epochMin: U64_MAX } },
      /welcome.epoch_min must be at most \d+, got 18446744073709551615/,
    ],
    [{ welcome: covered(position('1', '1', 70_000)) }, /welcome.covered.to.lane must be at most 65535, got 70000/],
    [{ welcome: covered(position('1', U64_MAX)) }, /welcome.covered.to.epoch must be below 2\^53/],
    [{ welcome: { session: 'a\r\nb: c' } }, /illegal characters/],
    [{ welcome: { session: 's'.repeat(900 * KiB) } }, /uplink: /],
    [{ welcome: covered(position(U64_MAX, String(Number.MAX_SAFE_INTEGER))) }, undefined],
    [{ leastLinger: { lingerMs: 5 } }, /the broker did not begin with a welcome/],
  ];
  for (const [welcome, reason] of welcomes) {
    logged = '';
    broker.welcome = welcome;
    const before = broker.sessions.length;
    broker.session?.control.end();
    await until('it has come', () => broker.sessions.length > before);
    if (reason) await until(`it is refused with ${reason}`, () => reason.test(logged));
    broker.welcome = { welcome: { session: 's' } };
    broker.session?.control.end();
    await until('it is connected', () => broker.sessions.length > before + 1);
    await well();
  }
});

test('leases of any size, and filters of any kind, do not disturb the agent', async () => {
  const it = await session();
  const rates = ['0', '1', U64_MAX].map((rate) => {
    return { liveBytesPerSecond: rate, liveEventsPerSecond: rate, historyBytesPerSecond: rate, burstMs: 0xffff_ffff };
  });
  for (const budget of rates) {
    for (const validMs of [0, 1, 0xffff_ffff]) {
      for (const fallback of [null, ...rates]) it.say({ lease: { budget, validMs, fallback } });
    }
    await sleep(20);
  }
  it.say({ lease: {} });
  const filters = [
    'a((((',
    '('.repeat(5_000),
    'process.pid ==',
    'x'.repeat(100_000),
    '\u0000',
    'process.comm.matches("(a*)*b{999}")',
  ];
  const strange = [
    ...filters.map((filter) => spec({ filter })),
    spec({ topics: ['weather'] }),
    spec({ topics: ['__proto__'] }),
    spec({ topics: Array.from({ length: 5_000 }, () => 'process') }),
    spec({ fields: ['__proto__'] }),
    spec({ fields: Array.from({ length: 5_000 }, () => 'process.pid') }),
    spec({ filter: 'process.pid == 1' }),
  ].map((each, id) => ({ ...each, id: String(id + 1) }));
  const twice = [spec(), spec(), ...strange];
  it.say({ interest: { generation: U64_MAX, predicates: twice } });
  const answer = await until('an answer', () =>
    it.heard.find(({ interestAck }) => interestAck?.generation === U64_MAX),
  );
  assert.equal(answer.interestAck?.errors.length, strange.length);
  for (const { message } of answer.interestAck!.errors) assert.ok(message.length > 0 && message.length < 1024);
  const crowd = Array.from({ length: 3_000 }, (_, id) => spec({ id: String(id + 1) }));
  it.say({ interest: { generation: '7', predicates: crowd } });
  await until('an answer', () => it.heard.some(({ interestAck }) => interestAck?.generation === '7'));
  assert.equal(it.ended, false);
  await well();
});

test('an impossible query is answered with the error in it', async () => {
  const it = await session();
  const time = (seconds: string, nanos = 0) => ({ seconds, nanos });
  const stretch = (from: string, to: string) => ({ from: position(from, '1'), to: position(to, '1') });
  const bad: [object, RegExp][] = [
    [{ predicates: [] }, /history_query.predicates must be 1 to 64, got 0/],
    [
      { predicates: Array.from({ length: 65 }, (_, id) => spec({ id: String(id) })) },
      /predicates must be 1 to 64, got 65/,
    ],
    [{ predicates: [spec(), spec()] }, /history_query.predicates must have different ids/],
    [{ predicates: [spec({ filter: '((' })] }, /filter: /],
    [{ predicates: [spec({ topics: ['weather'] })] }, /unknown topic "weather"/],
    [{ since: time('-1') }, /history_query.since must be a time from 1970 to 9999/],
    [{ until: time('9223372036854775807') }, /history_query.until must be a time/],
    [{ since: time('1', -5) }, /history_query.since must be a time/],
    [{ after: position('1', U64_MAX) }, /history_query.after.epoch must be below 2\^53/],
    [{ upTo: position('1', '1', 70_000) }, /history_query.up_to.lane must be at most 65535/],
    [{ last: 0xffff_ffff }, /history_query.last must be at most 10000, got 4294967295/],
    [{ within: [{ from: PAST }] }, /history_query.within: from and to must be set/],
    [{ within: [stretch('5', '6'), stretch('1', '2')] }, /history_query.within must ascend/],
    [{ within: [stretch('1', '9'), stretch('5', '12')] }, /history_query.within must ascend/],
    [{ within: [stretch('9', '1')] }, /history_query.within must ascend/],
    [
      { within: Array.from({ length: 257 }, () => stretch('1', '2')) },
      /history_query.within must be at most 256, got 257/,
    ],
  ];
  for (const [query, reason] of bad) {
    const { error } = await answerTo(it, query);
    assert.match(error, reason);
    assert.ok(error.length < 600 && !error.includes('\n'));
  }
  const empty = [
    { since: time('253402300799'), until: time('0') },
    { after: position(U64_MAX, String(Number.MAX_SAFE_INTEGER)), upTo: PAST },
    { within: [stretch(U64_MAX, U64_MAX)] },
  ];
  for (const query of empty) {
    const { error } = await answerTo(it, query);
    assert.equal(error, '');
    assert.ok(!it.history.some((message) => message.queryId === queries && 'frameBytes' in message));
  }
  for (const queryId of ['0', '999', U64_MAX]) {
    it.say({ historyCredit: { queryId, bytes: U64_MAX } }, { historyCancel: { queryId } });
  }
  it.say(
    { frameAck: { topics: [{ topic: 'weather' }] } },
    { frameAck: { topics: [] } },
    {},
    { frameAck: { topics: [{ topic: '__proto__', coveredTo: position(U64_MAX, '1') }] } },
  );
  assert.equal(it.ended, false);
  await well();
});

test('400 queries that are cancelled at once have one end each, take little memory, and the next is answered', async () => {
  const it = await session();
  it.history.length = 0;
  const asked = Array.from({ length: 400 }, () => ++queries);
  for (const queryId of asked) {
    it.say({ historyQuery: { queryId, predicates: [spec()] } }, { historyCancel: { queryId } });
  }
  await until('all have ended', () => it.history.filter((message) => 'end' in message).length >= asked.length);
  const { error } = await answerTo(it, { last: 3 });
  assert.equal(error, '');
  const ends = it.history.flatMap((message) => ('end' in message ? [message.queryId] : []));
  assert.deepEqual(
    ends.slice(0, -1).sort((a, b) => a - b),
    asked,
  );
  await well();
});

test('a broker that grants and acknowledges everything, and reads nothing, costs little memory', async () => {
  const it = await session();
  it.live!.pause();
  it.historyCall!.pause();
  it.say({ interest: { generation: String(++generation), predicates: [spec()] } });
  const rest = { ...GENEROUS, historyBytesPerSecond: String(1024 * MiB) };
  it.say({ lease: { budget: rest, validMs: 0 } });
  const asked = Array.from({ length: 16 }, () => ++queries);
  for (const queryId of asked) it.say({ historyQuery: { queryId, predicates: [spec()], creditBytes: U64_MAX } });
  let rssMax = 0;
  for (let round = 0; round < 40; round++) {
    for (const queryId of asked) it.say({ historyCredit: { queryId, bytes: U64_MAX } });
    it.say({
      frameAck: { topics: [{ topic: 'process', coveredTo: position(U64_MAX, String(Number.MAX_SAFE_INTEGER)) }] },
    });
    await sleep(50);
    rssMax = Math.max(rssMax, rssBytes());
  }
  assert.ok(rssMax < RSS_BYTES_MAX, `${rssMax} bytes resident`);
  it.control.end();
  await until('another session', () => it.ended);
  await well();
});

test('a broker that keeps asking and reads no answer loses its session', async () => {
  const it = await session();
  it.control.pause();
  for (let round = 0; round < 400 && !it.ended; round++) {
    for (let each = 0; each < 100; each++)
      it.say({ interest: { generation: '1', predicates: [spec({ filter: '((' })] } });
    await sleep(5);
  }
  await until('the session ends', () => it.ended || /left \d+ messages unread/.test(logged));
  await well();
});

test('a broker that acknowledges more topics than there are loses its session, with the reason', async () => {
  const it = await session();
  const acknowledged = { topic: 'process', coveredTo: position('1', '1') };
  it.say({ frameAck: { topics: Array.from({ length: 20_000 }, () => acknowledged) } });
  await until('the session ends', () => it.ended);
  await until('the reason is logged', () => /frame_ack\.topics must be at most \d+, got 20000/.test(logged));
  await well();
});

test('changes of what is asked add up; one of what the agent was not told ends the session, with the reason', async () => {
  const it = await session();
  const other = compilePredicate({ topics: ['process'], filter: 'process.pid > 0', includeSelf: true }).spec;
  const added = [spec({ ...other, id: other.id.toString(), topics: [...other.topics], fields: [] })];
  const base = String(++generation);
  const change = { generation: String(++generation), base, added, removed: [predicate.id.toString()] };
  it.say({ lease: { budget: GENEROUS, validMs: 0 } }, { interest: { generation: base, predicates: [spec()] } });
  await until('events come', () => it.frames.some((bytes) => decodeFrame(bytes).count > 0));
  it.say({ interestChange: change });
  const idsOf = (bytes: Buffer) => decodeFrame(bytes).matches.map(({ predicateId }) => predicateId);
  await until('events of the other come', () => it.frames.some((bytes) => idsOf(bytes).join() === `${other.id}`));
  assert.ok(it.frames.every((bytes) => idsOf(bytes).length < 2));
  it.say({ interestChange: { ...change, generation: String(++generation) } });
  await until('the session ends', () => it.ended);
  await until('the reason is logged', () => logged.includes(`interest_change.base must be ${change.generation}, got`));
  await well();
});

test('an agent that hears of frames from beyond its clock continues in a later epoch, and is accepted', async () => {
  const first = await until('a session', () => broker.session);
  const epoch = first.heard[0]?.hello?.epoch ?? assert.fail('no Hello');
  const welcome = broker.welcome;
  const future = position(String(2n ** 62n), epoch);
  broker.welcome = { welcome: { session: 's', covered: [{ topic: 'process', to: future, resume: true }] } };
  first.control.end();
  const later = await until('another epoch', () =>
    broker.session?.heard.some(({ hello }) => Number(hello?.epoch) > Number(epoch)) ? broker.session : undefined,
  );
  later.say({ interest: { generation: '77', predicates: [spec()] } });
  const frame = await until('events', () =>
    later.frames.map((bytes) => decodeFrame(bytes)).find(({ count }) => count > 0),
  );
  assert.ok(frame.coveredTo.epoch > Number(epoch));
  assert.ok(frame.coveredTo.timeNs < 2n ** 62n);
  broker.welcome = welcome;
});
