/** The parties of a system under test, each a process of its own that runs the real command. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MAIN } from '../bus/bus.js';
import { settled } from '../until.js';
import { keepOutput } from './kept-output.js';
import type { Namespace } from './namespace.js';
import type { Disk } from './power-cut.js';
import type { Relay } from './relay.js';
import type { SmallDisk } from './small-disk.js';
import { World } from './world.js';

const STDERR_CHARACTERS_KEPT = 8192;
const ROGUE_PRELOAD = fileURLToPath(new URL('./rogue-preload.js', import.meta.url));
const SLOW_PRELOAD = fileURLToPath(new URL('./slow-preload.js', import.meta.url));
/** When set, the promises of brokers' engines resolve later: see slow-preload.ts. */
const SLOW_SEED = process.env.BACKPLANE_SLOW_SEED;
/** The same program as separate modules, so that a preload can replace some. */
const MODULES_MAIN = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One process, which may be ended and started again. */
export class Party {
  starts = 0;
  startedMs = 0;
  stderr = '';
  rssBytesMax = 0;
  /** Set while a fault uses this party; no other fault may then touch it. */
  busy = false;
  /** The network namespace it runs in; undefined: the host's. */
  namespace: Namespace | undefined;
  /** Ends of the process that no fault caused. */
  readonly unexpected: string[] = [];
  protected child: ChildProcess | undefined;
  protected exited: Promise<Exit> = Promise.resolve({ code: 0, signal: null });
  #ending = false;

  readonly #env: NodeJS.ProcessEnv;

  constructor(
    readonly name: string,
    env: NodeJS.ProcessEnv,
    /** Its files survive it, but unsynced ones do not survive a power cut. */
    readonly disk?: Disk,
  ) {
    this.#env = env;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  protected get program(): string {
    return MAIN;
  }

  protected get args(): readonly string[] {
    return [this.name.startsWith('broker') ? 'broker' : 'agent'];
  }

