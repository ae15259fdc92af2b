/**
 * What watching costs a loop of nothing but execs: with nothing, with Backplane (recording, arguments included) and with
 * bpftrace printing the same to a file (bench/exec.bt). Short runs, in blocks of the three in turn. Prints the mean of
 * the paired differences with its 95 % interval, ours less bpftrace's in points of the run with nothing. As root.
 *
 *   node dist/bench/scenarios/exec-slowdown.js [PAIRS]
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { median, report, round } from '../measuring/report.js';
import { Bpftrace } from '../peers/bpftrace.js';

const PAIRS = Number(process.argv[2] ?? 200);
/** Runs of one arm before the next has its turn: starting an arm takes seconds, a run a third of one. */
const BLOCK = 10;
const EXECS = 200;
const LOOP = `i=0; while [ $i -lt ${EXECS} ]; do /bin/true one two; i=$((i+1)); done`;
/** Normal distribution, 97.5 %: there are 200 pairs. */
const Z = 1.96;

const ARMS = ['none', 'backplane', 'bpftrace'] as const;
type Arm = (typeof ARMS)[number];
const times: Record<Arm, number[]> = { none: [], backplane: [], bpftrace: [] };

for (let round = 0; times.none.length < PAIRS; round += 1)
  for (let turn = 0; turn < ARMS.length; turn += 1) await block(ARMS[(round + turn) % ARMS.length]!);

const slowdown = (arm: Arm) => times[arm].map((ms, at) => (ms / times.none[at]! - 1) * 100);
const ours = slowdown('backplane');
const theirs = slowdown('bpftrace');
report(
  'slowdown of a loop of execs',
  [
    row('Backplane', ours),
    row('bpftrace', theirs),
    {
      ...row(
        'Backplane less bpftrace',
        ours.map((value, at) => value - theirs[at]!),
      ),
      target: 'to <= 2',
    },
  ],
  { pairs: times.none.length, execs: EXECS, 'with nothing, median ms': round(median(times.none), 1) },
);

async function block(arm: Arm): Promise<void> {
  const stop = await begin(arm);
  try {
    // What is compiled and cached at first is not charged.
    for (let run = 0; run < 3; run += 1) loop();
    await sleep(300);
    for (let run = 0; run < BLOCK; run += 1) times[arm].push(loop());
  } finally {
    await stop();
  }
}

function loop(): number {
  const began = performance.now();
  execFileSync('/bin/sh', ['-c', LOOP], { stdio: 'ignore' });
  return performance.now() - began;
}

async function begin(arm: Arm): Promise<() => Promise<unknown>> {
  if (arm === 'none') return async () => undefined;
  if (arm === 'backplane') {
    const bus = await Bus.start();
    return () => bus.destroy();
  }
  const tool = await Bpftrace.printingToFile();
  return () => tool.stop();
}

function row(what: string, values: readonly number[]) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  const spread = Z * Math.sqrt(variance / values.length);
  return {
    what,
    'median %': round(median(values), 1),
    'mean %': round(mean, 1),
    '95 % from': round(mean - spread, 1),
    to: round(mean + spread, 1),
    target: '',
  };
}
