/**
 * What it takes that somebody listens to everything a node sees, by how many programs are started: agent, broker and
 * `observe` apart, and beside them, in the same run, `bpftrace` printing the same events with arguments. Runs without
 * the guard, as root.
 *
 *   node dist/bench/scenarios/live-cost.js [SECONDS]
 */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command } from '../../test/harness/bus/bus.js';
import { cpuSeconds, residentMiB } from '../measuring/process-cost.js';
import { report, round } from '../measuring/report.js';
import { Bpftrace, bpftraceIsInstalled } from '../peers/bpftrace.js';

const SECONDS = Number(process.argv[2] ?? 15);
const SETTLE_MS = 3_000;
const EXECS_PER_SECOND = [0, 10, 50, 100, 300, 1_000];

/** Python starts a program and waits for it, at a given pace. */
const LOAD = `
import subprocess, sys, time
period = 1 / float(sys.argv[1])
due = time.time()
while True:
    subprocess.call(['/bin/true', 'x'])
    due += period
    time.sleep(max(0, due - time.time()))
`;

/** CPU of processes over the run's seconds while so many programs are started, % of a core each. */
async function load<Name extends string>(execsPerSecond: number, pids: Record<Name, number>) {
  const names = Object.keys(pids) as Name[];
  const loop = execsPerSecond === 0 ? undefined : spawn('python3', ['-c', LOAD, String(execsPerSecond)]);
  try {
    await sleep(SETTLE_MS);
    const before = names.map((name) => cpuSeconds(pids[name]));
    const started = performance.now();
    await sleep(SECONDS * 1000);
    const seconds = (performance.now() - started) / 1000;
    return Object.fromEntries(
      names.map((name, index) => [name, ((cpuSeconds(pids[name]) - before[index]!) * 100) / seconds]),
    ) as Record<Name, number>;
  } finally {
    loop?.kill('SIGKILL');
  }
}

async function withBpftrace(execsPerSecond: number): Promise<number | string> {
  if (!bpftraceIsInstalled()) return 'not installed';
  const tool = await Bpftrace.start(true);
  try {
    return round((await load(execsPerSecond, { bpftrace: tool.pid })).bpftrace, 1);
  } finally {
    await tool.stop();
  }
}

async function withBackplane(execsPerSecond: number, listening: boolean) {
  const bus = await Bus.start({ BACKPLANE_AGENT_GUARD_CPU: '0', BACKPLANE_AGENT_GUARD_MEMORY: '0' });
  try {
    const agent = await bus.agentPid();
    const observer = listening
      ? new Command(['observe', '-o', 'json', '--follow', '--all'], bus.env, false)
      : undefined;
    observer?.child.stdout?.resume();
    const cpu = await load(execsPerSecond, {
      agent,
      broker: bus.up.child.pid!,
      ...(observer && { observe: observer.child.pid! }),
    } as { agent: number; broker: number; observe?: number } as Record<'agent' | 'broker' | 'observe', number>);
    return { cpu, resident: residentMiB(agent) };
  } finally {
    await bus.destroy();
  }
}

const rows = [];
for (const [execsPerSecond, listening] of [
  [0, false],
  [50, false],
  ...EXECS_PER_SECOND.map((each) => [each, true] as const),
] as const) {
  const { cpu, resident } = await withBackplane(execsPerSecond, listening);
  const together = Object.values(cpu).reduce((sum, each) => sum + each, 0);
  rows.push({
    'execs/s asked': execsPerSecond,
    listeners: listening ? 1 : 0,
    'agent, % of a core': round(cpu.agent, 1),
    broker: round(cpu.broker, 1),
    observe: listening ? round(cpu.observe, 1) : '',
    together: round(together, 1),
    bpftrace: await withBpftrace(execsPerSecond),
    'agent resident, MiB': round(resident, 0),
  });
}
report('CPU while somebody listens to all topics, no guard, % of a core', rows);
