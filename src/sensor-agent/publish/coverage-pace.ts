/**
 * How often a topic that has nothing to tell says so: soon after it told something, less often the longer it has not,
 * whatever other topics tell.
 */
import { COVERAGE_INTERVAL_MS, COVERAGE_INTERVAL_MS_MAX } from '../../limits.js';

export class CoveragePace {
  #intervalMs = COVERAGE_INTERVAL_MS;
  #statedMs = Number.NEGATIVE_INFINITY;

  /** There is something to tell or to count, or more may be asked for than before. */
  wake(): void {
    this.#intervalMs = COVERAGE_INTERVAL_MS;
  }

  isDue(nowMs: number): boolean {
    return nowMs - this.#statedMs >= this.#intervalMs;
  }

  /** Where another topic is due: whether this one goes along, so that they do not come one by one. */
  goesAlong(nowMs: number): boolean {
    return nowMs - this.#statedMs >= this.#intervalMs / 2;
  }

  /** A frame is sent at `nowMs`; `tells`: not only that there was nothing. */
  stated(nowMs: number, tells: boolean): void {
    this.#statedMs = nowMs;
    this.#intervalMs = tells ? COVERAGE_INTERVAL_MS : Math.min(2 * this.#intervalMs, COVERAGE_INTERVAL_MS_MAX);
  }
}
