/**
 * Notices overlays that are mounted, as this agent sees them: each is the root of a container that is about to begin. The
 * kernel tells of mounts only those who poll, which Node cannot. So the list is compared with the one before, as often as
 * that takes a small share of a core.
 */
import { readFileSync } from 'node:fs';
import { MOUNTS_LOOK_SHARE, OVERLAYS_PER_LOOK_MAX } from '../../limits.js';
import { mountLine, OVERLAY } from './mounts.js';

export class OverlayWatch {
  #text = Buffer.alloc(0);
  /** By line of the list: where each is mounted. */
  #there: ReadonlyMap<string, string> = new Map();
  #told = new Set<string>();
  #dueMs = Number.NEGATIVE_INFINITY;

  /** Where overlays are mounted that were not told yet, a few at a time; at first all are new. `nowMs`: monotonic. */
  fresh(nowMs: number): readonly string[] {
    if (nowMs >= this.#dueMs) this.#look();
    if (this.#told.size === this.#there.size) return [];
    const untold = [...this.#there].filter(([line]) => !this.#told.has(line)).slice(0, OVERLAYS_PER_LOOK_MAX);
    for (const [line] of untold) this.#told.add(line);
    return untold.map(([, point]) => point);
  }

  #look(): void {
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
    const endedMs = performance.now();
    this.#dueMs = endedMs + (endedMs - beganMs) / MOUNTS_LOOK_SHARE;
  }
}
