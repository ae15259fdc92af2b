/** The publisher: every match is framed or counted as shed, whatever happens to the recorder, the link and the budget. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { type BudgetRates, LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { type FrameLink, Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeFrame, encodeFrame, type Frame } from '../../../src/wire/frame/frame.js';
import { comparePositions, type Position, positionText } from '../../../src/wire/position.js';
import { RecordingDriver, recordedStep, replayed } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

function asked(topic: string, filter: string) {
  const predicate = compilePredicate({ topics: [topic], filter, includeSelf: true });
  const request = predicate.spec;
  return { topic, id: predicate.id, interest: new Interest(1n, [request], 'n') };
}
type Asked = ReturnType<typeof asked>;
const PROCESSES = asked('process', 'event.type != "process.rename"');
/** Decoded only while they are asked for: what was passed over before must not be missing after. */
const CALLS = asked('syscall', '');

/** The log of a broker: frames by topic, refused unless each begins where the one before ended. */
class Log implements FrameLink {
  writable = true;
  connected = true;
  events: string[] = [];
  /** Stretches that were shed, and how much. */
  shed: { from: Position; to: Position; events: number }[] = [];
  lost = 0;
  late = 0;
  /** With events. */
  frames = 0;
  coveredTo: Position | undefined;

  readonly #asked: Asked;

  constructor(asked: Asked) {
    this.#asked = asked;
  }

  send(sent: Frame): number {
    const bytes = encodeFrame(sent);
    // What is under way when a connection breaks never arrives.
    if (this.connected) this.#receive(decodeFrame(bytes));
    return bytes.length;
  }

