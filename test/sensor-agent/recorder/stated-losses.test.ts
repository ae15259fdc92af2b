/** What a node did not record, by its reason: known live, in every history query that it touches, and to the next agent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeFrame, encodeFrame, type StatedLoss } from '../../../src/wire/frame/frame.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { type RecordedStep, RecordingDriver, Told } from '../../harness/recording-driver.js';

const entry = { lane: 0, afterNs: 900n, pid: 7, what: 'exec', read: 'at once' } as const;
const STEP: RecordedStep = { entries: Array.from({ length: 50 }, () => entry), lost: 0, crash: false, wallStepNs: 0n };
const PLENTY = { bytesPerSecond: 1e9, eventsPerSecond: 1e9, burstMs: 1000 };

function predicate(topic: string) {
  return compilePredicate({ topics: [topic], filter: '', includeSelf: true });
}

function place(): string {
  const dir = scratchDirectory('test');
  return dir;
}

/** Records for a while: several segments, each with checkpoints. Returns the wall time in the middle of it. */
function record(driver: RecordingDriver): bigint {
  for (let round = 0; round < 6; round++) driver.step(STEP);
  const middleNs = driver.recorder.timeline.wallNs(driver.nowNs);
  for (let round = 0; round < 6; round++) driver.step(STEP);
  return middleNs;
}

/** What a query over [since, until) says is missing. */
async function losses(driver: RecordingDriver, topic: string, sinceNs?: bigint, untilNs?: bigint, last = 0) {
  const upTo = driver.recorder.timeline.frontier;
  const window = { sinceNs, untilNs, after: undefined, upTo, last };
  const outlet = { send: () => undefined, ready: () => Promise.resolve() };
  const { signal } = new AbortController();
  return (
    await new HistoryQuery(driver.recorder, [{ id: 1n, predicate: predicate(topic) }], window, outlet, signal).run()
  ).losses;
}

async function missing(...window: Parameters<typeof losses>): Promise<string[]> {
  return (await losses(...window)).map(({ reason, to }) => `${reason} ${to === undefined ? 'goes on' : 'over'}`);
}

test('a loss is stated in every window that it touches, and in no other', async () => {
  const driver = new RecordingDriver(place(), new Told());
  const { recorder } = driver;
  const before = record(driver);
  const from = recorder.timeline.frontier;
  const loss = { reason: 'overhead', types: ['file.open'], from, message: 'file is not recorded' } as const;
  recorder.lose({ ...loss, goesOn: true }, driver.nowNs);
  const [within, later] = [record(driver), record(driver)];
  driver.finish();
  assert.deepEqual(await missing(driver, 'file'), ['overhead goes on']);
  recorder.lose({ ...loss, goesOn: false }, driver.nowNs);
  driver.nowNs += 1_000_000n;
  const after = record(driver);
  driver.finish();

  assert.deepEqual(await missing(driver, 'file', undefined, before), []);
  const reasons = async (sinceNs: bigint, untilNs: bigint) =>
    (await missing(driver, 'file', sinceNs, untilNs)).map((text) => text.split(' ')[0]);
  assert.deepEqual(await reasons(before, within), ['overhead']);
  assert.deepEqual(await reasons(within, later), ['overhead']);
  assert.deepEqual(await missing(driver, 'file', later), ['overhead over']);
  assert.deepEqual(await missing(driver, 'file', before, undefined, 10), ['overhead over']);
  assert.deepEqual(await missing(driver, 'file', after), []);
  assert.deepEqual(await missing(driver, 'process'), [], 'none of its types are of this topic');
  await recorder.close();
});

test('of a loss whose size is known every query has exactly that many, and another one unknown', async () => {
  const driver = new RecordingDriver(place(), new Told());
  const { recorder } = driver;
  record(driver);
  const { frontier } = recorder.timeline;
  for (const [tie, [type, events]] of (
    [
      ['file.unlink', 3],
      ['file.open', undefined],
    ] as const
  ).entries()) {
    const loss = { reason: 'probe_missed', types: [type], events, from: { ...frontier, tie }, message: type } as const;
    recorder.lose({ ...loss, goesOn: false }, driver.nowNs);
  }
  driver.nowNs += 1_000_000n;
  record(driver);
  driver.finish();
  const found = await losses(driver, 'file');
  assert.deepEqual(
    found.map(({ message, events, unknown }) => [message, events, unknown]),
    [
      ['file.unlink', 3, false],
      ['file.open', 0, true],
    ],
  );
  assert.deepEqual(await losses(driver, 'process'), []);
  await recorder.close();
});

test('an open loss of a killed agent ends with that agent', async () => {
  const driver = new RecordingDriver(place(), new Told());
  record(driver);
  const from = driver.recorder.timeline.frontier;
  driver.recorder.lose({ reason: 'overhead', from, goesOn: true, message: '' }, driver.nowNs);
  const within = record(driver);
  driver.crash();
  driver.nowNs += 1_000_000n;
  const after = record(driver);
  driver.finish();
  assert.deepEqual(await missing(driver, 'process', within), ['overhead over']);
  assert.deepEqual(await missing(driver, 'process', after), []);
  await driver.recorder.close();
});

test('a live subscriber that asks during a loss is told of it, even while the publisher reads the recorder', async () => {
  const told: StatedLoss[] = [];
  const link = {
    writable: true,
    send: (frame: Parameters<typeof encodeFrame>[0]) => {
      const bytes = encodeFrame(frame);
      told.push(...decodeFrame(bytes).losses);
      return bytes.length;
    },
  };
  const driver = new RecordingDriver(place());
  const publisher = new Publisher(driver.recorder, new LiveBudget(PLENTY));
  let nowMs = 0;
  const tick = () => {
    driver.step(STEP);
    for (let turn = 0; turn < 50; turn++) {
      nowMs += 1000;
      publisher.tick(nowMs);
    }
  };
  const loss = { reason: 'trace_changed', from: driver.recorder.timeline.frontier, message: 'm' } as const;
  driver.recorder.lose({ ...loss, goesOn: true }, driver.nowNs);
  tick();
  const { spec } = predicate('process');
  publisher.connect(link, []);
  publisher.setInterest(new Interest(1n, [spec], 'n'));
  tick();
  assert.deepEqual(
    told.map(({ reason, to }) => [reason, to]),
    [['trace_changed', undefined]],
  );
  // It falls behind with what it had not sent.
  link.writable = false;
  driver.recorder.lose({ ...loss, goesOn: false }, driver.nowNs);
  tick();
  link.writable = true;
  tick();
  assert.equal(told.at(-1)?.reason, 'trace_changed');
  assert.notEqual(told.at(-1)?.to, undefined);
  const count = told.length;
  tick();
  assert.equal(told.length, count, 'it is over');
  publisher.disconnect();
  await driver.recorder.close();
});