  start(): void {
    this.starts += 1;
    this.startedMs = performance.now();
    this.stderr = '';
    this.#ending = false;
    const [command, ...args] = [...(this.namespace?.enter ?? []), process.execPath, this.program, ...this.args];
    const child = spawn(command!, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, NO_COLOR: '1', BACKPLANE_LOG_LEVEL: 'warn', ...this.#env, ...this.disk?.env },
    });
    this.child = child;
    keepOutput(`${this.name}.log`, `start ${this.starts}, ${new Date().toISOString()}\n`);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_CHARACTERS_KEPT);
      keepOutput(`${this.name}.log`, text);
    });
    this.listen(child);
    this.exited = once(child, 'close').then(([code, signal]) => {
      const exit = { code: code as number | null, signal: signal as NodeJS.Signals | null };
      if (!this.#ending && this.child === child) this.died(exit);
      return exit;
    });
  }

  /** Sends a signal that may end it, and waits for that. */
  async end(signal: NodeJS.Signals): Promise<Exit> {
    this.#ending = true;
    if (this.running) this.child!.kill(signal);
    return this.exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Remembers its peak of resident memory. */
  sample(): void {
    if (!this.running) return;
    try {
      const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.child!.pid}/status`, 'utf8'))?.[1];
      this.rssBytesMax = Math.max(this.rssBytesMax, Number(kilobytes ?? 0) * 1024);
    } catch {
      // It has just ended.
    }
  }

  /** Its output; a broker's first line says that it serves. */
  protected listen(child: ChildProcess): void {
    child.stdout!.resume();
  }

  protected died({ code, signal }: Exit): void {
    this.unexpected.push(`${this.name} ended by itself (${signal ?? code}): ${this.stderr.trim().slice(-500)}`);
  }
}

export class BrokerParty extends Party {
  constructor(name: string, env: NodeJS.ProcessEnv, disk?: Disk) {
    const slow = SLOW_SEED === undefined ? '' : ` --import=${SLOW_PRELOAD}`;
    super(name, { ...env, BACKPLANE_SLOW_SEED: SLOW_SEED, NODE_OPTIONS: `${env.NODE_OPTIONS ?? ''}${slow}` }, disk);
  }

  protected override get program(): string {
    return SLOW_SEED === undefined ? super.program : MODULES_MAIN;
  }

  #served = Promise.resolve(false);

  protected override listen(child: ChildProcess): void {
    this.#served = Promise.race([once(child.stdout!, 'data').then(() => true), once(child, 'close').then(() => false)]);
  }

  async serving(): Promise<void> {
    const served = await settled(`${this.name} to serve`, this.#served, () => this.stderr);
    if (!served) throw new Error(`${this.name} does not serve: ${this.stderr}`);
  }
}

export interface AgentOptions {
  readonly name: string;
  readonly nodes: number;
  /** Per node. Divides 10^9, so that the time of an event is a whole number of periods from the start. */
  readonly eventsPerSecond: number;
  /** The mix of event kinds; default: numbered ones only. */
  readonly mix?: string;
  /** Default: a directory of the cluster. */
  readonly dataDir?: string;
  /** The file system of its own that the directory is, which may be filled. */
  readonly ownDisk?: SmallDisk;
  /** Live budget of each node; default: more than there is to send. */
  readonly budgetEventsPerSecond?: number;
  /** The same budget in bytes; default: more than there is to send. */
  readonly budgetBytesPerSecond?: number;
  /** It has many nodes, each of which would be a machine of its own: no bound on memory, and a core for history. */
  readonly unguarded?: boolean;
  /** How far its wall clock goes ahead of the real one. */
  readonly clockMs?: number;
  /** It ignores its budget, and sends whatever was not acknowledged. */
  readonly rogue?: boolean;
}

export class AgentParty extends Party {
  /** Node name to its recorder's directory. */
  readonly recorders: ReadonlyMap<string, string>;
  readonly #world: World;

  constructor(
    readonly relay: Relay,
    readonly options: AgentOptions & { readonly dataDir: string; readonly tokenFile: string },
    disk: Disk,
  ) {
    const { name, nodes, dataDir, eventsPerSecond, budgetEventsPerSecond } = options;
    const world = new World(join(dataDir, 'world.json'), options.clockMs);
    const env = {
      NODE_OPTIONS: `${world.nodeOption} ${options.rogue ? `--import=${ROGUE_PRELOAD} ` : ''}${disk.nodeOption}`,
      ...world.env,
      BACKPLANE_BROKERS: relay.address,
      BACKPLANE_TOKEN_FILE: options.tokenFile,
      BACKPLANE_DATA_DIR: dataDir,
      BACKPLANE_NODE_NAME: name,
      BACKPLANE_SOURCE: 'synthetic',
      // Making the events is its work here, not an overhead.
      BACKPLANE_AGENT_GUARD_CPU: '0',
      BACKPLANE_SYNTHETIC_MIX: options.mix ?? 'numbered=1',
      BACKPLANE_SYNTHETIC_RATE: String(eventsPerSecond),
      BACKPLANE_SYNTHETIC_LANES: String(LANES),
      BACKPLANE_SYNTHETIC_NODES: String(nodes),
      BACKPLANE_BUDGET_LIVE_BYTES: String(options.budgetBytesPerSecond ?? 2 ** 30),
      BACKPLANE_BUDGET_LIVE_EVENTS: String(budgetEventsPerSecond ?? 10_000_000),
      BACKPLANE_BUDGET_BURST: '1s',
      // Redaction keeps to a share of a core by the clock: on a crowded machine it would mask the numbers unexamined.
      BACKPLANE_REDACTION_OFF: 'all',
      ...(options.unguarded ? { BACKPLANE_AGENT_GUARD_MEMORY: '0', BACKPLANE_AGENT_GUARD_CPU_HISTORY: '100' } : {}),
      ...(options.ownDisk ? { BACKPLANE_RECORDER_BYTES_MAX: '32MiB' } : {}),
    };
    super(name, env, disk);
    this.#world = world;
    const names = Array.from({ length: nodes }, (_, at) => `${name}-${String(at + 1).padStart(4, '0')}`);
    this.recorders =
      nodes === 1
        ? new Map([[name, join(dataDir, 'recorder')]])
        : new Map(names.map((node) => [node, join(dataDir, node, 'recorder')]));
  }

  protected override get program(): string {
    return this.options.rogue ? MODULES_MAIN : super.program;
  }

  /** Its wall clock goes forward by so much, or back. */
  stepClock(ms: number): void {
    this.#world.step(ms);
  }

  /** Call while it does not run: the machine will seem to have been rebooted. */
  reboot(): void {
    this.#world.reboot();
  }

  /** Call while it does not run: removes its recorders. */
  wipe(): void {
    for (const dir of this.recorders.values()) rmSync(dir, { recursive: true, force: true });
    this.disk!.settle();
  }

  get periodNs(): number {
    return 1e9 / this.options.eventsPerSecond;
  }
}

/** The pid of event n is this plus n, so that n is known even where the arguments were missed. */
export const PID_FIRST = 3_600_000;
/** Lanes of every node: event n is on lane n mod LANES. */
export const LANES = 2;
