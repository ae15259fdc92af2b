/** History waits for the connection, whatever credit a broker grants. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreditBalance } from '../../../src/flow/credit.js';
import { TokenBucket } from '../../../src/flow/token-bucket.js';
import { HISTORY_FRAME_BYTES, KiB } from '../../../src/limits.js';
import { HistoryService } from '../../../src/sensor-agent/history/history-service.js';
import { HistoryTurns } from '../../../src/sensor-agent/history/history-turns.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { type RecordedStep, RecordingDriver, Told } from '../../harness/recording-driver.js';

const ROOM_BYTES = 64 * KiB;
const QUERIES = 8;
const entry = { lane: 0, afterNs: 900n, pid: 7, what: 'exec', read: 'at once' } as const;
const step: RecordedStep = { entries: Array.from({ length: 50 }, () => entry), lost: 0, crash: false, wallStepNs: 0n };

test('history sends no more than the connection takes, whatever credit a broker grants', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const driver = new RecordingDriver(dir, new Told());
    for (let round = 0; round < 40; round++) driver.step(step);
    driver.finish();
    const room = new CreditBalance(ROOM_BYTES);
    let sent = 0;
    let ended = 0;
    const reply = {
      room,
      frame: (_queryId: number, { length }: Buffer) => {
        room.take(length);
        sent += length;
      },
      end: () => ended++,
      fail: (_queryId: number, error: Error) => assert.fail(error),
    };
    const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
    const upTo = driver.recorder.timeline.frontier;
    const window = { sinceNs: undefined, untilNs: undefined, after: undefined, upTo, last: 0 };
    const budget = new TokenBucket(1e9, 1e9);
    const prepare = () => ({ predicates: [{ id: predicate.id, predicate }], window });
    const history = new HistoryService(driver.recorder, reply, budget, prepare, new HistoryTurns());
    const request = { predicates: [predicate.spec], window };
    for (let queryId = 1; queryId <= QUERIES; queryId++) history.start(queryId, request, 1e9);
    for (let round = 0; round < 50; round++) {
      for (let queryId = 1; queryId <= QUERIES; queryId++) history.credit(queryId, 2 ** 60);
      await sleep(10);
    }
    assert.ok(sent <= ROOM_BYTES + HISTORY_FRAME_BYTES * 2, `${sent} bytes were sent`);
    assert.equal(ended, 0);
    while (ended < QUERIES) {
      room.add(ROOM_BYTES);
      await sleep(1);
    }
    assert.ok(sent > 4 * ROOM_BYTES);
    await driver.recorder.close();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
