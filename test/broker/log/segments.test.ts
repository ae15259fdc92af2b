/** Damaged, cut and missing segment files under a whole broker: it starts, serves what is good, and states the rest. */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { MiB } from '../../../src/limits.js';
import { Harness, range } from '../../harness/broker/harness.js';
import type { TestRecorder } from '../../harness/broker/test-agent.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

const FOLLOW = { topics: ['process'], follow: true };
const EVENTS = 400;
/** Sixteen segments of 64 KiB: frames of some KiB fill several. */
const LOG = { bytesMax: 1 * MiB };

let harness: Harness;
let recorder: TestRecorder;
/** The broker's directory as it was left, and the cursor before the first event. */
let saved: string;
let cursor: string;

const partitionDir = () => {
  const log = join(harness.dataDir, 'broker', 'log');
  const sizes = readdirSync(log)
    .filter((name) => name.startsWith('partition-'))
    .map((name) => ({ dir: join(log, name), segments: segmentsOf(join(log, name)) }));
  return sizes.sort((a, b) => b.segments.length - a.segments.length)[0]!;
};
const segmentsOf = (dir: string) =>
  readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => join(dir, name));

before(async () => {
  harness = await Harness.start();
  await harness.broker.abort();
  harness.log = LOG;
  await harness.startBroker();
  const agent = await harness.agent('a');
  recorder = agent.recorder;
  const subscriber = harness.subscribe(FOLLOW);
  await subscriber.isAccepted();
  recorder.record('process.exec', 0);
  agent.publish();
  await subscriber.has(1);
  cursor = subscriber.cursor;
  for (const pid of range(1, EVENTS)) {
    recorder.record('process.exec', pid, 'x'.repeat(700));
    agent.publish();
    if (pid % 50 === 0) await subscriber.has(pid);
  }
  await subscriber.has(EVENTS);
  await harness.interestIsSaved();
  await harness.broker.abort();
  assert.ok(partitionDir().segments.length >= 4, `${partitionDir().segments.length} segments`);
  saved = `${harness.dataDir}-saved`;
  cpSync(harness.dataDir, saved, { recursive: true, verbatimSymlinks: true });
});
after(async () => {
  await harness.destroy();
  rmSync(saved, { recursive: true, force: true });
});

/** Damages a copy, starts the broker, and resumes from before all of it. */
async function survives(damage: (dir: string, segments: readonly string[]) => void): Promise<void> {
  rmSync(harness.dataDir, { recursive: true });
  cpSync(saved, harness.dataDir, { recursive: true, verbatimSymlinks: true });
  const { dir, segments } = partitionDir();
  damage(dir, segments);
  await harness.startBroker();
  const agent = await harness.agent('a', recorder);
  const resumed = harness.subscribe({ ...FOLLOW, cursor });
  await resumed.isAccepted();
  const marker = recorder.events.length;
  recorder.record('process.exec', marker);
  await until('interest', () => agent.topics.includes('process'));
  agent.publish();
  await until('the newest', () => resumed.pids.includes(marker) || resumed.ended);
  assert.equal(resumed.error, undefined);
  const { pids } = resumed;
  assert.deepEqual(
    pids,
    [...new Set(pids)].sort((a, b) => a - b),
    'in order, none twice',
  );
  if (pids.length < marker) {
    const told = () => resumed.responses.some(({ gap }) => gap?.reason === 'damaged' && gap.eventsUnknown);
    await until('a stated gap', told);
  }
  resumed.cancel();
  agent.kill();
  await harness.broker.abort();
}

const fraction = fc.double({ min: 0, max: 1, noNaN: true });

test('a flipped bit, a cut or a missing file anywhere in the log is stated as a loss', async () => {
  const kind = fc.constantFrom('flip', 'cut', 'zeros', 'delete');
  await fc.assert(
    fc.asyncProperty(kind, fraction, fraction, fc.boolean(), async (what, which, where, index) => {
      await survives((dir, segments) => {
        const segment = segments[Math.min(segments.length - 1, Math.floor(which * segments.length))]!;
        const bytes = readFileSync(segment);
        const at = Math.min(bytes.length - 1, Math.floor(where * bytes.length));
        if (what === 'delete') rmSync(segment);
        else if (what === 'cut') truncateSync(segment, at);
        else {
          if (what === 'flip') bytes[at]! ^= 1 << (at % 8);
          else bytes.fill(0, at, Math.min(bytes.length, at + 5000));
          writeFileSync(segment, bytes);
        }
        // As when the index was not written, or is gone as well.
        if (index) for (const name of readdirSync(dir)) if (name.endsWith('.index')) rmSync(join(dir, name));
      });
    }),
    { numRuns: runs(8), endOnFailure: true },
  );
});

test('a log without its oldest segment file says that it is damaged', () => survives((_, [oldest]) => rmSync(oldest!)));

test('a cursor from before the oldest retained frame is expired, and the refusal says so', async () => {
  rmSync(harness.dataDir, { recursive: true });
  cpSync(saved, harness.dataDir, { recursive: true, verbatimSymlinks: true });
  harness.log = { bytesMax: LOG.bytesMax / 8 };
  await harness.startBroker();
  const agent = await harness.agent('a', recorder);
  const follower = harness.subscribe(FOLLOW);
  await follower.isAccepted();
  const [oldest] = partitionDir().segments;
  await until('the oldest segment to go', () => {
    recorder.record('process.exec', recorder.events.length, 'x'.repeat(700));
    agent.publish();
    return !partitionDir().segments.includes(oldest!);
  });
  const refused = harness.subscribe({ ...FOLLOW, cursor });
  await refused.end();
  assert.match(refused.error?.details ?? '', /cursor names offset \d+ of partition \d, the oldest is \d+/);
  const asked = { method: 'POST', headers: { 'content-type': 'application/json' } };
  const url = `http://${harness.broker.httpAddress}/v1/events`;
  const answer = await fetch(url, { ...asked, body: JSON.stringify({ ...FOLLOW, cursor }) });
  const problem = (await answer.json()) as Record<string, string>;
  assert.deepEqual([answer.status, problem.code, problem.field], [410, 'cursor_expired', 'cursor']);
  assert.match(problem.oldest!, /^[1-9]\d*$/);
  harness.log = LOG;
  await harness.broker.abort();
});
