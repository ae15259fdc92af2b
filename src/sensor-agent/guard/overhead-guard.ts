/**
 * Decides how much of its work an agent gives up because it takes more of the
 * machine than it may. The level goes one step up after a whole window over a
 * bound, and one step down after a longer time well below both bounds. A long
 * start shows a slow machine, so being busy for some time after the start is no
 * overload.
 */
import { GUARD_CALM_MS, GUARD_CALM_SHARE, GUARD_WINDOW_MS } from '../../limits.js';

export interface GuardBounds {
  /** Share of one core, without what history queries take. Infinity: no bound. */
  readonly cpuShare: number;
  readonly residentBytes: number;
}

/** The resources that the agent has used. */
export interface Usage {
  /** Monotonic. */
  readonly nowMs: number;
  /** CPU time since its start, without what history queries took. */
  readonly cpuMs: number;
  readonly residentBytes: number;
}

/** The agent's load over the window. */
export interface Load {
  /** Mean. */
  readonly cpuShare: number;
  /** The lowest of the window, as garbage comes and goes. */
  readonly residentBytes: number;
}

export class OverheadGuard {
  /** Steps of work given up. */
  level = 0;
  #samples: Usage[] = [];
  /** Monotonic time since when the load has been well below the bounds. */
  #calmMs: number | undefined;

  /** Monotonic time of the first sample. */
  #firstMs: number | undefined;

  readonly #bounds: GuardBounds;
  #startUpMs: number;

  /** `startUpMs`: for so long after the first sample the agent may take what it needs, unless it calms down before. */
  constructor(bounds: GuardBounds, startUpMs = 0) {
    this.#bounds = bounds;
    this.#startUpMs = startUpMs;
  }

  /** Called about once a second; `levelMax`: how many steps there are. Returns the load when the level has changed. */
  sample(usage: Usage, levelMax: number): Load | undefined {
    if (this.#starting(usage)) return undefined;
    this.#samples.push(usage);
    // The window's beginning is the newest sample that is old enough.
    while (this.#samples[1] && usage.nowMs - this.#samples[1].nowMs >= GUARD_WINDOW_MS) this.#samples.shift();
    const [first] = this.#samples;
    if (usage.nowMs - first!.nowMs < GUARD_WINDOW_MS) return undefined;
    const load = {
      cpuShare: (usage.cpuMs - first!.cpuMs) / (usage.nowMs - first!.nowMs),
      residentBytes: Math.min(...this.#samples.map(({ residentBytes }) => residentBytes)),
    };
    const target = this.#target(load, usage.nowMs, levelMax);
    if (target === this.level) return undefined;
    this.level = target;
    // Only samples taken after the step show its effect, so the window begins again.
    this.#samples = [usage];
    this.#calmMs = undefined;
    return load;
  }

  #starting(usage: Usage): boolean {
    if (this.#startUpMs === 0) return false;
    this.#firstMs ??= usage.nowMs;
    const [before] = this.#samples;
    this.#samples = [usage];
    const calm = before && usage.cpuMs - before.cpuMs <= (usage.nowMs - before.nowMs) * this.#bounds.cpuShare;
    if (calm || usage.nowMs - this.#firstMs >= this.#startUpMs) this.#startUpMs = 0;
    return true;
  }

  #target(load: Load, nowMs: number, levelMax: number): number {
    const { cpuShare, residentBytes } = this.#bounds;
    if (load.cpuShare > cpuShare || load.residentBytes > residentBytes) {
      this.#calmMs = undefined;
      return Math.max(this.level, Math.min(levelMax, this.level + 1));
    }
    if (load.cpuShare > cpuShare * GUARD_CALM_SHARE || load.residentBytes > residentBytes * GUARD_CALM_SHARE) {
      this.#calmMs = undefined;
      return this.level;
    }
    this.#calmMs ??= nowMs;
    return nowMs - this.#calmMs >= GUARD_CALM_MS ? Math.max(0, this.level - 1) : this.level;
  }
}
