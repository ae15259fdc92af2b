/** What operators changed is on record before it holds, or is not done. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { AuditLog } from '../../../src/broker/cluster/audit-log.js';
import { AuditTrail } from '../../../src/broker/cluster/audit-trail.js';
import { AuditFile } from '../../../src/broker/cluster/embedded/audit-file.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const silent = pino({ level: 'silent' });

function trailIn(dir: string, bytesMax = 1_000_000, refusedBytesMax = 1_000_000): AuditTrail {
  return new AuditTrail(
    new AuditFile(dir, 'audit', bytesMax),
    new AuditFile(dir, 'audit-refused', refusedBytesMax),
    silent,
  );
}

async function inScratch(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    await run(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const numbers = (dir: string, file: string) =>
  readFileSync(join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { number: number }).number);

test('audit entries are whole lines in order, in at most two files of bounded size', () =>
  inScratch(async (dir) => {
    for (let number = 0; number < 100; number += 1) {
      // As many writers as there are restarts of a broker.
      await trailIn(dir, 1_000).record({ action: 'set_budget', peer: 'peer', number });
    }
    assert.deepEqual(readdirSync(dir).sort(), ['audit.1.jsonl', 'audit.jsonl']);
    const kept = [...numbers(dir, 'audit.1.jsonl'), ...numbers(dir, 'audit.jsonl')];
    assert.ok(kept.length >= 10);
    assert.deepEqual(
      kept,
      kept.map((_, at) => 100 - kept.length + at),
    );
  }));

test('an entry that cannot be written is refused with the file and the reason', () =>
  inScratch(async (dir) => {
    mkdirSync(join(dir, 'audit.jsonl'));
    const trail = trailIn(dir);
    await assert.rejects(
      trail.record({ action: 'set_budget', peer: 'peer' }),
      /audit\.jsonl cannot be written \(EISDIR\): nothing was changed/,
    );
  }));

interface Line {
  readonly peer: string;
  readonly count: number;
  readonly nodes: string;
  readonly refused: string;
}

const lines = (dir: string, file: string) =>
  readFileSync(join(dir, file), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

const refusal = (peer: string, nodes: string) => {
  return { action: 'set_budget', peer, nodes, code: 'not_found', refused: `no node matches ${nodes}` } as const;
};

test('refusals go to a file of their own, and many of one kind take one line, so that changes stay on record', () =>
  inScratch(async (dir) => {
    const trail = trailIn(dir, 1_000, 2_000);
    await trail.record({ action: 'set_budget', peer: '127.0.0.1:1', nodes: 'real' });
    const before = readFileSync(join(dir, 'audit.jsonl'), 'utf8');
    // Of other connections, about other names.
    for (let at = 0; at < 9_000; at += 1) trail.refuse(refusal(`127.0.0.1:${at}`, `fake-${at}`));
    trail.refuse({ ...refusal('127.0.0.1:5', 'x'), code: 'invalid_argument' });
    trail.refuse(refusal('10.0.0.9:5', 'y'.repeat(5_000)));
    await trail.close();
    assert.equal(readFileSync(join(dir, 'audit.jsonl'), 'utf8'), before);
    const kept = lines(dir, 'audit-refused.jsonl');
    assert.deepEqual(
      kept.map(({ peer, count, nodes }) => [peer, count, nodes.length]),
      [
        ['127.0.0.1', 9_000, 6],
        ['127.0.0.1', 1, 1],
        ['10.0.0.9', 1, 512],
      ],
    );
  }));

test('refusals from ever new addresses are bounded in lines and in bytes', () =>
  inScratch(async (dir) => {
    for (let second = 0; second < 20; second += 1) {
      const trail = trailIn(dir, 1_000, 10_000);
      for (let at = 0; at < 200; at += 1) trail.refuse(refusal(`10.0.${second}.${at}:5`, 'x'));
      await trail.close();
    }
    assert.deepEqual(readdirSync(dir).sort(), ['audit-refused.1.jsonl', 'audit-refused.jsonl']);
    const last = lines(dir, 'audit-refused.jsonl').slice(-17);
    assert.deepEqual([last[0]?.peer, last.at(-1)?.peer, last.at(-1)?.count], ['10.0.19.0', 'others', 184]);
    assert.ok(
      ['audit-refused.1.jsonl', 'audit-refused.jsonl'].every((file) => statSync(join(dir, file)).size < 12_000),
    );
  }));

test('refusals are written in the background, and a disk that takes none does not stop the broker', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const trail = trailIn(dir);
    trail.refuse(refusal('10.0.0.1:5', 'x'));
    while (!existsSync(join(dir, 'audit-refused.jsonl'))) await sleep(20);
    rmSync(dir, { recursive: true });
    trail.refuse(refusal('10.0.0.1:5', 'x'));
    await trail.close();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** Counts its appends, and can be told to fail. */
class CountedLog implements AuditLog {
  readonly place = 'somewhere';
  readonly appends: number[] = [];
  fails = false;

  async append(entries: readonly object[]): Promise<void> {
    await sleep(1);
    if (this.fails) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    this.appends.push(entries.length);
  }
}

test('what comes together is written with one sync, and what comes meanwhile with the next', async () => {
  const log = new CountedLog();
  const trail = new AuditTrail(log, new CountedLog(), silent);
  const record = (number: number) => trail.record({ action: 'set_budget', peer: 'peer', number });
  const first = Array.from({ length: 100 }, (_, number) => record(number));
  await sleep(0);
  const second = Array.from({ length: 50 }, (_, number) => record(number));
  await Promise.all([...first, ...second]);
  assert.equal(
    log.appends.reduce((sum, count) => sum + count, 0),
    150,
  );
  assert.ok(log.appends.length <= 3, `${log.appends}`);
});

test('a reading that cannot be put on record is refused, but for the holder of the broker’s own token', async () => {
  const log = new CountedLog();
  log.fails = true;
  const trail = new AuditTrail(log, new CountedLog(), silent);
  const read = (kind: 'local' | 'token') =>
    trail.recordReading({ action: 'subscribe', peer: 'peer', identity: { name: 'x', kind } });
  await assert.rejects(read('token'), { code: 'resource_exhausted', message: /ENOSPC.*: nothing is told$/ });
  await read('local');
  trail.note({ action: 'history', peer: 'peer' });
  await trail.close();
  assert.equal(trail.dropped, 2);
});

test('an entry names who it was, and neither the groups nor the hash of a token', async () => {
  const dir = scratchDirectory('audit');
  const trail = trailIn(dir);
  const identity = { name: 'alice', kind: 'token', groups: ['g'], token: { id: 'i', sha256: 'secret' } } as const;
  await trail.record({ action: 'set_budget', peer: 'peer', identity });
  const { time, ...entry } = JSON.parse(readFileSync(join(dir, 'audit.jsonl'), 'utf8')) as Record<string, unknown>;
  assert.deepEqual(entry, { action: 'set_budget', peer: 'peer', identity: 'alice', kind: 'token' });
});
