/** Runs the real commands as processes of their own, on ports and directories of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ownAddress } from '../own-address.js';
import { until } from '../until.js';
import { bearer, tokenFile } from './token.js';

export const MAIN = fileURLToPath(new URL('../../../program/main.js', import.meta.url));

/** Variables that tests themselves read: commands would warn of them. */
const OF_TESTS = /^BACKPLANE_(TEST_.*|FAULT_.*|.*_SEED|.*_CACHE|NATS_SERVER)$/;

/** The tester's environment, as commands may have it. */
export function testerEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !OF_TESTS.test(name)));
}

/** An event as `observe -o json` prints it. */
export interface EventLine {
  readonly node: string;
  readonly topic: string;
  readonly type: string;
  readonly time: string;
  readonly position: { epoch: string; timeNs: string; lane?: number; tie?: number };
  readonly process?: {
    pid: number;
    threadId?: number;
    parentPid?: number;
    comm?: string;
    executable?: { path: string; deleted?: boolean };
    commandArgs?: string[];
    commandArgsMissed?: boolean;
    commandArgsTruncated?: boolean;
    user?: { id: number; name?: string };
    parent?: { pid: number; executable?: { path: string }; commandArgs?: string[]; creationTime?: string };
    ancestors?: string[];
    commandLine?: string;
    exitCode?: number;
    exitSignal?: string;
    workingDirectory?: string;
    loginUser?: { id: number; name?: string };
    tty?: string;
    inferred?: string[];
    cgroup?: { path: string };
  };
  readonly container?: { id: string; name?: string; image?: { name: string; tags?: string[] }; unresolved?: boolean };
  readonly k8s?: { pod: { name: string; uid?: string }; namespace: { name: string } };
  readonly network?: {
    type?: string;
    transport?: string;
    local: { address: string; port: number };
    peer: { address: string; port: number };
    failed?: boolean;
    datagrams?: number;
  };
  readonly dns?: { question?: { name: string; type: string }; questionMissed?: boolean; redactions?: number };
  readonly syscall?: {
    id: string;
    name: string;
    args?: string[];
    result?: string;
    returned?: boolean;
    command?: string;
    targetPid?: number;
  };
  readonly mount?: { source?: string; target?: string; type?: string; missed?: boolean };
  readonly object?: { name?: string; nameMissed?: boolean };
  readonly file?: {
    path?: string;
    pathMissed?: boolean;
    pathResolved?: boolean;
    newPath?: string;
    descriptor?: number;
    mode?: string;
    ownerId?: string;
    groupId?: string;
    size?: string;
    mountNamespace?: number;
  };
  readonly raw?: { readonly name: string; readonly fields: Readonly<Record<string, string>> };
  readonly signal?: { readonly name: string; readonly targetPid: number };
  readonly notice?: { reason: string; message: string; lost?: string };
}

/** Why these tests cannot run here, or false. */
export const cannotTrace: string | false =
  process.getuid?.() === 0 && process.platform === 'linux' ? false : 'needs root on Linux with tracefs';

/** One command under test. */
export class Command {
  static readonly #running = new Set<Command>();

  /** Ends commands that a failed test left running; they would keep the test's process from ending. */
  static async killAll(): Promise<void> {
    await Promise.all([...Command.#running].map((command) => command.stop('SIGKILL')));
  }

  readonly child: ChildProcess;
  stderr = '';
  stdout = '';
  /** The command has ended, and all its output was read. */
  hasEnded = false;
  #isStopped = false;
  readonly exited: Promise<number | null>;

  /**
   * @param within a command that runs the command that it is given
   * @param main of another build
   */
  constructor(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    keepsStdout = true,
    within: readonly string[] = [],
    main = MAIN,
  ) {
    const [program, ...words] = [...within, process.execPath, main, ...args];
    this.child = spawn(program!, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...testerEnvironment(), NO_COLOR: '1', ...env },
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    if (keepsStdout)
      this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        this.stdout += text;
      });
    Command.#running.add(this);
    this.exited = once(this.child, 'close').then(([code, signal]) => {
      Command.#running.delete(this);
      if (signal !== null && !this.#isStopped) this.stderr += `(ended by ${signal})`;
      this.hasEnded = true;
      return code as number | null;
    });
  }

  /** Waits until stdout has a line that matches. */
  async says(pattern: RegExp): Promise<string> {
    await until(
      `${pattern} on stdout`,
      () => pattern.test(this.stdout) || this.goesOn(),
      () => this.said,
    );
    return this.stdout;
  }

  get said(): string {
    return `stdout: ${this.stdout} stderr: ${this.stderr}`;
  }

  /** What to return where something is still to come. @throws where nothing can */
  goesOn(): undefined {
    if (this.hasEnded) throw new Error(`ended with ${this.child.signalCode ?? this.child.exitCode}; ${this.said}`);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#isStopped = true;
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.exited;
  }
}

/** What is said to be missing, as `observe -o jsonpb` prints it. */
export interface GapLine {
  readonly node?: string;
  readonly topic?: string;
  readonly reason: string;
  readonly events?: string;
  readonly eventsUnknown?: boolean;
  readonly message?: string;
}

/** What each node could answer of the past. */
interface CoverageLine {
  readonly nodes: readonly { readonly node: string; readonly losses?: readonly GapLine[] }[];
}

interface BatchLine {
  readonly gap?: GapLine;
  readonly coverage?: CoverageLine;
  readonly accepted?: { readonly nodes: readonly string[]; readonly nodesMissing: readonly string[] };
  readonly events?: { readonly node: string; readonly topic: string; readonly events: readonly EventLine[] };
}

/** Events as `observe` prints them, one by one (`-o json`) or as they came (`-o jsonpb`). */
export class Observer extends Command {
  readonly events: EventLine[] = [];
  /** Of jsonpb; with json they are text, on stderr. */
  readonly gaps: GapLine[] = [];
  accepted: BatchLine['accepted'];
  /** Of jsonpb. */
  coverage: CoverageLine | undefined;

