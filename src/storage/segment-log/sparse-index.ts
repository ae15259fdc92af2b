/**
 * An index of record offsets in one segment: an entry about every SEGMENT_MARK_BYTES and one per anchor, in columns of
 * 20 bytes an entry. Anchors beyond SEGMENT_ANCHORS_MAX are thinned out, so that memory is bounded whatever the owner
 * marks; the remaining entries stay correct.
 */

import { partitionPoint } from '../../flow/partition-point.js';
import { SEGMENT_ANCHORS_MAX, SEGMENT_MARK_BYTES } from '../../limits.js';

export interface AnchorPlace {
  readonly ordinal: number;
  /** Wall clock, nanoseconds since 1970. */
  readonly timeNs: bigint;
}

const ANCHOR_BIT = 0x8000_0000;

export class SparseIndex {
  length = 0;
  #anchors = 0;
  /** Offset in the file; the top bit says that the record is an anchor. */
  #offsets = new Uint32Array(16);
  #ordinals = new Float64Array(16);
  #times = new BigUint64Array(16);

  /** Notes a record; an entry is added when it is an anchor or far enough from the last entry. */
  add(ordinal: number, offset: number, timeNs: bigint, anchor: boolean): void {
    if (!anchor && this.length > 0 && offset - this.offset(this.length - 1) < SEGMENT_MARK_BYTES) return;
    if (this.length === this.#offsets.length) this.#grow();
    this.#offsets[this.length] = anchor ? (offset | ANCHOR_BIT) >>> 0 : offset;
    this.#ordinals[this.length] = ordinal;
    this.#times[this.length] = timeNs;
    this.length++;
    if (anchor && ++this.#anchors > SEGMENT_ANCHORS_MAX) this.#thin();
  }

  offset(at: number): number {
    return this.#offsets[at]! & ~ANCHOR_BIT;
  }

  ordinal(at: number): number {
    return this.#ordinals[at]!;
  }

  timeNs(at: number): bigint {
    return this.#times[at]!;
  }

  isAnchor(at: number): boolean {
    return this.#offsets[at]! >= ANCHOR_BIT;
  }

  /** The last entry at or before an ordinal; -1 when there is none. */
  seek(ordinal: number): number {
    return partitionPoint(0, this.length, (at) => this.#ordinals[at]! <= ordinal) - 1;
  }

  /** The last entry before a time; the first one where there is none. For times that do not decrease. */
  seekTime(timeNs: bigint): number {
    return Math.max(0, partitionPoint(0, this.length, (at) => this.#times[at]! < timeNs) - 1);
  }

  /** Newest first. */
  *anchors(): Generator<AnchorPlace> {
    for (let at = this.length - 1; at >= 0; at--) {
      // A log that grows meanwhile may thin out its newest segment, and so leave fewer entries.
      if (at < this.length && this.isAnchor(at)) yield { ordinal: this.ordinal(at), timeNs: this.timeNs(at) };
    }
  }

  #grow(): void {
    const room = this.#offsets.length * 2;
    const [offsets, ordinals, times] = [this.#offsets, this.#ordinals, this.#times];
    this.#offsets = new Uint32Array(room);
    this.#ordinals = new Float64Array(room);
    this.#times = new BigUint64Array(room);
    this.#offsets.set(offsets);
    this.#ordinals.set(ordinals);
    this.#times.set(times);
  }

  /**
   * Drops every second anchor, but neither the oldest nor the newest; entries still stand SEGMENT_MARK_BYTES apart at
   * most.
   */
  #thin(): void {
    let kept = 0;
    let seen = 0;
    let offsetBefore = 0;
    this.#anchors = 0;
    for (let at = 0; at < this.length; at++) {
      const anchor = this.isAnchor(at) && (seen++ % 2 === 0 || at === this.length - 1);
      const offset = this.offset(at);
      const next = at + 1 < this.length ? this.offset(at + 1) : offset;
      if (!anchor && next - offsetBefore < SEGMENT_MARK_BYTES) continue;
      this.#offsets[kept] = anchor ? (offset | ANCHOR_BIT) >>> 0 : offset;
      this.#ordinals[kept] = this.#ordinals[at]!;
      this.#times[kept] = this.#times[at]!;
      offsetBefore = offset;
      kept++;
      if (anchor) this.#anchors++;
    }
    this.length = kept;
  }
}
