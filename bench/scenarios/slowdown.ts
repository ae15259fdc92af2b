/**
 * What watching costs other programs: each workload with nothing, with Backplane (recording, default profile) and with
 * bpftrace printing the same to a file. Short runs, in blocks of the three in turn. Prints the median and the mean of the
 * paired slowdowns with the mean's 95 % interval, and ours less bpftrace's in points of the run with nothing. As root.
 *
 *   node dist/bench/scenarios/slowdown.js [PAIRS [WORKLOAD]]
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { median, report, round } from '../measuring/report.js';
import { Bpftrace } from '../peers/bpftrace.js';

const PAIRS = Number(process.argv[2] ?? 200);
/** Runs of one arm before the next has its turn: starting an arm takes seconds, a run a fraction of one. */
const BLOCK = 20;
/** What is compiled and cached at first is not charged. */
const WARM_UP_RUNS = 3;
/** Normal distribution, 97.5 %: there are 200 pairs. */
const Z = 1.96;

const HTTP = `
const http = require('http');
const server = http.createServer((q, s) => s.end('ok')).listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  let left = 400;
  const next = () => left-- === 0 ? process.exit() : http.get({ port, host: '127.0.0.1', agent: false }, (r) => r.resume().on('end', next));
  next();
});`;

interface Workload {
  readonly command: readonly [string, ...string[]];
  readonly peer: () => Promise<Bpftrace>;
}

const WORKLOADS: Readonly<Record<string, Workload>> = {
  execs: {
    command: ['/bin/sh', '-c', 'i=0; while [ $i -lt 200 ]; do /bin/true one two; i=$((i+1)); done'],
    peer: Bpftrace.printingExecs,
  },
  find: { command: ['/bin/sh', '-c', 'find /usr/lib /usr/share -xdev >/dev/null'], peer: Bpftrace.printingEvents },
  tar: {
    command: ['/bin/sh', '-c', 'tar cf - /usr/include /usr/share/doc | cat >/dev/null'],
    peer: Bpftrace.printingEvents,
  },
  http: { command: [process.execPath, '-e', HTTP], peer: Bpftrace.printingEvents },
};

type Arm = 'none' | 'backplane' | 'bpftrace';
const ARMS: readonly Arm[] = ['none', 'backplane', 'bpftrace'];
const [, , , asked] = process.argv;
const wanted = Object.entries(WORKLOADS).filter(([name]) => asked === undefined || name === asked);
if (wanted.length === 0) {
  console.error(`slowdown: WORKLOAD must be one of ${Object.keys(WORKLOADS).join(', ')}, got ${JSON.stringify(asked)}`);
  process.exit(2);
}

const rows = [];
for (const [name, workload] of wanted) rows.push(...(await measure(name, workload)));
report('slowdown', rows, { pairs: PAIRS });

async function measure(name: string, workload: Workload) {
  const ms: Record<Arm, number[]> = { none: [], backplane: [], bpftrace: [] };
  for (let block = 0; ms.none.length < PAIRS; block += 1)
    for (let turn = 0; turn < ARMS.length; turn += 1) {
      const arm = ARMS[(block + turn) % ARMS.length]!;
      const stop = await begin(arm, workload);
      try {
        for (let run = 0; run < WARM_UP_RUNS; run += 1) runMs(workload);
        await sleep(300);
        for (let run = 0; run < BLOCK; run += 1) ms[arm].push(runMs(workload));
      } finally {
        await stop();
      }
    }
  const slowdown = (arm: Arm) => ms[arm].map((value, at) => (value / ms.none[at]! - 1) * 100);
  const [ours, theirs] = [slowdown('backplane'), slowdown('bpftrace')];
  const less = ours.map((value, at) => value - theirs[at]!);
  const alone = round(median(ms.none), 0);
  return [
    { ...row(name, alone, 'Backplane', ours), target: name === 'execs' ? '' : 'to <= 2, or as bpftrace' },
    { ...row(name, alone, 'bpftrace', theirs), target: '' },
    { ...row(name, alone, 'Backplane less bpftrace', less), target: name === 'execs' ? 'to <= 2' : '' },
  ];
}

function runMs({ command: [program, ...args] }: Workload): number {
  const began = performance.now();
  execFileSync(program, args, { stdio: 'ignore' });
  return performance.now() - began;
}

async function begin(arm: Arm, workload: Workload): Promise<() => Promise<unknown>> {
  if (arm === 'none') return async () => undefined;
  if (arm === 'backplane') {
    const bus = await Bus.start();
    return () => bus.destroy();
  }
  const tool = await workload.peer();
  return () => tool.stop();
}

function row(workload: string, aloneMs: number, what: string, percents: readonly number[]) {
  const mean = percents.reduce((sum, value) => sum + value, 0) / percents.length;
  const variance = percents.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (percents.length - 1);
  const spread = Z * Math.sqrt(variance / percents.length);
  return {
    workload,
    'alone ms': aloneMs,
    what,
    'median %': round(median(percents), 1),
    'mean %': round(mean, 1),
    '95 % from': round(mean - spread, 1),
    to: round(mean + spread, 1),
  };
}
