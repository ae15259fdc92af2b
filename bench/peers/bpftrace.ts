/** bpftrace printing the events that Backplane records by default: the tool that a user would take instead. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const TRACEPOINTS = [
  'sched:sched_process_exec',
  'sched:sched_process_exit',
  'task:task_newtask',
  'task:task_rename',
  'signal:signal_generate',
  'sock:inet_sock_set_state',
];
const EVENTS = TRACEPOINTS.map((name) => `tracepoint:${name} { printf("%s %d %s\\n", probe, pid, comm); }`).join('\n');

export function bpftraceIsInstalled(): boolean {
  return spawnSync('bpftrace', ['--version']).status === 0;
}

/** What it prints of processes, with their arguments. */
const EXECS = fileURLToPath(new URL('../../../bench/exec.bt', import.meta.url));
/** More than it prints before its probes are attached. */
const ATTACHED_BYTES = 200;

/** A running bpftrace that prints to a file. Its probes are attached: it has printed a program that was run. */
export class Bpftrace {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = new Promise((resolve) => child.on('close', resolve));
  }

  /** Prints all events that Backplane records by default, without arguments. */
  static printingEvents(): Promise<Bpftrace> {
    return Bpftrace.#printing('-e', EVENTS);
  }

  /** Prints programs with their arguments: exec.bt. */
  static printingExecs(): Promise<Bpftrace> {
    return Bpftrace.#printing(EXECS);
  }

  static async #printing(...program: string[]): Promise<Bpftrace> {
    const dir = mkdtempSync(join(tmpdir(), 'backplane-bpftrace-'));
    const path = join(dir, 'printed');
    const file = openSync(path, 'w');
    const tool = new Bpftrace(spawn('bpftrace', ['-B', 'line', ...program], { stdio: ['ignore', file, 'ignore'] }));
    void tool.#closed.then(() => rmSync(dir, { recursive: true, force: true }));
    closeSync(file);
    while (statSync(path).size < ATTACHED_BYTES) {
      execFileSync('/bin/true');
      await sleep(50);
    }
    return tool;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGINT');
    await this.#closed;
  }
}
