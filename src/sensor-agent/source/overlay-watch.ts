/**
 * Notices overlays that are mounted, as this agent sees them: each is the root of a container that is about to begin. The
 * kernel tells of mounts only those who poll, which Node cannot. So the list is compared with the one before, as often as
 * that takes a small share of a core; less often where no program has started for a while, as who makes a container
 * starts some beside it.
 */
import { readFileSync } from 'node:fs';
import { MOUNTS_LOOK_MS_MIN, MOUNTS_LOOK_SHARE, MOUNTS_QUIET_MS, OVERLAYS_PER_LOOK_MAX } from '../../limits.js';
import { mountLine, OVERLAY } from './mounts.js';

export class OverlayWatch {
  #text = Buffer.alloc(0);
  /** By line of the list: where each is mounted. */
  #there: ReadonlyMap<string, string> = new Map();
  #told = new Set<string>();
  #dueMs = Number.NEGATIVE_INFINITY;
  #lookedMs = Number.NEGATIVE_INFINITY;

  /**
   * Where overlays are mounted that were not told yet, a few at a time; at first all are new. Both times are monotonic.
   * @param startedMs when a program was last seen to start
   */
  fresh(nowMs: number, startedMs: number): readonly string[] {
    const isQuiet = nowMs - startedMs >= MOUNTS_QUIET_MS;
    if (nowMs >= this.#dueMs && (!isQuiet || nowMs - this.#lookedMs >= MOUNTS_QUIET_MS)) this.#look(nowMs);
    if (this.#told.size === this.#there.size) return [];
    const untold = [...this.#there].filter(([line]) => !this.#told.has(line)).slice(0, OVERLAYS_PER_LOOK_MAX);
    for (const [line] of untold) this.#told.add(line);
    return untold.map(([, point]) => point);
  }

  #look(nowMs: number): void {
    const beganMs = performance.now();
    const text = readFileSync('/proc/self/mountinfo');
    if (!text.equals(this.#text)) {
      this.#text = text;
      const mounts = text
        .toString()
        .split('\n')
        .map((line) => [line, mountLine(line)] as const);
      this.#there = new Map(mounts.flatMap(([line, mount]) => (mount?.type === OVERLAY ? [[line, mount.point]] : [])));
      this.#told = new Set([...this.#told].filter((line) => this.#there.has(line)));
    }
    const tookMs = performance.now() - beganMs;
    this.#lookedMs = nowMs;
    this.#dueMs = nowMs + Math.max(MOUNTS_LOOK_MS_MIN, tookMs / MOUNTS_LOOK_SHARE);
  }
}
