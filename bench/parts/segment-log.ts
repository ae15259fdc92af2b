/**
 * What the segment log does on this machine: `node dist/bench/parts/segment-log.js [directory]`.
 * Prints a table and one line of JSON.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { GiB, KiB, MiB } from '../../src/limits.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';

interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** CPU time of this process, as a share of one core. */
  readonly cpu: number;
}

const rows: Row[] = [];
const root = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'backplane-bench-'));
const AGE_MS = 24 * 3600 * 1000;

async function measure(what: string, unit: string, run: () => number | Promise<number>): Promise<void> {
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  const amount = await run();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const { user, system } = process.cpuUsage(cpu);
  const value = unit === 'ms' ? seconds * 1000 : amount / seconds;
  rows.push({ what, unit, value: Math.round(value), cpu: Math.round((user + system) / 1e4 / seconds) });
}

function open(name: string, bytesMax: number): SegmentLog {
  return SegmentLog.open({ dir: path.join(root, name), bytesMax, ageMsMax: AGE_MS });
}

function append(log: SegmentLog, partBytes: number, bytes: number): number {
  const timeNs = BigInt(Date.now()) * 1_000_000n;
  const head = Buffer.alloc(16, 1);
  const part = Buffer.alloc(partBytes, 0x5a);
  const count = Math.floor(bytes / partBytes);
  for (let at = 0; at < count; at++) log.append({ kind: 1, timeNs, anchor: at % 256 === 0, parts: [head, part] });
  return (count * partBytes) / MiB;
}

function read(log: SegmentLog): { bytes: number; records: number } {
  const reader = log.reader(log.firstOrdinal);
  let bytes = 0;
  let records = 0;
  for (let item = reader.next(); item; item = reader.next()) {
    if (item.kind !== 'record') throw new Error(item.kind);
    bytes += item.payload.length;
    records++;
  }
  reader.close();
  return { bytes: bytes / MiB, records };
}

const ring = open('ring', 1 * GiB);
await measure('append, 64 KiB parts', 'MiB/s', () => append(ring, 64 * KiB, 1 * GiB));
await measure('append, 64 KiB parts, ring full', 'MiB/s', () => append(ring, 64 * KiB, 1 * GiB));
await measure('read, 64 KiB parts', 'MiB/s', () => read(ring).bytes);
await measure('reopen a log of 1 GiB after a crash', 'ms', () => open('ring', 1 * GiB).nextOrdinal);
for (const name of fs.readdirSync(path.join(root, 'ring'))) {
  if (name.endsWith('.index')) fs.unlinkSync(path.join(root, 'ring', name));
}
await measure('the same without any index', 'ms', () => open('ring', 1 * GiB).nextOrdinal);
fs.rmSync(path.join(root, 'ring'), { recursive: true });

const large = open('large', 1 * GiB);
await measure('append, 1 MiB parts', 'MiB/s', () => append(large, 1 * MiB, 1 * GiB));
await measure('read, 1 MiB parts', 'MiB/s', () => read(large).bytes);
fs.rmSync(path.join(root, 'large'), { recursive: true });

const small = open('small', 1 * GiB);
const SMALL = 500_000;
await measure('append, 200 B', 'records/s', () => {
  append(small, 184, SMALL * 184);
  return SMALL;
});
await measure('read, 200 B', 'records/s', () => read(small).records);

const commit = open('commit', 1 * GiB);
for (const callers of [1, 100]) {
  const rounds = callers === 1 ? 200 : 100;
  await measure(`append and sync, 200 B, ${callers} at a time`, 'records/s', async () => {
    for (let round = 0; round < rounds; round++) {
      const waits: Promise<void>[] = [];
      for (let caller = 0; caller < callers; caller++) {
        append(commit, 184, 184);
        waits.push(commit.sync());
      }
      await Promise.all(waits);
    }
    return rounds * callers;
  });
}
fs.rmSync(root, { recursive: true });

for (const { what, value, unit, cpu } of rows) {
  console.log(
    `${what.padEnd(40)} ${String(value).padStart(9)} ${unit.padEnd(10)} ${String(cpu).padStart(4)} % of a core`,
  );
}
console.log(JSON.stringify({ bench: 'segment-log', node: process.version, cpus: os.cpus().length, rows }));
