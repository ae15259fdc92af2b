/**
 * The exec lane: a second trace instance with nothing but execs, read by
 * worker threads that block until one happens and read /proc/PID at once.
 * They never wake this thread: it takes what they read when it drains.
 * One worker per CPU up to EXEC_WORKERS_MAX; on larger machines one worker
 * polls all CPUs every 2 ms, which sees fewer of the shortest processes. So it
 * does on kernels that do not release a blocked reader when its file is closed.
 */
import { closeSync, openSync } from 'node:fs';
import { release } from 'node:os';
import { Worker } from 'node:worker_threads';
import { EXEC_BUFFER_BYTES_PER_CPU, EXEC_WORKERS_MAX, KiB, PAGE_AHEAD_NS_MAX } from '../../../limits.js';
import { parseFormat } from '../pages/format.js';
import type { Disturbance, ExecRecord, SourceSink } from '../source.js';
import { TraceInstance } from '../tracefs/instance.js';
import { InstanceWatch } from '../tracefs/instance-watch.js';
import { readExecEntry } from './exec-entry.js';
import { DESCRIPTORS, type ExecLaneTask, READ, STOP } from './exec-lane-task.js';
import { execRecord } from './exec-record.js';
import { ExecRing } from './exec-ring.js';

const EVENT = 'sched/sched_process_exec';
/** Losses are told at most this often. */
const NOTE_INTERVAL_MS = 1000;
/** Bound on waiting for workers, which may be in the middle of their last visit. */
const STOP_MS_MAX = 2000;

export class ExecLane {
  readonly #instance: TraceInstance;
  readonly #workers: Worker[] = [];
  readonly #rings: ExecRing[] = [];
  readonly #state: Int32Array<SharedArrayBuffer>;
  #watch: InstanceWatch | undefined;
  /** Entries that the threads have read, and their counter when it was looked at. */
  #read = { entries: 0, counter: 0 };
  #lost = 0;
  #lostUnknown = false;
  #notedMs = 0;

  readonly #sink: SourceSink;
  /** Trace clock. */
  readonly #nowNs: () => bigint;