  #receive(frame: Frame): void {
    if (this.coveredTo)
      assert.equal(positionText(frame.coveredFrom), positionText(this.coveredTo), 'frames leave no hole');
    this.coveredTo = frame.coveredTo;
    this.lost += frame.lost;
    this.late += frame.late;
    if (frame.count > 0) this.frames += 1;
    assert.equal(frame.lostUnknown, false);
    for (const [at, timeNs] of frame.timesNs.entries()) {
      const position = { epoch: frame.coveredTo.epoch, timeNs, lane: frame.lanes[at]!, tie: frame.ties[at]! };
      assert.ok(comparePositions(position, frame.coveredFrom) > 0 && comparePositions(position, frame.coveredTo) <= 0);
      this.events.push(positionText(position));
    }
    for (const { predicateIds, events } of frame.shed) {
      assert.deepEqual(predicateIds, [this.#asked.id]);
      this.shed.push({ from: frame.coveredFrom, to: frame.coveredTo, events });
    }
    const [match] = frame.matches;
    if (frame.count > 0) assert.deepEqual([match?.predicateId, match?.all], [this.#asked.id, true]);
  }
}

const weather = fc.record({
  step: recordedStep,
  link: fc.constantFrom('up', 'up', 'up', 'stalls', 'breaks'),
  ticks: fc.integer({ min: 0, max: 3 }),
  slowed: fc.constantFrom(false, false, false, true),
  gathersMs: fc.constantFrom(0, 0, 1_000),
  asksAnew: fc.constantFrom(false, false, true),
});
type Day = typeof weather extends fc.Arbitrary<infer Value> ? Value : never;

/** Sheds within a few steps. */
const TIGHT = { bytesPerSecond: 1e9, eventsPerSecond: 5, burstMs: 1 };
const PLENTY = { bytesPerSecond: 1e9, eventsPerSecond: 1e9, burstMs: 1000 };

/** What nobody asks for at the moment is passed over; who reads it later waits for a horizon behind it. */
const PASSED_OVER = {
  step: {
    entries: [{ lane: 0, afterNs: 0n as const, pid: 1, what: 'other' as const, read: 'at once' as const }],
    lost: 0 as const,
    crash: false,
    wallStepNs: 0n as const,
  },
  link: 'breaks' as const,
  ticks: 0,
  slowed: false,
  gathersMs: 0 as const,
  asksAnew: false,
};

/** Records, publishes and disconnects as the days say, then lets the publisher catch up. */
function liveThrough(days: readonly Day[], asked: Asked, rates: typeof TIGHT, dir: string) {
  const log = new Log(asked);
  let clockMs = 0;
  const driver = new RecordingDriver(dir);
  const agent = () => new Publisher(driver.recorder, new LiveBudget(rates, () => clockMs));
  let publisher = agent();
  const tick = () => {
    clockMs += 400;
    publisher.tick(clockMs);
  };
  const connect = () => {
    log.connected = true;
    log.writable = true;
    publisher.connect(
      log,
      log.coveredTo ? [{ topic: asked.topic, to: log.coveredTo, resume: true, frameEnd: true }] : [],
    );
    publisher.setInterest(asked.interest);
  };
  connect();
  log.coveredTo = driver.recorder.timeline.frontier;
  for (const { step, link, ticks, slowed, gathersMs, asksAnew } of days) {
    publisher.gather(gathersMs);
    publisher.slow(slowed ? 1e-6 : undefined);
    log.writable = link !== 'stalls';
    if (link === 'breaks') {
      log.connected = false;
      publisher.disconnect();
    }
    driver.step(step);
    for (let count = 0; count < ticks; count += 1) tick();
    if (step.crash) {
      driver.crash();
      publisher = agent();
    }
    if (step.crash || link === 'breaks') connect();
    if (asksAnew && log.writable) {
      const holds = publisher.setInterest(asked.interest);
      assert.equal(positionText(log.coveredTo!), positionText(holds), 'a frame ends where interest begins');
    }
  }
  log.writable = true;
  publisher.slow(undefined);
  publisher.gather(0);
  driver.finish();
  for (let count = 0; count < 200; count += 1) tick();
  return { log, driver };
}

/** Holds what the log got against a replay of the recording. */
function assertFramedOrShed(log: Log, driver: RecordingDriver, asked: Asked): void {
  const whole = replayed(driver.recorder, undefined);
  const expected = whole.events
    .map((text, at) => ({ text, position: whole.positions[at]! }))
    .filter(({ text }) => text.includes(`"type":"${asked.topic}.`) && !text.includes('process.rename'))
    .map(({ position }) => position);
  for (const { from, to, events } of log.shed) {
    const within = expected.filter((at) => comparePositions(at, from) > 0 && comparePositions(at, to) <= 0);
    assert.equal(within.length, events);
    for (const position of within) expected.splice(expected.indexOf(position), 1);
  }
  assert.deepEqual(log.events, expected.map(positionText));
  assert.equal(log.lost, whole.lost);
}

test('every match is framed or counted as shed exactly once, whatever link, agent, budget and guard do', () => {
  let shed = 0;
  const days = fc.array(weather, { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(days, fc.constantFrom(PROCESSES, CALLS), fc.constantFrom(TIGHT, PLENTY), (days, asked, rates) => {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
      try {
        const { log, driver } = liveThrough(days, asked, rates, dir);
        assertFramedOrShed(log, driver, asked);
        if (rates === PLENTY) assert.deepEqual(log.shed, []);
        shed += log.shed.length;
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    {
      examples: [[[PASSED_OVER], CALLS, TIGHT]],
      numRuns: runs(40),
      interruptAfterTimeLimit: 60_000,
      markInterruptAsFailure: false,
    },
  );
  assert.ok(shed > 0, 'nothing was ever shed');
});

test('a node over its budget sheds instead of being late, however often its connection breaks', () => {
  const { log, publisher, driver, second, connect, end } = steady({
    bytesPerSecond: 1e6,
    eventsPerSecond: 5,
    burstMs: 2_000,
  });
  try {
    for (let connections = 0; connections < 10; connections += 1) {
      for (let seconds = 0; seconds < 60; seconds += 1) {
        second();
        const lagNs = driver.recorder.timeline.frontier.timeNs - log.coveredTo!.timeNs;
        assert.ok(lagNs < 60_000_000_000n, `${lagNs} ns late ${seconds} s after connection ${connections}`);
      }
      publisher.disconnect();
      for (let seconds = 0; seconds < 5; seconds += 1) second();
      connect();
    }
    assert.ok(log.shed.length > 0);
  } finally {
    end();
  }
});

test('a node within its budget sheds nothing after a long outage, and catches up', () => {
  const { log, publisher, second, connect, end } = steady({ bytesPerSecond: 1e6, eventsPerSecond: 40, burstMs: 2_000 });
  try {
    for (let seconds = 0; seconds < 10; seconds += 1) second();
    publisher.disconnect();
    for (let seconds = 0; seconds < 300; seconds += 1) second();
    connect();
    assert.equal(publisher.catchesUp, true);
    for (let seconds = 0; seconds < 150; seconds += 1) second();
    assert.deepEqual([publisher.behind, publisher.catchesUp], [false, false]);
    assert.deepEqual(log.shed, []);
    assert.equal(log.events.length, 4_600);
    // What it falls behind with by itself is no outage.
    log.writable = false;
    for (let seconds = 0; seconds < 3; seconds += 1) second();
    assert.deepEqual([publisher.behind, publisher.catchesUp], [true, false]);
  } finally {
    end();
  }
});

test('events that gather are sent together, at the latest after that time, and all at once when it is over', () => {
  const { log, publisher, driver, second, end } = steady(PLENTY);
  try {
    publisher.gather(1_000);
    const lags: number[] = [];
    for (let seconds = 0; seconds < 20; seconds += 1) {
      second();
      lags.push(Number(driver.recorder.timeline.frontier.timeNs - log.coveredTo!.timeNs) / 1e6);
    }
    assert.ok(Math.max(...lags) <= 2_000, lags.join());
    assert.ok(log.events.length >= 180 && log.frames <= 21, `${log.events.length} events in ${log.frames} frames`);
    publisher.gather(0);
    second();
    assert.equal(log.events.length, 210);
  } finally {
    end();
  }
});

test('slowed matching says how late it is and when it goes on, and catches up at its pace', () => {
  const { publisher, second, end } = steady(PLENTY);
  try {
    second();
    assert.deepEqual([publisher.lagMs, publisher.restMs(0, 250)], [0, undefined]);
    publisher.slow(1e-6);
    // What it may use at once is used up first.
    for (let seconds = 0; seconds < 100_000 && publisher.lagMs < 2_000; seconds += 1) second();
    assert.ok(publisher.behind && !publisher.catchesUp && publisher.lagMs > 1_000, `${publisher.lagMs} ms late`);
    assert.equal(publisher.restMs(0, 250), 250);
    publisher.slow(1);
    for (let seconds = 0; seconds < 10; seconds += 1) second();
    assert.ok(publisher.behind && publisher.lagMs < 1_000, `${publisher.lagMs} ms late`);
    publisher.slow(undefined);
    second();
    assert.equal(publisher.behind, false);
  } finally {
    end();
  }
});

test('an event that came too late is counted once, in its topic, even if its stretch is read again', () => {
  const { log, publisher, driver, second, connect, end } = steady(PLENTY);
  try {
    second();
    driver.late('exit');
    driver.late('other');
    second();
    assert.equal(log.late, 1);
    // Not sent yet when the link breaks: it comes again at once, or when more has been recorded.
    for (const between of [0, 1]) {
      driver.late('exit');
      log.connected = false;
      publisher.disconnect();
      for (let seconds = 0; seconds < between; seconds += 1) second();
      connect();
      second();
    }
    for (let seconds = 0; seconds < 5; seconds += 1) second();
    assert.equal(log.late, 3);
    assert.equal(log.events.length, 100);
  } finally {
    end();
  }
});

/** A connected node that records ten events a second, by a clock of its own. */
function steady(rates: BudgetRates) {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  const log = new Log(PROCESSES);
  let clockMs = 0;
  const driver = new RecordingDriver(dir);
  const publisher = new Publisher(driver.recorder, new LiveBudget(rates, () => clockMs));
  const second = () => {
    const entry = { lane: 0, afterNs: 90_000_000n, pid: 7, what: 'exit', read: 'never' } as const;
    driver.step({ entries: new Array(10).fill(entry), lost: 0, crash: false, wallStepNs: 0n });
    driver.nowNs += 100_000_000n;
    for (let tick = 0; tick < 10; tick += 1) {
      clockMs += 100;
      publisher.tick(clockMs);
    }
  };
  const connect = () => {
    log.connected = true;
    publisher.connect(log, [{ topic: 'process', to: log.coveredTo!, resume: true, frameEnd: true }]);
    publisher.setInterest(PROCESSES.interest);
  };
  log.coveredTo = driver.recorder.timeline.frontier;
  connect();
  return { log, publisher, driver, second, connect, end: () => rmSync(dir, { recursive: true, force: true }) };
}
