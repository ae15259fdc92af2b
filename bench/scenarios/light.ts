/**
 * What Backplane takes of the machine that it watches, by how many programs are started, and how soon events come: with
 * nobody listening, with one listener to everything, and, in the same run, `bpftrace` printing what processes do to a file,
 * with arguments (bench/exec.bt). Runs with the settings that it comes with, the guard among them: each row says which of
 * its steps were taken in it. As root.
 *
 *   node dist/bench/scenarios/light.js [SECONDS]
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { INTEREST_GRACE_MS } from '../../src/limits.js';
import { Bus, Command, type EventLine } from '../../test/harness/bus/bus.js';
import { readLines } from '../../test/harness/bus/event-stream.js';
import { delayMs } from '../measuring/delay.js';
import { residentMiB } from '../measuring/process-cost.js';
import { quantile, report, round } from '../measuring/report.js';
import { Bpftrace, bpftraceIsInstalled } from '../peers/bpftrace.js';

const SECONDS = Number(process.argv[2] ?? 60);
/**
 * Until what runs often is compiled, for which a linger's work must have run some thousand times, and an event's ten
 * thousand: with a listener in a hurry, and then under load as it is measured, they have in two minutes, otherwise in
 * five, in which compiling is up to half of what is measured. Agents run for weeks.
 */
const HURRIED_MS = 60_000;
const LOADED_MS = 60_000;
const HURRY = '25ms';
const WARM_UP_RATES = { hurried: 100, loaded: 500 };
/** Nobody listens once an agent no longer goes on with what was asked for. */
const NOBODY_MS = INTEREST_GRACE_MS + 2_000;
const SETTLE_MS = 3_000;
/** V8 collects what a load has left some seconds after it. */
const QUIET_MS = 15_000;
const EXECS_PER_SECOND = [0, 10, 50, 500, 1_500];

/** Starts a program when it is due and waits for it; says how many it started when it is asked. */
const LOAD = `
import os, signal, sys, time
period = 1 / float(sys.argv[1])
started = 0
def tell(*_):
    print(started, flush=True)
signal.signal(signal.SIGUSR1, tell)
tell()
due = time.monotonic()
while True:
    os.waitpid(os.posix_spawn('/bin/true', ['/bin/true', 'x'], {}), 0)
    started += 1
    due += period
    wait = due - time.monotonic()
    if wait > 0:
        time.sleep(wait)
`;

class Load {
  readonly #child;
  readonly #counts: AsyncIterator<string> | undefined;