  /** Makes (or adopts) instance `name`; throws `failed_precondition` when the kernel refuses. */
  constructor(tracefs: string, name: string, sink: SourceSink, nowNs: () => bigint) {
    this.#sink = sink;
    this.#nowNs = nowNs;
    this.#instance = new TraceInstance(tracefs, {
      name,
      bufferBytesPerCpu: EXEC_BUFFER_BYTES_PER_CPU,
      subBufferBytes: 4 * KiB,
      events: [EVENT],
      wakeAtOnce: true,
    });
    const lanes = this.#instance.lanes;
    this.#state = new Int32Array(new SharedArrayBuffer(4 * (DESCRIPTORS + lanes[lanes.length - 1]! + 1))).fill(-1);
    this.#state.fill(0, 0, DESCRIPTORS);
    try {
      this.#watch = new InstanceWatch({
        instance: this.#instance,
        title: 'the trace instance',
        missing: 'arguments of programs',
        loses: false,
        entriesRead: () => this.#entriesRead(),
        readsMeanwhile: true,
        onEmptied: () => undefined,
        nowNs,
      });
      this.#start(lanes);
    } catch (cause) {
      this.stopSync();
      throw cause;
    }
  }

  /** Tells what the workers have read since the last call. Called with every drain of the pages. */
  drain(): void {
    const latestNs = this.#nowNs() + PAGE_AHEAD_NS_MAX;
    for (const ring of this.#rings) {
      ring.drain((entry) => this.#tell(execRecord(readExecEntry(entry)), latestNs));
      const { count, unknown } = ring.takeLost();
      this.#lost += count;
      this.#lostUnknown ||= unknown;
    }
    if (Date.now() - this.#notedMs >= NOTE_INTERVAL_MS) this.#tellLost();
  }

  /** The change that somebody else made to the instance, where that is noticed. */
  look(nowMs: number): Disturbance | undefined {
    return this.#watch?.look(nowMs);
  }

  /** Closes the workers' files, which ends their reads, and removes the instance once they are gone. */
  async stop(): Promise<void> {
    const exits = this.#workers.map((worker) => new Promise((done) => worker.once('exit', done)));
    const plugs = this.#release();
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise((done) => {
      timer = setTimeout(done, STOP_MS_MAX);
    });
    this.#watch?.close();
    await Promise.race([Promise.all(exits), timeout]);
    clearTimeout(timer);
    this.#workers.length = 0;
    this.drain();
    plugs.forEach(closeSync);
    this.#instance.removeSync();
    this.#tellLost();
  }

  /** Stops without waiting, in a process's last moments. */
  stopSync(): void {
    this.#watch?.close();
    this.#release();
    this.#instance.removeSync();
  }

  /**
   * Passes a record on unless its time lies ahead: then somebody has set another trace clock, the time belongs to no
   * exec, and the exec goes on without its arguments.
   */
  #tell(record: ExecRecord, latestNs: bigint): void {
    if (record.timeNs <= latestNs) this.#sink.exec(record);
  }

  #entriesRead(): number {
    const counter = Atomics.load(this.#state, READ);
    this.#read.entries += (counter - this.#read.counter) >>> 0;
    this.#read.counter = counter;
    return this.#read.entries;
  }

  #start(cpus: readonly number[]): void {
    const format = parseFormat(EVENT, this.#instance.formatText(EVENT));
    const blocking = cpus.length <= EXEC_WORKERS_MAX && releasesReaders(release());
    const lanes = cpus.map((lane) => ({ lane, path: this.#instance.pagesPath(lane) }));
    const pageBytes = this.#instance.subBufferBytes;
    const common = { blocking, pageBytes, eventId: format.id, fields: format.fields, state: this.#state.buffer };
    if (!blocking) this.#spawn({ ...common, lanes, cpuList: '' });
    else
      for (const lane of lanes) {
        const cpuList = cpus.filter((cpu) => cpu !== lane.lane).join(',');
        this.#spawn({ ...common, lanes: [lane], cpuList });
      }
  }

  #spawn(orders: Omit<ExecLaneTask, 'ring'>): void {
    const task: ExecLaneTask = { ...orders, ring: ExecRing.memory() };
    this.#rings.push(new ExecRing(task.ring));
    const worker = new Worker(new URL('./exec-lane-worker.js', import.meta.url), {
      workerData: task,
      execArgv: [],
      env: {},
      // Descriptors are closed by whoever exchanges them (see ExecLaneTask), never by number at a thread's end.
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: 24, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
    });
    worker.on('error', (cause: Error) => {
      const lanes = task.lanes.map(({ lane }) => lane).join(', ');
      this.#sink.note('exec_lane_failed', `no arguments from CPU ${lanes} any more: ${cause.message}`);
    });
    // The agent's other work keeps the process running; this thread alone should not.
    worker.unref();
    this.#workers.push(worker);
  }

  #tellLost(): void {
    if (this.#lost === 0 && !this.#lostUnknown) return;
    const count = this.#lostUnknown ? `at least ${this.#lost}` : String(this.#lost);
    this.#sink.note('exec_lane_lost', `${count} execs came faster than their arguments could be read`);
    this.#lost = 0;
    this.#lostUnknown = false;
    this.#notedMs = Date.now();
  }

  /**
   * Ends the workers. A worker about to read must not find another file under
   * its descriptor's number, so /dev/null takes the numbers until all are gone.
   */
  #release(): number[] {
    Atomics.store(this.#state, STOP, 1);
    Atomics.notify(this.#state, STOP);
    const plugs: number[] = [];
    for (let at = DESCRIPTORS; at < this.#state.length; at++) {
      const fd = Atomics.exchange(this.#state, at, -1);
      if (fd < 0) continue;
      closeSync(fd);
      plugs.push(openSync('/dev/null', 'r'));
    }
    return plugs;
  }
}

/**
 * Whether closing a trace_pipe_raw wakes its blocked reader (a commit of March
 * 2024, "tracing: Use .flush() call to wake up readers").
 */
export function releasesReaders(kernelRelease: string): boolean {
  const [major = 0, minor = 0, patch = 0] = kernelRelease.split(/[.-]/).map(Number);
  const patches: Record<string, number> = { '5.15': 153, '6.1': 83, '6.6': 23, '6.8': 2 };
  const since = patches[`${major}.${minor}`];
  return since !== undefined ? patch >= since : major > 6 || (major === 6 && minor >= 9);
}
