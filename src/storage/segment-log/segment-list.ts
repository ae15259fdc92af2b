/** The segments of one log, oldest first: readers walk along it while the log appends and evicts. */

import { partitionPoint } from '../../flow/partition-point.js';
import type { Segment } from './segment.js';

export class SegmentList {
  /** Size of all segment files. */
  bytes = 0;

  constructor(
    readonly segments: Segment[],
    /** The ordinal of the next record. */
    public nextOrdinal: number,
  ) {
    for (const segment of segments) this.bytes += segment.bytes;
  }

  get firstOrdinal(): number {
    return this.segments[0]?.firstOrdinal ?? this.nextOrdinal;
  }

  get newest(): Segment | undefined {
    return this.segments.at(-1);
  }

  /** The segment that holds an ordinal or, at the end, will hold it; undefined when it does not exist yet. */
  at(ordinal: number): Segment | undefined {
    const { segments } = this;
    const segment = segments[partitionPoint(0, segments.length, (at) => segments[at]!.firstOrdinal <= ordinal) - 1];
    return segment && (ordinal < segment.nextOrdinal || !segment.sealed) ? segment : undefined;
  }

  push(segment: Segment): void {
    this.segments.push(segment);
    this.bytes += segment.bytes;
  }

  /** Deletes the oldest segment, but never the newest: it carries the count of ordinals on. */
  dropOldest(): Segment | undefined {
    if (this.segments.length < 2) return undefined;
    const segment = this.segments.shift()!;
    this.bytes -= segment.bytes;
    segment.remove();
    return segment;
  }
}
