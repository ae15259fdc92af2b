/**
 * After the kernel overwrote events, processes may run whose fork or exec
 * nobody saw, and after it did not run a probe, ones whose user is another by
 * now: /proc is read again, a little at a time, because events were lost for
 * want of time in the first place.
 */
import { RESCAN_INTERVAL_MS, RESCAN_SLICE_MS } from '../../limits.js';
import type { Recorder } from '../recorder/recorder.js';
import { ProcessReader } from '../source/process-reader.js';
import type { ProcessSnapshot } from '../source/source.js';

export class Rescan {
  readonly #reader = new ProcessReader();
  #scan: Generator<ProcessSnapshot> | undefined;
  #lossesBefore: number;
  #isWanted = false;
  #beganMs = Number.NEGATIVE_INFINITY;

  readonly #recorder: Recorder;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
    this.#lossesBefore = recorder.losses;
  }

  /** What is known of processes may be of before. */
  want(): void {
    this.#isWanted = true;
  }

  /** Called with every round of the agent. */
  step(nowMs: number): void {
    if (!this.#scan) {
      const { losses } = this.#recorder;
      if (losses === this.#lossesBefore && !this.#isWanted) return;
      if (nowMs - this.#beganMs < RESCAN_INTERVAL_MS) return;
      this.#lossesBefore = losses;
      this.#isWanted = false;
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
