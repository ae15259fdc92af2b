/** Members of a group, each a process that notes what it was given (worker.ts). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keepOutput } from '../cluster/kept-output.js';
import { until } from '../until.js';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));

export interface MembersOptions {
  /** One or several, comma-separated. */
  readonly broker: string;
  readonly brokerDir: string;
  readonly group: string;
  /** Where the members note what they do. */
  readonly dir: string;
  readonly commitMs: number;
  /** How long a slow member does nothing. */
  readonly slowMs: number;
  /** Nodes whose events it asks for; all by default. */
  readonly nodes?: readonly string[];
  /** How far back the group begins; 1h by default. */
  readonly since?: string;
  /** What stands before its command. */
  readonly enter?: readonly string[];
}

export type Line =
  | { readonly kind: 'a' | 'r' | 'f'; readonly ms: number; readonly slice: number; readonly epoch: number }
  | {
      readonly kind: 'd';
      readonly ms: number;
      readonly slice: number;
      readonly epoch: number;
      readonly node: string;
      readonly numbers: readonly number[];
    }
  | {
      readonly kind: 'c';
      readonly ms: number;
      readonly slices: readonly (readonly [number, number, number])[];
      readonly askedMs: number;
    }
  | { readonly kind: 'g'; readonly ms: number; readonly text: string };

export class MemberProcess {
  stderr = '';
  starts = 0;
  #child: ChildProcess | undefined;
  #ending = false;
  /** Ends of the process that nobody caused. */
  readonly unexpected: string[] = [];
  readonly file: string;
  readonly #options: MembersOptions;
  #read = 0;
  #rest = '';
  readonly #lines: Line[] = [];
  readonly #reached = new Map<string, number>();

  constructor(
    readonly name: string,
    options: MembersOptions,
  ) {
    this.#options = options;
    this.file = join(options.dir, `member-${name}`);
  }

  start(): void {
    const { broker, brokerDir, group, commitMs, slowMs, nodes = [], since = '1h', enter = [] } = this.#options;
    this.#ending = false;
    this.starts++;
    const times = [commitMs, slowMs].map(String);
    const args = [WORKER, broker, brokerDir, group, this.file, ...times, since, nodes.join(',')];
    const [command, ...before] = [...enter, process.execPath];
    const child = spawn(command!, [...before, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-4096);
      keepOutput(`member-${this.name}.log`, text);
    });
    child.once('close', (code, signal) => {
      if (!this.#ending)
        this.unexpected.push(`member ${this.name} ended (${signal ?? code}): ${this.stderr.slice(-500)}`);
    });
    this.#child = child;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** It does nothing for a while, as soon as it has begun so far that it can be told. */
  async beSlow(): Promise<void> {
    const caught = (pid: number) => {
      const [, mask = '0'] = /^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
      return (BigInt(`0x${mask}`) >> BigInt(constants.signals.SIGUSR2 - 1)) & 1n;
    };
    await until(
      `that member ${this.name} runs`,
      () => this.#child?.exitCode !== null || caught(this.#child.pid!) === 1n,
    );
    this.signal('SIGUSR2');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#ending = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
  }

  /** All that it has noted so far; a line that a kill cut short is not there. */
  lines(): readonly Line[] {
    if (!existsSync(this.file)) return this.#lines;
    const { size } = statSync(this.file);
    if (size === this.#read) return this.#lines;
    const bytes = Buffer.alloc(size - this.#read);
    const fd = openSync(this.file, 'r');
    this.#read += readSync(fd, bytes, 0, bytes.length, this.#read);
    closeSync(fd);
    const parts = (this.#rest + bytes.toString()).split('\n');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) {
      const line = lineOf(JSON.parse(part));
      this.#lines.push(line);
      if (line.kind === 'd')
        this.#reached.set(line.node, Math.max(this.#reached.get(line.node) ?? -1, ...line.numbers));
    }
    return this.#lines;
  }

  /** The last number of a node that it processed; -1 before the first. */
  reached(node: string): number {
    this.lines();
    return this.#reached.get(node) ?? -1;
  }
}

function lineOf([kind, ms, ...rest]: [string, number, ...unknown[]]): Line {
  if (kind === 'g') return { kind, ms, text: String(rest[0]) };
  if (kind === 'c') return { kind, ms, slices: rest[0] as [number, number, number][], askedMs: Number(rest[1]) };
  const [slice, epoch, node, numbers] = rest as [number, number, string, number[]];
  if (kind === 'd') return { kind, ms, slice, epoch, node, numbers };
  return { kind: kind as 'a' | 'r' | 'f', ms, slice, epoch };
}
