/** Runs the real commands as processes of their own, on ports and directories of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bearer, tokenFile } from './token.js';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** An event as `observe -o json` prints it. */
export interface EventLine {
  readonly node: string;
  readonly topic: string;
  readonly type: string;
  readonly time: string;
  readonly position: { epoch: string; timeNs: string; lane?: number; tie?: number };
  readonly process?: {
    pid: number;
    parentPid?: number;
    comm?: string;
    executable?: { path: string };
    commandArgs?: string[];
    commandArgsMissed?: boolean;
    user?: { id: number };
  };
  readonly network?: { local: { address: string; port: number }; peer: { address: string; port: number } };
  readonly syscall?: { id: string; name: string; args?: string[]; result?: string; returned?: boolean };
  readonly file?: { path?: string; pathMissed?: boolean; descriptor?: number };
  readonly notice?: { reason: string; message: string };
}

/** Why these tests cannot run here, or false. */
export const cannotTrace: string | false =
  process.getuid?.() === 0 && process.platform === 'linux' ? false : 'needs root on Linux with tracefs';

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** One command under test. */
export class Command {
  static readonly #running = new Set<Command>();

  /** Whatever a test that failed left behind; it would keep the test's process from ending. */
  static async killAll(): Promise<void> {
    await Promise.all([...Command.#running].map((command) => command.stop('SIGKILL')));
  }

  readonly child: ChildProcess;
  stderr = '';
  stdout = '';
  readonly exited: Promise<number | null>;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...env },
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    Command.#running.add(this);
    this.exited = once(this.child, 'close').then(([code]) => {
      Command.#running.delete(this);
      return code as number | null;
    });
  }

  /** Waits until stdout has a line that matches. */
  async says(pattern: RegExp, deadlineMs = 20_000): Promise<string> {
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    const until = Date.now() + deadlineMs;
    while (!pattern.test(this.stdout)) {
      if (Date.now() > until || this.child.exitCode !== null) {
        throw new Error(`no ${pattern} within ${deadlineMs} ms; stdout: ${this.stdout} stderr: ${this.stderr}`);
      }
      await sleep(20);
    }
    return this.stdout;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.exited;
  }
}

/** How long a test waits for what must come, on a machine that does other things too. */
const PATIENCE_MS = 30_000;

interface BatchLine {
  readonly accepted?: { readonly nodes: readonly string[]; readonly nodesMissing: readonly string[] };
  readonly events?: { readonly node: string; readonly topic: string; readonly events: readonly EventLine[] };
}

/** Events as `observe` prints them, one by one (`-o json`) or as they came (`-o jsonpb`). */
export class Observer extends Command {
  readonly events: EventLine[] = [];
  accepted: BatchLine['accepted'];

  constructor(
    bus: { readonly grpc: string; readonly brokerDir: string },
    args: readonly string[],
    format: 'json' | 'jsonpb' = 'json',
  ) {
    const env = { BACKPLANE_BROKERS: bus.grpc, BACKPLANE_TOKEN_FILE: tokenFile(bus.brokerDir) };
    super(['observe', '-o', format, ...args], env);
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      if (format === 'json') this.events.push(JSON.parse(line) as EventLine);
      else this.#take(JSON.parse(line) as BatchLine);
    });
  }

  /** The cursor that it ended with. */
  get cursor(): string {
    return /--cursor (\S+)/.exec(this.stderr)?.[1] ?? '';
  }

  #take({ accepted, events: batch }: BatchLine): void {
    this.accepted ??= accepted;
    for (const event of batch?.events ?? []) this.events.push({ ...event, node: batch!.node, topic: batch!.topic });
  }

  async sees(match: (event: EventLine) => boolean, deadlineMs = PATIENCE_MS): Promise<EventLine> {
    const until = Date.now() + deadlineMs;
    for (;;) {
      const found = this.events.find(match);
      if (found) return found;
      if (Date.now() > until || this.child.exitCode !== null) {
        throw new Error(`not seen within ${deadlineMs} ms among ${this.events.length} events; stderr: ${this.stderr}`);
      }
      await sleep(10);
    }
  }
}

/** `backplane up` with a directory that outlives it. */
export class Bus {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  grpc = '';
  http = '';
  up!: Command;

  static async start(env: NodeJS.ProcessEnv = {}): Promise<Bus> {
    const bus = new Bus();
    bus.grpc = `127.0.0.1:${await freePort()}`;
    bus.http = `127.0.0.1:${await freePort()}`;
    await bus.start(env);
    return bus;
  }

  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    this.up = new Command(['up'], {
      BACKPLANE_DATA_DIR: this.dataDir,
      BACKPLANE_GRPC_LISTEN: this.grpc,
      BACKPLANE_HTTP_LISTEN: this.http,
      BACKPLANE_NODE_NAME: 'node-under-test',
      BACKPLANE_LOG_LEVEL: 'warn',
      ...env,
    });
    await this.up.says(/backplane observe/);
  }

  /** The broker's data directory: that of `up`. */
  get brokerDir(): string {
    return this.dataDir;
  }

  /** Of the HTTP API, with the token. */
  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.http}${path}`, { ...init, headers: bearer(this.brokerDir) });
  }

  observe(...args: string[]): Observer {
    return new Observer(this, args);
  }

  /** As observe() with `--follow`, once the node has answered: what happens from here on is seen. */
  async follow(...args: string[]): Promise<Observer> {
    const until = Date.now() + PATIENCE_MS;
    for (;;) {
      const observer = new Observer(this, ['--follow', ...args], 'jsonpb');
      while (observer.accepted === undefined && observer.child.exitCode === null && Date.now() < until) await sleep(20);
      if (observer.accepted?.nodes.length === 1) return observer;
      // The agent was still on its way, or too slow to answer.
      await observer.stop('SIGKILL');
      if (Date.now() > until)
        throw new Error(`no node answers: ${this.up.stdout} ${this.up.stderr} ${observer.stderr}`);
    }
  }

  /** The agent's pid: the only child of `up`. */
  async agentPid(): Promise<number> {
    const { readFileSync } = await import('node:fs');
    const children = readFileSync(`/proc/${this.up.child.pid}/task/${this.up.child.pid}/children`, 'utf8').trim();
    return Number(children.split(' ')[0]);
  }

  async destroy(): Promise<void> {
    await this.up.stop();
    await Command.killAll();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
