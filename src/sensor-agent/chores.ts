/** What an agent does now and then beside recording, and when each of it is due. */
import {
  CLOCK_INTERVAL_MS,
  GUARD_INTERVAL_MS,
  HOUSEKEEPING_INTERVAL_MS,
  LOSS_INTERVAL_MS,
  NODE_REPORT_INTERVAL_MS,
  RECORDER_SYNC_INTERVAL_MS,
} from '../limits.js';

const INTERVALS_MS = {
  look: HOUSEKEEPING_INTERVAL_MS,
  guard: GUARD_INTERVAL_MS,
  loss: LOSS_INTERVAL_MS,
  clock: CLOCK_INTERVAL_MS,
  report: NODE_REPORT_INTERVAL_MS,
  sync: RECORDER_SYNC_INTERVAL_MS,
};
export type Chore = keyof typeof INTERVALS_MS;

export class Chores {
  /** Milliseconds: agents of a fleet that began together must not do all of it at the same moments for ever. */
  readonly #doneMs = Object.fromEntries(
    Object.entries(INTERVALS_MS).map(([chore, ms]) => [chore, performance.now() - Math.random() * ms]),
  ) as Record<Chore, number>;

  /** Whether it is to be done at `nowMs`; then it counts as done. */
  isDue(chore: Chore, nowMs: number): boolean {
    if (nowMs - this.#doneMs[chore] < INTERVALS_MS[chore]) return false;
    this.#doneMs[chore] = nowMs;
    return true;
  }
}
