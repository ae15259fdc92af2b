/** A trace instance, with what reads its pages and what keeps it as it should be. */
import type { Disturbance, DrainResult } from '../source.js';
import { PageDrain, type PageSink } from './drain.js';
import { type InstanceSettings, TraceInstance } from './instance.js';
import { InstanceWatch } from './instance-watch.js';

export class ReadInstance {
  readonly instance: TraceInstance;
  readonly #drain: PageDrain;
  readonly #watch: InstanceWatch;
  #closed = false;

  /**
   * Throws `failed_precondition` as TraceInstance does.
   * @param missing what may be missing when somebody changed it, for people
   * @param nowNs trace clock
   */
  constructor(tracefs: string, settings: InstanceSettings, missing: string, nowNs: () => bigint) {
    const instance = new TraceInstance(tracefs, settings);
    this.instance = instance;
    const descriptors = new Map(instance.lanes.map((lane) => [lane, instance.openPages(lane)]));
    const overrun = (lane: number) => instance.laneStats(lane).overrun;
    this.#drain = new PageDrain(descriptors, { ...instance.buffers, nowNs, overrun });
    this.#watch = new InstanceWatch({
      instance,
      title: 'the trace instance',
      missing,
      loses: false,
      entriesRead: () => this.#drain.entriesRead,
      readsMeanwhile: false,
      onEmptied: () => this.#drain.restarted(),
      nowNs,
    });
  }

  run(sink: PageSink): DrainResult {
    return this.#drain.run(sink);
  }

  look(nowMs: number): Disturbance | undefined {
    return this.#watch.look(nowMs);
  }

  /** The agent itself did what empties the buffer. */
  emptiedByUs(): void {
    this.#watch.emptiedByUs();
  }

  /** Leaves the instance, recording, to the next agent. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.close();
    this.#drain.close();
  }

  /** Removes the instance, with what was not read. Idempotent. */
  remove(): void {
    this.close();
    this.instance.removeSync();
  }
}
