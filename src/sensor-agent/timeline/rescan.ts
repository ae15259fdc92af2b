/**
 * After the kernel overwrote events, processes may run whose fork or exec
 * nobody saw: /proc is read again, a little at a time, because events were lost
 * for want of time in the first place.
 */
import { RESCAN_INTERVAL_MS, RESCAN_SLICE_MS } from '../../limits.js';
import type { Recorder } from '../recorder/recorder.js';
import { ProcessReader } from '../source/process-reader.js';
import type { ProcessSnapshot } from '../source/source.js';

export class Rescan {
  readonly #reader = new ProcessReader();
  #scan: Generator<ProcessSnapshot> | undefined;
  #lostBefore: number;
  #beganMs = Number.NEGATIVE_INFINITY;

  readonly #recorder: Recorder;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
    this.#lostBefore = recorder.entriesLost;
  }

  /** Called with every round of the agent. */
  step(nowMs: number): void {
    if (!this.#scan) {
      const { entriesLost } = this.#recorder;
      if (entriesLost === this.#lostBefore || nowMs - this.#beganMs < RESCAN_INTERVAL_MS) return;
      this.#lostBefore = entriesLost;
      this.#beganMs = nowMs;
      this.#scan = this.#reader.scan();
    }
    const processes: ProcessSnapshot[] = [];
    const until = performance.now() + RESCAN_SLICE_MS;
    while (performance.now() < until) {
      const { value, done } = this.#scan.next();
      if (done) {
        this.#scan = undefined;
        break;
      }
      processes.push(value);
    }
    if (processes.length > 0) this.#recorder.snapshot(processes);
  }
}
