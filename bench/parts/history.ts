/**
 * Queries over a 1 GiB recording: mostly system calls, one entry in a hundred
 * an exec. For one exec in 10,000, and by a compiled filter for one call in
 * 10,000. Without the CPU guard and with it. In each round also the raw scan of
 * the same segments: their files are read, and the second query's generated
 * test runs over every entry of their pages; no sums, no order, no context.
 * Ratios are of wall time; where something else runs, by CPU is the better one.
 *
 *   node dist/bench/parts/history.js [MiB]
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HISTORY_CPU_SHARE, MiB } from '../../src/limits.js';
import { HistoryQuery } from '../../src/sensor-agent/history/history-query.js';
import { HistoryTurns } from '../../src/sensor-agent/history/history-turns.js';
import { compileRawPredicate } from '../../src/sensor-agent/interest/raw-predicate.js';
import { Recorder } from '../../src/sensor-agent/recorder/recorder.js';
import { RecordKind, readPage } from '../../src/sensor-agent/recorder/recording.js';
import { Redactor } from '../../src/sensor-agent/redaction/redactor.js';
import { BUILTIN_FORMATS } from '../../src/sensor-agent/source/builtin-formats.js';
import { FIRST_TEST, PageEntries, scanPage, startCursor } from '../../src/sensor-agent/source/pages/page.js';
import { PageWriter } from '../../src/sensor-agent/source/synthetic/page-writer.js';
import { HEADER_BYTES, RECORD_HEADER_BYTES } from '../../src/storage/segment-log/format.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { median, report, round } from '../measuring/report.js';

const RECORDING_BYTES = Number(process.argv[2] ?? 1024) * MiB;
const MATCH_EVERY = 10_000;
const RUNS = 5;
const SYSCALLS_PER_EXEC = 99;

const QUERIES = [
  { topics: ['process'], filter: 'process.command_args[1] == "needle"' },
  { topics: ['syscall'], filter: 'event.type == "syscall.enter" && syscall.arg3 == 999' },
] as const;
const SHARES = [1, HISTORY_CPU_SHARE];
const TARGETS = new Map([
  [1, 'first <= 100 ms, >= 0.3 of the raw scan'],
  [HISTORY_CPU_SHARE, 'first <= 100 ms, >= 0.075 of the raw scan'],
]);

interface Run {
  readonly entries: number;
  readonly matches: number;
  readonly firstMs: number;
  readonly wholeMs: number;
  readonly cpuMs: number;
}

const dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
try {
  const recorder = record();
  const arms = QUERIES.flatMap((query) => SHARES.map((share) => ({ query, share, runs: [] as Run[] })));
  const scans: Run[] = [];
  for (let round = 0; round < RUNS; round += 1) {
    scans.push(rawScan(recorder));
    for (const { query, share, runs } of arms) runs.push(await ask(recorder, query, share));
  }
  const scanned = perSecond(scans);
  const scanCpuMs = median(scans.map(({ cpuMs }) => cpuMs));
  const rows = arms.map(({ query, share, runs }) => ({
    topic: query.topics.join(),
    'guard, share of a core': share,
    'entries, M': round(runs[0]!.entries / 1e6, 1),
    matches: runs[0]!.matches,
    'first event ms': round(median(runs.map(({ firstMs }) => firstMs)), 0),
    'first round s': round(runs[0]!.wholeMs / 1000),
    'whole s': round(median(runs.map(({ wholeMs }) => wholeMs)) / 1000),
    'CPU s': round(median(runs.map(({ cpuMs }) => cpuMs)) / 1000),
    'M entries/s': round(perSecond(runs) / 1e6, 1),
    'of the raw scan': round(perSecond(runs) / scanned, 3),
    'by CPU': round(scanCpuMs / median(runs.map(({ cpuMs }) => cpuMs)), 3),
    target: TARGETS.get(share)!,
  }));
  const facts = { recordingBytes: recorder.log.bytes, entries: recorder.entriesRecorded };
  report('history', rows, { ...facts, rawScanEntriesPerSecond: Math.round(scanned) });
  const scan = `${round(scanned / 1e6, 1)} M entries/s, ${round(scanCpuMs / 1000)} s of CPU, ${scans[0]!.matches} matches`;
  console.log(`raw scan of the same segments: ${scan}`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}

function record(): Recorder {
  const recorder = new Recorder({ dir, bytesMax: RECORDING_BYTES * 2, ageMsMax: 1e12, redactor: new Redactor([]) });
  const boot = process.hrtime.bigint();
  const wallNs = BigInt(Date.now()) * 1_000_000n;
  recorder.begin(
    {
      epoch: 1,
      continued: false,
      bootId: 'bench',
      source: 'synthetic',
      formats: BUILTIN_FORMATS.texts(),
      selfPids: [],
    },
    { bootNs: boot, wallNs },
  );
  // Deltas are relative to the page's time: one page of system calls serves for all.
  const [hay, needle] = [syscallPage(4n), syscallPage(999n)];
  const perPage = hay.entries;
  let calls = 0;
  let timeNs = boot;
  let execs = 0;
  let due = 0;
  while (recorder.log.bytes < RECORDING_BYTES) {
    timeNs += 1_000_000n;
    calls += hay.enters;
    const rare = calls >= MATCH_EVERY;
    if (rare) calls -= MATCH_EVERY;
    const { page } = rare ? needle : hay;
    page.writeBigUInt64LE(timeNs, 0);
    recorder.page({ lane: 0, bytes: page, lost: 0, lostUnknown: false });
    timeNs += 1_000_000n;
    due += perPage / SYSCALLS_PER_EXEC;
    const writer = new PageWriter(64 * 1024);
    for (; execs < due; execs += 1) {
      timeNs += 1_000n;
      const pid = 1000 + (execs % 30_000);
      writer.append({
        format: BUILTIN_FORMATS.byName('sched_process_exec')!,
        timeNs,
        pid,
        values: { filename: '/bin/true', pid, old_pid: pid },
      });
      const args = ['/bin/true', execs % MATCH_EVERY === 0 ? 'needle' : 'hay'];
      recorder.exec({ lane: 1, timeNs, pid, missed: false, process: { pid, parentPid: 1, comm: 'true', args } });
    }
    recorder.page({ lane: 1, bytes: writer.take()!, lost: 0, lostUnknown: false });
    recorder.horizon(timeNs + 1n);
  }
  return recorder;
}

/** `first`: the fourth argument of its first call. */
function syscallPage(first: bigint): { page: Buffer; entries: number; enters: number } {
  const writer = new PageWriter(64 * 1024);
  let entries = 0;
  let enters = 0;
  const append = (name: string, values: Record<string, bigint | bigint[]>) =>
    writer.append({ format: BUILTIN_FORMATS.byName(name)!, timeNs: BigInt(entries) * 300n, pid: 77, values });
  for (;;) {
    const enter = append('sys_enter', { id: 1n, args: [1n, 2n, 3n, enters === 0 ? first : 4n, 5n, 6n] });
    if (enter) {
      entries += 1;
      enters += 1;
    }
    if (!enter || !append('sys_exit', { id: 1n, ret: 1n })) break;
    entries += 1;
  }
  return { page: Buffer.from(writer.take()!), entries, enters };
}

