/**
 * What `/proc/PID/cmdline` has, read so that no process keeps the calling thread waiting. The kernel takes it from the
 * process's memory, and waits for the lock of that: a process holds it while it maps a file of a filesystem that does not
 * answer, of a user's own (FUSE) or of a server that is gone (NFS). So threads of their own read, and one that does not
 * come back in time is left to its process. Of the other files in `/proc/PID` none waits for that lock.
 */
import { Worker } from 'node:worker_threads';
import { COMMAND_LINE_MS_MAX, COMMAND_LINE_THREAD_MS_MAX, COMMAND_LINE_THREADS_MAX } from '../../../limits.js';
import {
  ANSWERS,
  bytesOf,
  type CommandLineTask,
  GONE,
  headOf,
  LENGTH,
  MEMORY_BYTES,
  PID,
  REQUESTS,
} from './command-line-task.js';

/** No process has this number. */
const NOBODY = 0;

export class CommandLines {
  readonly #threads: Thread[] = [];
  readonly #folder: string;
  readonly #waitMs: number;
  #endsWithProcess = false;

  /** Of another folder in tests, which do not wait as long. */
  constructor(folder = '/proc', waitMs = COMMAND_LINE_MS_MAX) {
    this.#folder = folder;
    this.#waitMs = waitMs;
  }

  /** Whether a process keeps a thread waiting. */
  get waits(): boolean {
    return this.#threads.some(({ waits }) => waits);
  }

  /** What is not read, in a sentence; undefined: nothing. */
  get problem(): string | undefined {
    const waiting = this.#threads.filter(({ waits }) => waits).length;
    if (waiting === 0) return undefined;
    const some = waiting === 1 ? 'a process keeps' : `${waiting} processes keep`;
    const why = `${some} whoever looks into its memory waiting, as one does that maps a file of a filesystem that does not answer`;
    const whose = waiting < COMMAND_LINE_THREADS_MAX ? ' of it' : '';
    return `${why}: no arguments${whose} are read from /proc, and no dynamic linker gets a probe`;
  }

  /** Begins a thread, so that the first who reads need not wait for it. */
  begin(): void {
    this.#idle();
  }

  /** Returns how many bytes it has read; undefined where the process is gone or cannot be read. `into`: ARGUMENTS_BYTES_MAX. */
  read(pid: number, into: Buffer): number | undefined {
    if (this.#threads.some((thread) => thread.waits && thread.pid === pid)) return undefined;
    const thread = this.#idle();
    const length = thread?.read(pid, into, this.#waitMs);
    if (thread?.waits) this.#leave();
    return length;
  }

  #idle(): Thread | undefined {
    const idle = this.#threads.find(({ waits }) => !waits);
    // One that has never answered will not as another thread either.
    const canMake = this.#threads.length < COMMAND_LINE_THREADS_MAX && this.#threads.every(({ works }) => works);
    if (idle !== undefined || !canMake) return idle;
    const made = new Thread(this.#folder);
    this.#threads.push(made);
    return made;
  }

  /** Nobody can end a thread that waits so: a process that joins it would never end. Called last, as it was added last. */
  #leave(): void {
    if (this.#endsWithProcess) return;
    this.#endsWithProcess = true;
    process.once('exit', () => {
      if (this.waits) process.kill(process.pid, 'SIGKILL');
    });
  }
}

/** Of this process, as its threads are. */
export const COMMAND_LINES = new CommandLines();

class Thread {
  readonly #head: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Buffer<SharedArrayBuffer>;
  /** The last one that it was asked to read. */
  pid = NOBODY;
  /** Whether it has ever answered. */
  works = false;

  constructor(folder: string) {
    const memory = new SharedArrayBuffer(MEMORY_BYTES);
    this.#head = headOf(memory);
    this.#bytes = bytesOf(memory);
    const task: CommandLineTask = { memory, folder };
    const worker = new Worker(new URL('./command-line-worker.js', import.meta.url), {
      workerData: task,
      execArgv: [],
      env: {},
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
    });
    // It answers no more, which is found out.
    worker.on('error', () => undefined);
    worker.unref();
  }

  /** Between two reads: whether it has not come back from one. */
  get waits(): boolean {
    return Atomics.load(this.#head, ANSWERS) !== Atomics.load(this.#head, REQUESTS);
  }

  read(pid: number, into: Buffer, waitMs: number): number | undefined {
    // It has to begin, which takes longer.
    this.works ||= this.#ask(NOBODY, COMMAND_LINE_THREAD_MS_MAX);
    if (!this.works || !this.#ask(pid, waitMs)) return undefined;
    const length = Atomics.load(this.#head, LENGTH);
    if (length === GONE) return undefined;
    this.#bytes.copy(into, 0, 0, length);
    return length;
  }

  /** Whether it answered in time. */
  #ask(pid: number, waitMs: number): boolean {
    const head = this.#head;
    const before = Atomics.load(head, ANSWERS);
    this.pid = pid;
    Atomics.store(head, PID, pid);
    Atomics.add(head, REQUESTS, 1);
    Atomics.notify(head, REQUESTS);
    return Atomics.wait(head, ANSWERS, before, waitMs) !== 'timed-out';
  }
}
