/**
 * Decides what a replay passes over: from the checkpoint at which it stands, one stretch after the other that has
 * nothing of what is sought. The replay goes on at the checkpoint behind the last of them, where that costs less than
 * following them would have.
 */
import { partitionPoint } from '../../../flow/partition-point.js';
import type { SegmentLog } from '../../../storage/segment-log/segment-log.js';
import type { Timeline } from '../../timeline/timeline.js';
import { type Anchor, readHead, wholeAnchor } from '../anchors.js';
import type { CheckpointHead } from '../checkpoint.js';
import { RecordKind } from '../recording.js';
import { type Sought, StretchScan } from './stretch-scan.js';

export type { Sought } from './stretch-scan.js';

/** To restore a byte of a checkpoint takes about as long as to follow so many bytes instead of looking through them. */
const RESTORE_COST = 48;
/** After stretches that had to be followed, so many checkpoints are passed at most before the next is looked at. */
const WAIT_MAX = 63;

/**
 * Where to pass over: `wherever` it is right, where it `pays`, or `never`. All have the same answer, which tests show.
 */
export type PassOver = 'wherever' | 'pays' | 'never';

export interface Passed {
  readonly anchor: Anchor;
  /** All entries of the pages that were passed over, of every type. */
  readonly entries: number;
}

export class Passing {
  #scan: StretchScan | undefined;
  /** The checkpoints at which the present stretch begins and ends. */
  #head: CheckpointHead | undefined;
  #end: { ordinal: number; head: CheckpointHead } | undefined;
  /** Up to here nothing is sought; undefined: nothing was looked through yet. */
  #passed: { ordinal: number; entries: number; bytes: number; checkpointBytes: number } | undefined;
  #bytes = 0;
  /** Where the present stretch begins, or the last one did. */
  #from = -1;
  /** In order; known when first needed. */
  #anchors: readonly number[] | undefined;
  #wait = 0;
  #waited = 0;
  #countFrom = 0;

  readonly #log: SegmentLog;
  readonly #timeline: Timeline;
  readonly #sought: Sought;
  readonly #always: boolean;

  constructor(log: SegmentLog, timeline: Timeline, sought: Sought, where: PassOver) {
    this.#always = where === 'wherever';
    this.#log = log;
    this.#timeline = timeline;
    this.#sought = sought;
  }

  /** The replay stands at a checkpoint, and has counted the entries of all pages before `countFrom`. */
  at(ordinal: number, countFrom: number): void {
    // Records from before the one at which it went on are read again, checkpoints among them.
    if (ordinal <= this.#from || this.#timeline.joins || this.#waited++ < this.#wait) return;
    this.#waited = 0;
    this.#countFrom = countFrom;
    this.#head = readHead(this.#log, ordinal);
    this.#begin(ordinal);
  }

  /** Whether it is looking through a stretch. */
  get looks(): boolean {
    return this.#scan !== undefined;
  }

  /** Looks through about `bytesMax` bytes; returns how many it did. */
  step(bytesMax: number): number {
    const scan = this.#scan!;
    const bytes = scan.step(bytesMax);
    this.#bytes += bytes;
    if (scan.found === undefined) return bytes;
    this.#scan = undefined;
    if (scan.found === 'nothing') {
      const { ordinal, head } = this.#end!;
      const before = this.#passed;
      this.#passed = {
        ordinal,
        entries: (before?.entries ?? 0) + scan.entries,
        bytes: (before?.bytes ?? 0) + this.#bytes,
        checkpointBytes: scan.checkpointBytes,
      };
      this.#head = head;
      this.#countFrom = ordinal;
      this.#begin(ordinal);
    }
    return bytes;
  }

  /** Where to go on; undefined: where the replay stands, or it is not known yet. */
  take(): Passed | undefined {
    if (this.#scan) return undefined;
    const passed = this.#passed;
    this.#passed = undefined;
    const pays = passed !== undefined && (this.#always || passed.bytes >= RESTORE_COST * passed.checkpointBytes);
    const anchor = pays ? wholeAnchor(this.#log, passed.ordinal) : undefined;
    this.#wait = anchor || this.#always ? 0 : Math.min(WAIT_MAX, this.#wait * 4 + 3);
    return anchor && { anchor, entries: passed!.entries };
  }

  close(): void {
    this.#scan?.close();
    this.#scan = undefined;
  }

  #begin(from: number): void {
    this.#from = from;
    this.#bytes = 0;
    const to = this.#next(from);
    const end = to === undefined ? undefined : readHead(this.#log, to);
    if (to === undefined || !this.#head || !end || !this.#sought.passes(end) || !isFollowed(this.#log, to)) return;
    this.#end = { ordinal: to, head: end };
    const countFrom = this.#countFrom;
    this.#scan = new StretchScan(this.#log, this.#timeline, this.#sought, { head: this.#head, from, to, countFrom });
  }

  #next(ordinal: number): number | undefined {
    this.#anchors ??= Array.from(this.#log.anchors(), (anchor) => anchor.ordinal).reverse();
    return this.#anchors[partitionPoint(0, this.#anchors.length, (at) => this.#anchors![at]! <= ordinal)];
  }
}

/**
 * Whether a checkpoint was written while all was recorded: one that a hole follows was not, and has the context and the
 * clock of later events, that no record tells.
 */
function isFollowed(log: SegmentLog, checkpoint: number): boolean {
  const reader = log.reader(checkpoint, () => false);
  try {
    let item = reader.next();
    while (item?.kind === 'record' && item.recordKind === RecordKind.CHECKPOINT) item = reader.next();
    return item?.kind === 'record' && item.recordKind !== RecordKind.HOLE;
  } finally {
    reader.close();
  }
}
