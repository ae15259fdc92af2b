/** What operators changed is on record before it holds, or is not done. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { AuditTrail } from '../../src/broker/audit-trail.js';

const silent = pino({ level: 'silent' });

function inScratch(run: (dir: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    run(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const numbers = (dir: string, file: string) =>
  readFileSync(join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { number: number }).number);

test('entries are whole lines in their order, in at most two files of bounded size', () =>
  inScratch((dir) => {
    for (let number = 0; number < 100; number += 1) {
      // As many writers as there are restarts of a broker.
      new AuditTrail(dir, silent, 1_000).record({ action: 'set_budget', peer: 'peer', number });
    }
    assert.deepEqual(readdirSync(dir).sort(), ['audit.1.jsonl', 'audit.jsonl']);
    const kept = [...numbers(dir, 'audit.1.jsonl'), ...numbers(dir, 'audit.jsonl')];
    assert.ok(kept.length >= 10);
    assert.deepEqual(
      kept,
      kept.map((_, at) => 100 - kept.length + at),
    );
  }));

test('what cannot be written is refused with the file and the reason', () =>
  inScratch((dir) => {
    mkdirSync(join(dir, 'audit.jsonl'));
    const trail = new AuditTrail(dir, silent);
    assert.throws(
      () => trail.record({ action: 'set_budget', peer: 'peer' }),
      /audit\.jsonl cannot be written \(EISDIR\): nothing was changed/,
    );
  }));