/** The middle of the rounds. */
function perSecond(runs: readonly Run[]): number {
  return median(runs.map(({ entries, wholeMs }) => (entries * 1000) / wholeMs));
}

function rawScan({ log }: Recorder): Run {
  const predicate = compilePredicate({ ...QUERIES[1], includeSelf: false });
  const format = BUILTIN_FORMATS.byName('raw_syscalls/sys_enter')!;
  const test = compileRawPredicate([predicate.rawForm('syscall.enter').expr], format);
  if (typeof test === 'boolean') throw new Error('the filter has no raw form');
  const wanted = new Uint8Array(65_536);
  wanted[format.id] = FIRST_TEST;
  const found = new PageEntries();
  const took = stopwatch();
  let entries = 0;
  let matches = 0;
  const buffer = Buffer.allocUnsafeSlow(4 * MiB);
  for (const { path, bytes } of log.segments()) {
    const fd = openSync(path, 'r');
    for (let at = HEADER_BYTES; at < bytes; ) {
      const have = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - at), at);
      let record = 0;
      while (record + RECORD_HEADER_BYTES <= have) {
        const end = record + RECORD_HEADER_BYTES + buffer.readUInt32LE(record + 12);
        if (end > have) break;
        if (buffer[record + 10] === RecordKind.PAGE) {
          const page = readPage(buffer.subarray(record + RECORD_HEADER_BYTES, end));
          scanPage(page.bytes, wanted, startCursor(page.firstTie), found, [test]);
          entries += found.entries;
          matches += found.count;
        }
        record = end;
      }
      at += record;
    }
    closeSync(fd);
  }
  return { entries, matches, firstMs: 0, ...took() };
}

/** The returned function gives what has passed since. */
function stopwatch() {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return { wholeMs: performance.now() - startedMs, cpuMs: (user + system) / 1000 };
  };
}

async function ask(recorder: Recorder, query: (typeof QUERIES)[number], share: number): Promise<Run> {
  const predicate = compilePredicate({ ...query, includeSelf: false });
  const took = stopwatch();
  let firstMs = Number.NaN;
  let matches = 0;
  const window = {
    sinceNs: undefined,
    untilNs: undefined,
    after: undefined,
    upTo: recorder.timeline.frontier,
    last: 0,
  };
  const outlet = {
    send: (frame: { eventSizes: ArrayLike<number> }) => {
      if (matches === 0) firstMs = took().wholeMs;
      matches += frame.eventSizes.length;
    },
    ready: async () => {},
  };
  const { signal } = new AbortController();
  const turns = new HistoryTurns(share);
  const answer = await new HistoryQuery(
    recorder,
    [{ id: predicate.id, predicate }],
    window,
    outlet,
    signal,
    turns,
  ).run();
  return { entries: answer.entriesScanned, matches, firstMs, ...took() };
}
