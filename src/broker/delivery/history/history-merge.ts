/**
 * Merges many nodes' answers into one sequence by wall time, then node, then
 * position. It yields runs, each as many events of one frame as come before every
 * other node's next event, so that bytes are copied per run and not per event.
 */

import { partitionPoint } from '../../../flow/partition-point.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';

/** Sort key of an event in merged history. */
export interface HistoryKey {
  readonly wallNs: bigint;
  readonly node: string;
  readonly position: Position;
}

export function compareKeys(a: HistoryKey, b: HistoryKey): number {
  if (a.wallNs !== b.wallNs) return a.wallNs < b.wallNs ? -1 : 1;
  if (a.node !== b.node) return a.node < b.node ? -1 : 1;
  return comparePositions(a.position, b.position);
}

/** A key that sorts before all nodes' events of that time. */
export function keyAtTime(wallNs: bigint): HistoryKey {
  return { wallNs, node: '', position: { epoch: 0, timeNs: 0n, lane: 0, tie: 0 } };
}

/** Whether all of a window's past was delivered, up to its end, not only up to an event in it. */
export function isWindowEnd({ wallNs, node }: HistoryKey): boolean {
  return wallNs > 0n && node === '';
}

/** Events of one node and frame, with index in [from, to). */
export interface Run {
  readonly node: string;
  readonly frame: HistoryFrame;
  readonly from: number;
  readonly to: number;
  /** Key of the last event. */
  readonly end: HistoryKey;
}

/** A node's frames in position order; undefined at the end. */
export interface HistorySource {
  readonly node: string;
  next(): Promise<HistoryFrame | undefined>;
}

class Head {
  index = 0;
  /** Least wall time for the next frame, so that a clock that was set back between frames does not break the order. */
  #floorNs = 0n;

  constructor(
    readonly source: HistorySource,
    public frame: HistoryFrame,
  ) {}

  key(index = this.index): HistoryKey {
    const { frame, source } = this;
    let wallNs = frame.wallNs[index]!;
    if (wallNs < this.#floorNs) wallNs = this.#floorNs;
    return {
      wallNs,
      node: source.node,
      position: positionAt(frame.epoch, frame, index),
    };
  }

  /** False when the source has ended. */
  async refill(): Promise<boolean> {
    this.#floorNs = this.key(this.frame.wallNs.length - 1).wallNs;
    const frame = await nextNotEmpty(this.source);
    if (frame === undefined) return false;
    this.frame = frame;
    this.index = 0;
    return true;
  }
}

export async function* mergeHistory(sources: readonly HistorySource[]): AsyncGenerator<Run, void, undefined> {
  const first = await Promise.all(
    sources.map(async (source) => {
      const frame = await nextNotEmpty(source);
      return frame && new Head(source, frame);
    }),
  );
  const heap = new Heap(first.filter((head) => head !== undefined));
  for (;;) {
    const head = heap.top();
    if (head === undefined) return;
    const from = head.index;
    const to = runEnd(head, heap.second());
    head.index = to;
    yield { node: head.source.node, frame: head.frame, from, to, end: head.key(to - 1) };
    if (to < head.frame.wallNs.length || (await head.refill())) heap.settleTop();
    else heap.removeTop();
  }
}

async function nextNotEmpty(source: HistorySource): Promise<HistoryFrame | undefined> {
  for (;;) {
    const frame = await source.next();
    if (frame === undefined || frame.wallNs.length > 0) return frame;
  }
}

/** Index after the events of head's frame that come before `other`'s next one. At least one event is taken. */
function runEnd(head: Head, other: Head | undefined): number {
  const count = head.frame.wallNs.length;
  if (other === undefined) return count;
  const limit = other.key();
  return partitionPoint(head.index + 1, count, (at) => compareKeys(head.key(at), limit) < 0);
}

/** A binary heap by key; only the top changes. */
class Heap {
  readonly #heads: Head[];

  constructor(heads: Head[]) {
    this.#heads = heads;
    for (let i = (heads.length >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  top(): Head | undefined {
    return this.#heads[0];
  }

  /** The head that sorts right after the top. */
  second(): Head | undefined {
    const [, left, right] = this.#heads;
    if (left === undefined || right === undefined) return left;
    return compareKeys(left.key(), right.key()) <= 0 ? left : right;
  }

  settleTop(): void {
    this.#sink(0);
  }

  removeTop(): void {
    const last = this.#heads.pop()!;
    if (this.#heads.length === 0) return;
    this.#heads[0] = last;
    this.#sink(0);
  }

  #sink(start: number): void {
    const heads = this.#heads;
    for (let at = start; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heads.length && compareKeys(heads[child]!.key(), heads[least]!.key()) < 0) least = child;
      }
      if (least === at) return;
      [heads[at], heads[least]] = [heads[least]!, heads[at]!];
      at = least;
    }
  }
}
