/**
 * When the kernel's buffers are read next. Each reading costs much the same however much it finds, so events gather: for
 * as long as nobody waits for them, or subscribers wish, unless the buffers fill before.
 */
import { DRAIN_FILLED_SHARE, LINGER_BEHIND_MS, LINGER_PATHS_MS } from '../limits.js';
import type { AgentOptions } from './agent-options.js';

/** What the agent is doing. */
export interface Doing {
  readonly live: boolean;
  /** Reading the recorder again, a step each time. */
  readonly behind: boolean;
  /** Looking up where descriptors lead to: that must be soon, before files are closed. */
  readonly paths: boolean;
}

export class DrainPace {
  /** How soon subscribers want live events; 0: as the settings say. */
  #wishedMs = 0;
  #drainedMs: number | undefined;
  /** In what time the buffers fill to the share that is allowed, at the pace of the last drains. */
  #fillsMs = Number.POSITIVE_INFINITY;

  readonly #live: AgentOptions['live'];
  readonly #idleMs: number;

  /** `idleMs`: while nobody listens. */
  constructor(live: AgentOptions['live'], idleMs: number) {
    this.#live = live;
    this.#idleMs = idleMs;
  }

  wish(lingerMs: number): void {
    this.#wishedMs = lingerMs;
  }

  /** After each drain, whatever it was for: at `nowMs` (monotonic), with `filled` of the fullest buffer in use (0 to 1). */
  drained(filled: number, nowMs: number): void {
    const sinceMs = this.#drainedMs === undefined ? 0 : nowMs - this.#drainedMs;
    this.#drainedMs = nowMs;
    if (filled > 0 && sinceMs > 0) this.#fillsMs = Math.min(this.#fillsMs, (sinceMs * DRAIN_FILLED_SHARE) / filled);
  }

  /** Milliseconds until the next drain. */
  next(doing: Doing): number {
    const waitMs = Math.min(this.#wantedMs(doing), this.#fillsMs);
    this.#fillsMs = Number.POSITIVE_INFINITY;
    return waitMs;
  }

  #wantedMs({ live, behind, paths }: Doing): number {
    if (!live) return this.#idleMs;
    if (behind) return LINGER_BEHIND_MS;
    const { lingerMs, lingerMsMin } = this.#live;
    const usualMs = paths ? Math.min(lingerMs, LINGER_PATHS_MS) : lingerMs;
    return this.#wishedMs === 0 ? usualMs : Math.min(usualMs, Math.max(lingerMsMin, this.#wishedMs));
  }
}
