/**
 * Queries over a 1 GiB recording: mostly system calls, one entry in a hundred
 * an exec. For one exec in 10,000, and by a compiled filter for one call in
 * 10,000. Without the CPU guard and with it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HISTORY_CPU_SHARE, MiB } from '../../src/limits.js';
import { HistoryQuery } from '../../src/sensor-agent/history/history-query.js';
import { HistoryTurns } from '../../src/sensor-agent/history/history-turns.js';
import { Recorder } from '../../src/sensor-agent/recorder/recorder.js';
import { Redactor } from '../../src/sensor-agent/redaction/redactor.js';
import { BUILTIN_FORMATS } from '../../src/sensor-agent/source/builtin-formats.js';
import { PageWriter } from '../../src/sensor-agent/source/synthetic/page-writer.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { median, report, round } from '../measuring/report.js';

const RECORDING_BYTES = Number(process.argv[2] ?? 1024) * MiB;
const MATCH_EVERY = 10_000;
const RUNS = 5;
const SYSCALLS_PER_EXEC = 99;

const dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
try {
  const recorder = record();
  const rows = [];
  const queries = [
    { topics: ['process'], filter: 'process.command_args[1] == "needle"' },
    { topics: ['syscall'], filter: 'event.type == "syscall.enter" && syscall.arg3 == 999' },
  ];
  for (const query of queries) {
    for (const share of [1, HISTORY_CPU_SHARE]) rows.push(await measure(recorder, query, share));
  }
  report('history', rows, { recordingBytes: recorder.log.bytes, entries: recorder.entriesRecorded });
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

async function measure(recorder: Recorder, query: { topics: string[]; filter: string }, share: number) {
  const predicate = compilePredicate({ ...query, includeSelf: false });
  const firsts: number[] = [];
  const wholes: number[] = [];
  let matches = 0;
  let scanned = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const started = performance.now();
    matches = 0;
    const window = {
      sinceNs: undefined,
      untilNs: undefined,
      after: undefined,
      upTo: recorder.timeline.frontier,
      last: 0,
    };
    const outlet = {
      send: (frame: { eventSizes: ArrayLike<number> }) => {
        if (matches === 0) firsts.push(performance.now() - started);
        matches += frame.eventSizes.length;
      },
      ready: async () => {},
    };
    const answer = await new HistoryQuery(
      recorder,
      predicate,
      window,
      outlet,
      new AbortController().signal,
      new HistoryTurns(share),
    ).run();
    scanned = answer.entriesScanned;
    wholes.push(performance.now() - started);
  }
  return {
    topic: query.topics.join(),
    'guard, share of a core': share,
    'entries, M': round(scanned / 1e6, 1),
    matches,
    'first event ms': round(median(firsts), 0),
    'whole s': round(median(wholes) / 1000),
    'M entries/s': round(scanned / 1e6 / (median(wholes) / 1000), 1),
    target: 'first <= 150 ms, >= 15 M/s skipped',
  };
}