  constructor(
    bus: { readonly grpc: string; readonly brokerDir: string },
    args: readonly string[],
    format: 'json' | 'jsonpb' = 'json',
    main = MAIN,
  ) {
    const env = { BACKPLANE_BROKERS: bus.grpc, BACKPLANE_TOKEN_FILE: tokenFile(bus.brokerDir) };
    super(['observe', '--all', '-o', format, ...args], env, false, [], main);
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      if (format === 'json') this.events.push(JSON.parse(line) as EventLine);
      else this.#take(JSON.parse(line) as BatchLine);
    });
  }

  /** The cursor that it ended with. */
  get cursor(): string {
    return /--cursor (\S+)/.exec(this.stderr)?.[1] ?? '';
  }

  #take({ accepted, gap, coverage, events: batch }: BatchLine): void {
    this.accepted ??= accepted;
    this.coverage = coverage ?? this.coverage;
    if (gap !== undefined) this.gaps.push(gap);
    for (const event of batch?.events ?? []) this.events.push({ ...event, node: batch!.node, topic: batch!.topic });
  }

  /**
   * Waits for an event that has happened: as long as events come that are not newer than this call. Others' come at any
   * time, and do not mean that this one is still to come.
   */
  async sees(match: (event: EventLine) => boolean): Promise<EventLine> {
    const beganMs = Date.now();
    let looked = 0;
    let before = 0;
    return until(
      `the event that matches ${match}`,
      () => this.events.find(match) ?? this.goesOn(),
      () => {
        for (const event of this.events.slice(looked)) if (Date.parse(event.time) <= beganMs) before += 1;
        looked = this.events.length;
        return `${before} events from before the wait, ${this.stderr}`;
      },
    );
  }
}

/** `backplane up` with a directory that outlives it. */
export class Bus {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  grpc = '';
  http = '';
  up!: Command;

  /** @param within a command that runs the command that it is given */
  static async start(env: NodeJS.ProcessEnv = {}, within: readonly string[] = []): Promise<Bus> {
    const bus = await Bus.prepared();
    await bus.start(env, within);
    return bus;
  }

  /** Not started yet: its data directory may be filled. */
  static async prepared(): Promise<Bus> {
    const bus = new Bus();
    bus.grpc = await ownAddress();
    bus.http = await ownAddress();
    return bus;
  }

  async start(env: NodeJS.ProcessEnv = {}, within: readonly string[] = []): Promise<void> {
    const own = {
      BACKPLANE_DATA_DIR: this.dataDir,
      BACKPLANE_GRPC_LISTEN: this.grpc,
      BACKPLANE_HTTP_LISTEN: this.http,
      BACKPLANE_NODE_NAME: 'node-under-test',
      BACKPLANE_LOG_LEVEL: 'warn',
    };
    this.up = new Command(['up'], { ...own, ...env }, true, within);
    await this.up.says(/backplane observe/);
  }

  /** The broker's data directory: that of `up`. */
  get brokerDir(): string {
    return this.dataDir;
  }

  /** Where the commands of a user of this bus find it. */
  get env(): NodeJS.ProcessEnv {
    return { BACKPLANE_BROKERS: this.grpc, BACKPLANE_TOKEN_FILE: tokenFile(this.brokerDir) };
  }

  /** Asks the HTTP API, with the token. */
  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.http}${path}`, { ...init, headers: bearer(this.brokerDir) });
  }

  post(path: string, body: object): Promise<Response> {
    const headers = { ...bearer(this.brokerDir), 'content-type': 'application/json' };
    return fetch(`http://${this.http}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  observe(...args: string[]): Observer {
    return new Observer(this, args);
  }

  /** As observe() with `--follow`, once the node has answered: what happens from here on is seen. */
  async follow(...args: string[]): Promise<Observer> {
    let observer = new Observer(this, ['--follow', ...args], 'jsonpb');
    return until(
      'a node that answers',
      async () => {
        if (observer.accepted?.nodes.length === 1) return observer;
        // The agent had not connected yet, or was too slow to answer.
        if (observer.accepted !== undefined || observer.hasEnded) {
          await observer.stop('SIGKILL');
          observer = new Observer(this, ['--follow', ...args], 'jsonpb');
        }
        return undefined;
      },
      () => this.up.said,
    );
  }

  /** The agent's pid: the only child of `up`. */
  async agentPid(): Promise<number> {
    const { pid } = this.up.child;
    const children = () => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return until('an agent', () => Number(children().split(' ')[0]) || undefined);
  }

  /** Both `up` and its agent: kill -9. */
  async kill(): Promise<void> {
    const agentPid = await this.agentPid();
    // Without its parent, which would start it again.
    process.kill(this.up.child.pid!, 'SIGSTOP');
    process.kill(agentPid, 'SIGKILL');
    await this.up.stop('SIGKILL');
  }

  async destroy(): Promise<void> {
    await this.up.stop();
    await Command.killAll();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
