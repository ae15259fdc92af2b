/** Coverage that is held back leaves no hole in the log, no event out, and is not told for longer than it may be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdleCoverage } from '../../../src/broker/ingest/idle-coverage.js';
import { follows } from '../../../src/broker/log/chain.js';
import { IDLE_HELD_MS_MAX } from '../../../src/limits.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/frame/frame.js';
import type { Position } from '../../../src/wire/position.js';
import { element } from '../../harness/arbitrary/frame-arbitrary.js';
import { frameOver } from '../../harness/frames.js';
import { runs } from '../../harness/runs.js';

const at = (timeNs: number): Position => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

const RUN = element(8, 7);

const step = fc.record({
  events: fc.constantFrom(0, 0, 0, 1, 2),
  shed: fc.constantFrom(0, 0, 0, 5),
  continues: fc.constantFrom(true, true, true, false),
  skips: fc.constantFrom(0, 0, 3),
  waits: fc.constantFrom(true, true, false),
  passesMs: fc.constantFrom(0, 1_000, IDLE_HELD_MS_MAX),
  moves: fc.constantFrom(false, false, false, false, true),
});

test('what is appended follows on what was, with all events and counts, in their own stretches', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const idle = new IdleCoverage();
      let session = {};
      let nowMs = 0;
      /** Up to where the agent has told, and the log has. */
      let told = 0;
      let appended: Position | undefined;
      const events: number[] = [];
      const had: number[] = [];
      for (const { events: count, shed, continues, skips, waits, passesMs, moves } of steps) {
        nowMs += passesMs;
        if (moves) {
          // The agent begins again where the log is.
          session = {};
          told = Number(appended?.timeNs ?? 0n);
        }
        const isNext = continues && appended !== undefined;
        const from = isNext ? told : told + skips;
        const to = from + 10;
        told = to;
        const times = shed > 0 ? [] : Array.from({ length: count }, (_, index) => from + 1 + index);
        const frame = frameOver(at(from), at(to), {
          count: times.length,
          eventSizes: times.map(() => RUN.length),
          timesNs: BigUint64Array.from(times, BigInt),
          lanes: times.map(() => 0),
          ties: times.map(() => 0),
          events: Buffer.concat(times.map(() => RUN)),
          matches: times.length > 0 ? [{ predicateId: 1n, all: true, indices: [] }] : [],
          shed: shed > 0 ? [{ predicateIds: [1n], events: shed }] : [],
          watermarkNs: BigInt(to),
          continues: isNext,
        });
        assert.equal(follows(frame, idle.coveredTo(session, 'process') ?? appended), 'next');
        const heldSinceMs = idle.coveredTo(session, 'process') !== undefined;
        const due = idle.take(session, { frame, frameBytes: encodeFrame(frame) }, waits, nowMs);
        const isSilent = times.length === 0 && shed === 0 && isNext;
        if (due.length === 0) assert.ok(isSilent && waits);
        if (!isSilent || !waits || (heldSinceMs && passesMs === IDLE_HELD_MS_MAX)) assert.ok(due.length > 0);
        for (const each of due) {
          assert.deepEqual(decodeFrame(each.frameBytes), decodeFrame(encodeFrame(each.frame)));
          assert.equal(follows(each.frame, appended), 'next');
          appended = each.frame.coveredTo;
          had.push(...Array.from(each.frame.timesNs, Number));
          // Counts are of the stretch of which the agent told them.
          if (each.frame.shed.length > 0) assert.deepEqual(each.frame.coveredFrom, at(from));
        }
        if (due.length > 0) assert.deepEqual(appended, at(to));
        events.push(...times);
      }
      assert.deepEqual(had, events);
    }),
    { numRuns: runs(300) },
  );
});
