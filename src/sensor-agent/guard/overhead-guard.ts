/**
 * Decides how much of its work an agent gives up because it takes more of the
 * machine than it may. The level goes up by a step after a whole window over a
 * bound, and down by one after a longer time well below all bounds. A long
 * start shows a slow machine, so being busy for some time after the start is no
 * overload.
 */
import { GUARD_CALM_MEMORY_SHARE, GUARD_CALM_MS, GUARD_CALM_SHARE, GUARD_WINDOW_MS } from '../../limits.js';

/** The resources that the agent has used. */
export interface Usage {
  /** Monotonic. */
  readonly nowMs: number;
  /** CPU time since its start. */
  readonly cpuMs: number;
  /** CPU time that it was allowed since its start. Infinity: no bound. */
  readonly allowedMs: number;
  readonly residentBytes: number;
  /** Whether work that was put off is still to be done: until then no step is undone. */
  readonly owes: boolean;
}

/** The agent's load over the window. */
export interface Load {
  /** Mean. */
  readonly cpuShare: number;
  /** Mean of what it was allowed. */
  readonly allowedShare: number;
  /** The lowest of the window, as garbage comes and goes. */
  readonly residentBytes: number;
}

/** The steps that there are to take. */
export interface Levels {
  readonly max: number;
  /** The first level that saves memory: those below are passed over where memory is short. */
  readonly savesMemory: number;
}

export class OverheadGuard {
  /** Steps of work given up. */
  level = 0;
  #samples: Usage[] = [];
  /** Monotonic time since when the load has been well below the bounds. */
  #calmMs: number | undefined;

  /** Monotonic time of the first sample. */
  #firstMs: number | undefined;

  readonly #residentBytesMax: number;
  #startUpMs: number;

  /** `startUpMs`: for so long after the first sample the agent may take what it needs, unless it calms down before. */
  constructor(residentBytesMax: number, startUpMs = 0) {
    this.#residentBytesMax = residentBytesMax;
    this.#startUpMs = startUpMs;
  }

  /** Called about once a second. Returns the load when the level has changed. */
  sample(usage: Usage, levels: Levels): Load | undefined {
    if (this.#starting(usage)) return undefined;
    this.#samples.push(usage);
    // The window's beginning is the newest sample that is old enough.
    while (this.#samples[1] && usage.nowMs - this.#samples[1].nowMs >= GUARD_WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    const elapsedMs = usage.nowMs - first.nowMs;
    if (elapsedMs < GUARD_WINDOW_MS) return undefined;
    const load = {
      cpuShare: (usage.cpuMs - first.cpuMs) / elapsedMs,
      allowedShare: allowedBetween(first, usage) / elapsedMs,
      residentBytes: Math.min(...this.#samples.map(({ residentBytes }) => residentBytes)),
    };
    const target = this.#target(load, usage, levels);
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
    const calm = before && usage.cpuMs - before.cpuMs <= allowedBetween(before, usage);
    if (calm || usage.nowMs - this.#firstMs >= this.#startUpMs) this.#startUpMs = 0;
    return true;
  }

  #target({ cpuShare, allowedShare, residentBytes }: Load, { nowMs, owes }: Usage, levels: Levels): number {
    const residentBytesMax = this.#residentBytesMax;
    const crowded = residentBytes > residentBytesMax;
    if (cpuShare > allowedShare || crowded) {
      this.#calmMs = undefined;
      const next = Math.max(this.level + 1, crowded ? levels.savesMemory : 0);
      return Math.max(this.level, Math.min(levels.max, next));
    }
    const calm =
      cpuShare <= allowedShare * GUARD_CALM_SHARE && residentBytes <= residentBytesMax * GUARD_CALM_MEMORY_SHARE;
    if (!calm || owes) {
      this.#calmMs = undefined;
      return this.level;
    }
    this.#calmMs ??= nowMs;
    return nowMs - this.#calmMs >= GUARD_CALM_MS ? Math.max(0, this.level - 1) : this.level;
  }
}

function allowedBetween(before: Usage, after: Usage): number {
  return after.allowedMs === Number.POSITIVE_INFINITY ? after.allowedMs : after.allowedMs - before.allowedMs;
}
