/**
 * What watching costs the workload: each workload with nothing, with Backplane
 * (default profile, recording) and with bpftrace printing the same events,
 * paired round by round. 95 % confidence interval of the geometric mean ratio.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { cpuSeconds } from '../measuring/process-cost.js';
import { median, report, round } from '../measuring/report.js';
import { Bpftrace, bpftraceIsInstalled } from '../peers/bpftrace.js';

const ROUNDS = Number(process.argv[2] ?? 36);
/** Student's t, 97.5 %, for about 35 degrees of freedom. */
const T = 2.03;

const HTTP = `
const http = require('http');
const server = http.createServer((q, s) => s.end('ok')).listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  let left = 600;
  const next = () => left-- === 0 ? process.exit() : http.get({ port, host: '127.0.0.1', agent: false }, (r) => r.resume().on('end', next));
  next();
});`;

const WORKLOADS: Record<string, readonly [string, readonly string[]]> = {
  'exec loop': ['/bin/sh', ['-c', 'i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done']],
  find: ['/bin/sh', ['-c', 'find /usr -xdev >/dev/null']],
  tar: ['/bin/sh', ['-c', 'tar cf - /usr/share/doc /usr/include | cat >/dev/null']],
  'loopback HTTP': [process.execPath, ['-e', HTTP]],
};

type Arm = 'none' | 'backplane' | 'bpftrace';
const times: Record<string, Record<Arm, number[]>> = {};
for (const name of Object.keys(WORKLOADS)) times[name] = { none: [], backplane: [], bpftrace: [] };
const cpu: Record<Arm, number[]> = { none: [], backplane: [], bpftrace: [] };

const withBpftrace = bpftraceIsInstalled();
const arms: Arm[] = withBpftrace ? ['none', 'backplane', 'bpftrace'] : ['none', 'backplane'];
if (!withBpftrace) console.error('bpftrace is not installed: compared with nothing only');
for (let index = -1; index < ROUNDS; index += 1) {
  for (let turn = 0; turn < arms.length; turn += 1) await runArm(arms[(index + 1 + turn) % arms.length]!, index < 0);
}
report(
  'slowdown of workloads',
  Object.keys(WORKLOADS).flatMap((name) => arms.slice(1).map((arm) => row(name, arm))),
  {
    rounds: ROUNDS,
    'own CPU while working, % of a core': Object.fromEntries(
      arms.slice(1).map((arm) => [arm, round(median(cpu[arm]), 2)]),
    ),
  },
);

async function runArm(arm: Arm, warmUp: boolean): Promise<void> {
  const tool = await begin(arm);
  try {
    const before = { cpu: tool ? cpuSeconds(tool.pid) : 0, ms: performance.now() };
    for (const [name, [program, args]] of Object.entries(WORKLOADS)) {
      // What the tool does late about one workload is not charged to the next.
      await sleep(300);
      const started = performance.now();
      execFileSync(program, args, { stdio: 'ignore' });
      if (!warmUp) times[name]![arm].push(performance.now() - started);
    }
    if (tool && !warmUp)
      cpu[arm].push(((cpuSeconds(tool.pid) - before.cpu) / (performance.now() - before.ms)) * 100_000);
  } finally {
    await tool?.stop();
  }
}

async function begin(arm: Arm): Promise<{ pid: number; stop: () => Promise<void> } | undefined> {
  if (arm === 'none') return undefined;
  if (arm === 'backplane') {
    const bus = await Bus.start();
    // An agent runs for months: compiled and grown, it costs half of what its first seconds cost.
    const [program, args] = WORKLOADS['exec loop']!;
    for (let run = 0; run < 4; run += 1) execFileSync(program, args, { stdio: 'ignore' });
    await sleep(1_000);
    return { pid: await bus.agentPid(), stop: () => bus.destroy() };
  }
  return Bpftrace.start();
}

function row(name: string, arm: Arm) {
  const ratios = times[name]![arm].map((ms, index) => Math.log(ms / times[name]!.none[index]!));
  const mean = ratios.reduce((sum, value) => sum + value, 0) / ratios.length;
  const spread = Math.sqrt(
    ratios.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (ratios.length - 1) / ratios.length,
  );
  const percent = (log: number) => round((Math.exp(log) - 1) * 100, 1);
  return {
    workload: name,
    with: arm,
    'none, median ms': round(median(times[name]!.none), 0),
    'slowdown %, median': percent(median(ratios)),
    mean: percent(mean),
    '95 % from': percent(mean - T * spread),
    to: percent(mean + T * spread),
    target: arm === 'backplane' ? 'to <= 2' : '',
  };
}
