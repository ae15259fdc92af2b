/**
 * A reader of `process` that lags in a partition whose log is full of `syscall` frames: it passes over them by their
 * records' headers. Against it a reader of `syscall`, which reads all, and one of `process` in a log without the flood.
 *
 *   node dist/bench/parts/lagging-reader.js [MiB of log]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedLog } from '../../src/broker/log/embedded/embedded-log.js';
import { KiB, MiB } from '../../src/limits.js';
import { encodeFrame } from '../../src/wire/frame/frame.js';
import { frameOf } from '../../test/contract/partition-log.js';
import { report, round } from '../measuring/report.js';

const FLOOD_FRAME_BYTES = 60 * KiB;
const FRAME_BYTES = 2 * KiB;
const FLOOD_FRAMES_EACH = 50;
const bytesMax = Number(process.argv[2] ?? 512) * MiB;

const dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));

async function written(name: string, floods: number): Promise<EmbeddedLog> {
  const log = new EmbeddedLog({
    dir: join(dir, name),
    partition: 0,
    fsync: 'never',
    segmentBytesMax: 16 * MiB,
    ageMsMax: 3_600_000,
    onFull: () => false,
    onGrown: () => undefined,
  });
  let at = 0;
  const append = async (topic: string, bytes: number) => {
    const frame = frameOf(at, ++at, bytes, topic);
    await log.append('node', frame, encodeFrame(frame));
  };
  const groups = Math.floor(bytesMax / (FLOOD_FRAMES_EACH * FLOOD_FRAME_BYTES));
  for (let group = 0; group < groups; group++) {
    for (let flood = 0; flood < floods; flood++) await append('syscall', FLOOD_FRAME_BYTES);
    await append('process', FRAME_BYTES);
  }
  return log;
}

async function read(what: string, log: EmbeddedLog, topic: string) {
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  const reader = log.reader(log.firstOffset, new Set([topic]));
  let frames = 0;
  for (let item = await reader.next(); item; item = await reader.next()) frames += item.kind === 'frame' ? 1 : 0;
  reader.close();
  const ms = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpu);
  return {
    what,
    frames,
    ms: round(ms, 1),
    'CPU ms': round((user + system) / 1000, 1),
    'log, MiB/s': Math.round(log.bytes / MiB / (ms / 1000)),
  };
}

try {
  const flooded = await written('flooded', FLOOD_FRAMES_EACH);
  const alone = await written('alone', 0);
  // The files are in the page cache for all alike.
  await read('', flooded, 'syscall');
  report('a reader that lags', [
    await read('syscall, which is all but two thousandths of the log', flooded, 'syscall'),
    await read('process, behind the syscall flood', flooded, 'process'),
    await read('process, in a log of its own', alone, 'process'),
  ]);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
