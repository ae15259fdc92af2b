/**
 * When the kernel's buffers are read next. Each reading costs much the same however much it finds, so events gather: for
 * as long as nobody waits for them, or subscribers wish, unless the buffers fill before. Where there was nothing for a
 * while they are read less often, until there is something; so they are where there is much, and nobody is in a hurry.
 */
import {
  DRAIN_FILLED_SHARE,
  LEAST_LINGER_MS_MAX,
  LINGER_BEHIND_MS,
  LINGER_LOADED_BYTES_PER_SECOND,
  LINGER_LOADED_FACTOR,
  LINGER_PATHS_MS,
  LINGER_QUIET_AFTER_MS,
  LINGER_QUIET_FACTOR,
} from '../limits.js';
import type { AgentOptions } from './agent-options.js';
import type { DrainResult } from './source/source.js';

/** What the agent is doing. */
export interface Doing {
  readonly live: boolean;
  /** Reading the recorder again, a step each time. */
  readonly behind: boolean;
  /** As behind, within a share of a core: when the next step is due. Undefined: not so. */
  readonly restMs?: number | undefined;
  /** Looking up where descriptors lead to: that must be soon, before files are closed. */
  readonly paths: boolean;
}

export class DrainPace {
  /** How soon subscribers want live events; 0: as the settings say. */
  #wishedMs = 0;
  /** How long live events gather at least, whatever is wished: so that the agent takes less, and so that its broker does. */
  #gatherMs = 0;
  #leastMs = 0;
  #drainedMs: number | undefined;
  /** When a drain last found something. */
  #foundMs = 0;
  /** Whether as much came since the drain before as is a load. */
  #isLoaded = false;
  /** In what time the buffers fill to the share that is allowed, at the pace of the last drains. */
  #fillsMs = Number.POSITIVE_INFINITY;

  readonly #live: AgentOptions['live'];
  readonly #idleMs: number;
  readonly #onGather: (ms: number) => void;

  /**
   * @param idleMs while nobody listens
   * @param onGather told how long live events gather at least, beyond a drain, whenever that changes
   */
  constructor(live: AgentOptions['live'], idleMs: number, onGather: (ms: number) => void = () => undefined) {
    this.#live = live;
    this.#idleMs = idleMs;
    this.#onGather = onGather;
  }

  wish(lingerMs: number): void {
    this.#wishedMs = lingerMs;
  }

  /** Buffers are read no more often than this while somebody listens, but as often as while nobody does. */
  gather(ms: number): void {
    this.#gatherMs = ms;
    this.#onGather(this.gatherMs);
  }

  /** The same, as the broker says. */
  least(ms: number): void {
    this.#leastMs = Math.min(ms, LEAST_LINGER_MS_MAX);
    this.#onGather(this.gatherMs);
  }

  /** How long live events gather at least, beyond a drain. */
  get gatherMs(): number {
    return Math.max(this.#gatherMs, this.#leastMs);
  }

  /** After each drain, whatever it was for, at `nowMs` (monotonic). */
  drained({ pages, bytes, filled }: Pick<DrainResult, 'pages' | 'bytes' | 'filled'>, nowMs: number): void {
    const sinceMs = this.#drainedMs === undefined ? 0 : nowMs - this.#drainedMs;
    this.#drainedMs = nowMs;
    if (pages > 0 || filled > 0) this.#foundMs = nowMs;
    if (sinceMs > 0) this.#isLoaded = (bytes * 1000) / sinceMs >= LINGER_LOADED_BYTES_PER_SECOND;
    if (filled > 0 && sinceMs > 0) this.#fillsMs = Math.min(this.#fillsMs, (sinceMs * DRAIN_FILLED_SHARE) / filled);
  }

  /** Milliseconds until the next drain. */
  next(doing: Doing): number {
    const waitMs = Math.min(this.#wantedMs(doing), this.#fillsMs);
    this.#fillsMs = Number.POSITIVE_INFINITY;
    return waitMs;
  }

  #wantedMs({ live, behind, restMs, paths }: Doing): number {
    if (!live) return this.#idleMs;
    const pathsMs = paths ? LINGER_PATHS_MS : Number.POSITIVE_INFINITY;
    if (behind) return restMs === undefined ? LINGER_BEHIND_MS : Math.min(pathsMs, Math.max(LINGER_BEHIND_MS, restMs));
    const { lingerMs, lingerMsMin } = this.#live;
    const wishedMs = this.#wishedMs === 0 ? lingerMs : Math.min(lingerMs, Math.max(lingerMsMin, this.#wishedMs));
    const loadedMs =
      this.#isLoaded && this.#wishedMs === 0 ? Math.min(LINGER_LOADED_FACTOR * wishedMs, this.#idleMs) : 0;
    const quietMs = this.#isQuiet ? Math.min(LINGER_QUIET_FACTOR * wishedMs, this.#idleMs) : 0;
    return Math.min(pathsMs, Math.max(wishedMs, quietMs, loadedMs, Math.min(this.gatherMs, this.#idleMs)));
  }

  get #isQuiet(): boolean {
    return (this.#drainedMs ?? 0) - this.#foundMs >= LINGER_QUIET_AFTER_MS;
  }
}
