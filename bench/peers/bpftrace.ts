/** bpftrace printing the events that Backplane records by default: the tool that a user would take instead. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const TRACEPOINTS = [
  'sched:sched_process_exec',
  'sched:sched_process_exit',
  'task:task_newtask',
  'task:task_rename',
  'signal:signal_generate',
  'sock:inet_sock_set_state',
];
const EVENTS = TRACEPOINTS.map((name) => `tracepoint:${name} { printf("%s %d %s\\n", probe, pid, comm); }`).join('\n');
const ARGUMENTS = 'tracepoint:syscalls:sys_enter_execve { printf("%d ", pid); join(args->argv); }';

export function bpftraceIsInstalled(): boolean {
  return spawnSync('bpftrace', ['--version']).status === 0;
}

export class Bpftrace {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(script: string) {
    this.#child = spawn('bpftrace', ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.stdout!.resume();
    this.#closed = new Promise((resolve) => this.#child.on('close', resolve));
  }

  /** Resolves when its probes are attached. Its output, a pipe, says nothing before the first event: so after 3 s. */
  static async start(withArguments: boolean): Promise<Bpftrace> {
    const tool = new Bpftrace(withArguments ? `${ARGUMENTS}\n${EVENTS}` : EVENTS);
    await sleep(3_000);
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