  constructor(execsPerSecond: number) {
    if (execsPerSecond === 0) return;
    this.#child = spawn('python3', ['-c', LOAD, String(execsPerSecond)], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#counts = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** It can be asked. */
  async began(): Promise<void> {
    await this.#counts?.next();
  }

  /** Programs started so far. */
  async started(): Promise<number> {
    if (!this.#child || !this.#counts) return 0;
    this.#child.kill('SIGUSR1');
    return Number((await this.#counts.next()).value);
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
  }
}

interface Cost {
  readonly execsPerSecond: number;
  /** % of a core, in the order of the processes. */
  readonly cpu: readonly number[];
  /** The same of main threads alone: the rest is compiling, and collecting garbage beside them. */
  readonly mainCpu: readonly number[];
}

/** CPU of processes while so many programs are started. */
async function cost(execsPerSecond: number, pids: readonly number[]): Promise<Cost> {
  const load = new Load(execsPerSecond);
  try {
    await load.began();
    await sleep(SETTLE_MS);
    const began = {
      started: await load.started(),
      cpu: pids.map(cpuNs),
      main: pids.map(mainNs),
      ms: performance.now(),
    };
    await sleep(SECONDS * 1000);
    const elapsedMs = performance.now() - began.ms;
    const started = (await load.started()) - began.started;
    const percent = (ns: number) => ns / elapsedMs / 10_000;
    return {
      execsPerSecond: (started / elapsedMs) * 1000,
      cpu: pids.map((pid, at) => percent(cpuNs(pid) - began.cpu[at]!)),
      mainCpu: pids.map((pid, at) => percent(mainNs(pid) - began.main[at]!)),
    };
  } finally {
    load.stop();
  }
}

/** CPU time of all threads of a process so far. */
function cpuNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + threadNs(pid, thread), 0);
}

function mainNs(pid: number): number {
  return threadNs(pid, pid);
}

function threadNs(pid: number, thread: number | string): number {
  return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
}

/** Listens to everything, and notes how late each exec came. */
class Listener {
  readonly #command: Command;
  delaysMs: number[] = [];

  constructor(bus: Bus, latency?: string) {
    const wish = latency === undefined ? [] : ['--latency', latency];
    this.#command = new Command(['observe', '-o', 'json', '--follow', '--all', ...wish], bus.env, false);
    createInterface({ input: this.#command.child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{"type":"process.exec"')) return;
      this.delaysMs.push(delayMs((JSON.parse(line) as EventLine).time));
    });
  }

  get pid(): number {
    return this.#command.child.pid!;
  }

  async stop(): Promise<void> {
    await this.#command.stop('SIGINT');
  }
}

const theirs = new Map<number, number>();
if (bpftraceIsInstalled()) {
  const tool = await Bpftrace.printingExecs();
  try {
    for (const rate of EXECS_PER_SECOND) theirs.set(rate, (await cost(rate, [tool.pid])).cpu[0]!);
  } finally {
    await tool.stop();
  }
}

/** The steps that the guard has taken or undone since the last call, as it told them. */
class GuardSteps {
  readonly #bus: Bus;
  #told = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  async take(): Promise<string> {
    const messages: string[] = [];
    await readLines<Told>(await this.#bus.get('/v1/events?topic=host&since=24h'), ({ event }) => {
      const { reason = '', message = '' } = event?.notice ?? {};
      if (reason.startsWith('overhead')) messages.push(message);
      return true;
    });
    const since = messages.slice(this.#told);
    this.#told = messages.length;
    return since.length === 0 ? 'none' : since.join(' | ');
  }
}

interface Told {
  readonly event?: { readonly notice?: { readonly reason: string; readonly message: string } };
}

const rows: Record<string, string | number>[] = [];
/** As deployments, ./backplane and `npm start` start it. */
const bus = await Bus.start({ NODE_OPTIONS: '--v8-pool-size=1' });
const steps = new GuardSteps(bus);
try {
  const agent = await bus.agentPid();
  const broker = bus.up.child.pid!;
  const under = async (execsPerSecond: number, ms: number) => {
    const load = new Load(execsPerSecond);
    await sleep(ms);
    load.stop();
  };
  /** As it is then measured, but for those who listen in a hurry at first. */
  const warm = async (nobodyMs: number) => {
    const hurried = new Listener(bus, HURRY);
    await under(WARM_UP_RATES.hurried, HURRIED_MS);
    await hurried.stop();
    await sleep(nobodyMs);
    await under(WARM_UP_RATES.loaded, LOADED_MS);
    await sleep(QUIET_MS);
  };
  await warm(NOBODY_MS);
  for (const rate of EXECS_PER_SECOND) {
    const taken = await cost(rate, [agent, broker]);
    const resident = [residentMiB(agent), residentMiB(broker)] as const;
    rows.push(row('nobody', rate, taken, undefined, resident, await steps.take()));
  }
  for (const [latency, rates] of [
    [undefined, EXECS_PER_SECOND],
    ['25ms', EXECS_PER_SECOND],
  ] as const) {
    const listener = new Listener(bus, latency);
    await warm(0);
    for (const rate of rates) {
      listener.delaysMs = [];
      const taken = await cost(rate, [agent, broker, listener.pid]);
      const who = latency === undefined ? 'one' : `one, --latency ${latency}`;
      const delays = rate === 0 ? undefined : listener.delaysMs;
      const resident = [residentMiB(agent), residentMiB(broker)] as const;
      rows.push(row(who, rate, taken, delays, resident, await steps.take()));
    }
    await listener.stop();
  }
} finally {
  await bus.destroy();
}

function row(
  listening: string,
  asked: number,
  { execsPerSecond, cpu, mainCpu }: Cost,
  delaysMs: readonly number[] | undefined,
  [agentMiB, brokerMiB]: readonly [number, number],
  guardSteps: string,
) {
  const peer = theirs.get(asked);
  const together = cpu.reduce((sum, each) => sum + each, 0);
  return {
    listening,
    'execs/s': round(execsPerSecond, 0),
    agent: round(cpu[0]!),
    broker: round(cpu[1]!),
    observe: round(cpu[2] ?? 0),
    together: round(together),
    'main threads': mainCpu.map((each) => round(each)).join(' + '),
    bpftrace: peer === undefined ? 'not installed' : round(peer),
    'agent / bpftrace': peer === undefined ? '' : round(cpu[0]! / peer, 1),
    'together / bpftrace': peer === undefined ? '' : round(together / peer, 1),
    'p50 ms': delaysMs === undefined ? '' : round(quantile(delaysMs, 0.5), 0),
    'p99 ms': delaysMs === undefined ? '' : round(quantile(delaysMs, 0.99), 0),
    'agent MiB': round(agentMiB, 0),
    'broker MiB': round(brokerMiB, 0),
    'guard steps': guardSteps,
  };
}
report('CPU, % of a core, and latency of execs', rows, { seconds: SECONDS });
