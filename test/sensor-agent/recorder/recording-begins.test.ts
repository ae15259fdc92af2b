/** A window that begins before recording did is answered whole, and the answer says that there never was more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { HistoryTurns } from '../../../src/sensor-agent/history/history-turns.js';
import type { HistoryWindow } from '../../../src/sensor-agent/history/history-window.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { RecordingDriver, Told, WALL_NS } from '../../harness/recording-driver.js';

test('an answer says where the recording begins within its window', async () => {
  const dir = scratchDirectory('begins');
  const live = new Told();
  const driver = new RecordingDriver(dir, live);
  for (let round = 0; round < 10; round += 1) {
    const entries = Array.from({ length: 12 }, (_, at) => {
      return { lane: 0, afterNs: 900n, pid: 5 + at, what: 'fork', read: 'at once' } as const;
    });
    driver.step({ entries, lost: 0, crash: false, wallStepNs: 0n });
  }
  driver.finish();
  const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
  const outlet = { send: () => undefined, ready: async () => undefined };
  const ask = (window: Partial<HistoryWindow>) => {
    const upTo = live.positions.at(-1)!;
    const whole = { sinceNs: undefined, untilNs: undefined, after: undefined, last: 0, upTo, ...window };
    const { signal } = new AbortController();
    return new HistoryQuery(
      driver.recorder,
      [{ id: predicate.id, predicate }],
      whole,
      outlet,
      signal,
      new HistoryTurns(1),
    ).run();
  };
  const longAgo = WALL_NS - 86_400_000_000_000n;
  const inside = driver.recorder.timeline.wallNs(live.positions.at(-1)!.timeNs);
  const cases: [Partial<HistoryWindow>, boolean][] = [
    [{ sinceNs: longAgo }, true],
    [{ sinceNs: longAgo, untilNs: longAgo + 3_600_000_000_000n }, true],
    [{ sinceNs: longAgo, last: 100_000 }, true],
    // The last few are all that was asked for: they are within the recording.
    [{ sinceNs: longAgo, last: 2 }, false],
    [{ sinceNs: inside }, false],
    [{}, false],
    [{ last: 5 }, false],
    [{ after: live.positions[3]! }, false],
  ];
  for (const [window, expected] of cases) {
    const { beginsLater, evicted, coveredFromNs } = await ask(window);
    const what = Object.keys(window).join();
    assert.equal(beginsLater, expected, what);
    if (!expected) continue;
    assert.equal(evicted, false);
    assert.ok(coveredFromNs > longAgo, what);
  }
});
