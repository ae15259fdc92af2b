/** A query for more of the last events than an agent holds says that it answers with fewer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HISTORY_LAST_BYTES_MAX } from '../../../src/limits.js';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { HistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { type RecordedStep, RecordingDriver, Told } from '../../harness/recording-driver.js';

const entry = { lane: 0, afterNs: 900n, pid: 7, what: 'exec', read: 'at once' } as const;
const step: RecordedStep = { entries: Array.from({ length: 400 }, () => entry), lost: 0, crash: false, wallStepNs: 0n };

test('the last events that are more than an agent holds are fewer than asked for, which is said', async () => {
  const driver = new RecordingDriver(scratchDirectory('last'), new Told());
  for (let round = 0; round < ROUNDS; round += 1) driver.step(step);
  driver.finish();
  const answered = async (last: number) => {
    let events = 0;
    let bytes = 0;
    const outlet = {
      send: ({ eventSizes }: HistoryFrame) => {
        events += eventSizes.length;
        for (const size of eventSizes) bytes += size;
      },
      ready: async () => undefined,
    };
    const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
    const upTo = driver.recorder.timeline.frontier;
    const window = { sinceNs: undefined, untilNs: undefined, after: undefined, upTo, last };
    const query = new HistoryQuery(
      driver.recorder,
      [{ id: predicate.id, predicate }],
      window,
      outlet,
      new AbortController().signal,
    );
    const { message } = await query.run();
    return { events, bytes, message };
  };
  const few = await answered(100);
  assert.deepEqual([few.events, few.message], [100, '']);
  const many = await answered(1_000_000);
  assert.ok(many.events < ROUNDS * step.entries.length && many.bytes > HISTORY_LAST_BYTES_MAX, `${many.bytes} bytes`);
  assert.match(
    many.message,
    new RegExp(`^only the last ${many.events} events, which are more than 8 MiB: ask with since`),
  );
  await driver.recorder.close();
});

/** More of them than one stretch between two checkpoints has. */
const ROUNDS = 600;
