/** How often a node says that there was nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COVERAGE_INTERVAL_MS, COVERAGE_INTERVAL_MS_MAX } from '../../../src/limits.js';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { type FrameLink, Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { compilePredicate, type PredicateSpec } from '../../../src/subscriptions/predicate.js';
import type { Frame } from '../../../src/wire/frame/frame.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { RecordingDriver } from '../../harness/recording-driver.js';

const LOOK_MS = 100;
const { spec } = compilePredicate({ topics: ['process'], filter: 'event.type == "process.exit"', includeSelf: false });

/** A publisher of a machine on which nothing happens but what the test does. */
function quiet(eventsPerSecond = 1e9, asked: readonly PredicateSpec[] = [spec]) {
  const driver = new RecordingDriver(scratchDirectory('coverage'));
  const budget = new LiveBudget({ bytesPerSecond: 1e9, eventsPerSecond, burstMs: 1 });
  const publisher = new Publisher(driver.recorder, budget);
  let nowMs = 10_000;
  const sent: { readonly atMs: number; readonly frame: Frame }[] = [];
  const link: FrameLink = { writable: true, send: (frame) => sent.push({ atMs: nowMs, frame }) };
  publisher.connect(link, []);
  const ask = () => publisher.setInterest(new Interest(1n, asked, 'n'));
  ask();
  const exit = () =>
    driver.step({
      entries: [{ lane: 0, afterNs: 1n, pid: 5, what: 'exit', read: 'never' }],
      lost: 0,
      crash: false,
      wallStepNs: 0n,
    });
  const pass = (ms: number, each = () => {}) => {
    for (const endMs = nowMs + ms; nowMs < endMs; nowMs += LOOK_MS) {
      driver.nowNs += BigInt(LOOK_MS) * 1_000_000n;
      each();
      driver.recorder.horizon(driver.nowNs);
      publisher.tick(nowMs);
    }
  };
  /** Milliseconds between frames since the last call. */
  let seen = 0;
  const gapsMs = () => {
    const since = sent.slice(Math.max(0, seen - 1));
    seen = sent.length;
    return since.slice(1).map(({ atMs }, at) => atMs - since[at]!.atMs);
  };
  return { ask, exit, pass, gapsMs, sent };
}

test('silence is stated less often the longer it lasts, and at once as often as before when there is something', () => {
  const { ask, exit, pass, gapsMs } = quiet();
  pass(20_000);
  const [first, second, third, ...others] = gapsMs();
  assert.deepEqual([first, second], [2 * COVERAGE_INTERVAL_MS, COVERAGE_INTERVAL_MS_MAX]);
  for (const ms of [third, ...others]) assert.equal(ms, COVERAGE_INTERVAL_MS_MAX);
  exit();
  pass(LOOK_MS);
  pass(2 * COVERAGE_INTERVAL_MS);
  assert.ok(Math.max(...gapsMs().slice(1)) <= COVERAGE_INTERVAL_MS);
  pass(20_000);
  gapsMs();
  ask();
  pass(2 * COVERAGE_INTERVAL_MS);
  assert.ok(Math.max(...gapsMs().slice(1)) <= 2 * COVERAGE_INTERVAL_MS);
});

test('what is shed is counted each second, whatever else is silent', () => {
  const { exit, pass, gapsMs, sent } = quiet(1);
  pass(20_000, exit);
  const shed = sent.filter(({ frame }) => frame.shed.length > 0);
  assert.ok(shed.length > 10, `${shed.length} frames with counts`);
  assert.ok(Math.max(...gapsMs().slice(2)) <= COVERAGE_INTERVAL_MS);
});

test('a silent topic says so less often the longer it is, whatever others tell', () => {
  const network = compilePredicate({
    topics: ['network'],
    filter: 'event.type == "network.tcp.connect"',
    includeSelf: false,
  });
  const { exit, pass, sent } = quiet(1e9, [spec, network.spec]);
  pass(20_000, exit);
  const of = (topic: string) => sent.filter(({ frame }) => frame.topic === topic).map(({ atMs }) => atMs);
  const silentMs = of('network');
  const gapsMs = silentMs.slice(1).map((atMs, at) => atMs - silentMs[at]!);
  assert.deepEqual(gapsMs.slice(0, 2), [2 * COVERAGE_INTERVAL_MS, COVERAGE_INTERVAL_MS_MAX]);
  for (const ms of gapsMs.slice(2)) assert.equal(ms, COVERAGE_INTERVAL_MS_MAX);
  assert.ok(of('process').length > 100);
});
