/**
 * Looks whether a stretch of a recording, from one checkpoint to a later one, must be followed: it need not be where no
 * entry in it can be what is sought, and nothing in it is lost, late or damaged. The later checkpoint has the context
 * that following would have left.
 *
 * What is told between the two comes from pages from the first one's resumeOrdinal on, because some waited there, and
 * its context from the first checkpoint and the records behind it.
 */
import type { LogReader, SegmentLogItem } from '../../../storage/segment-log/log-reader.js';
import type { SegmentLog } from '../../../storage/segment-log/segment-log.js';
import { PageEntries, startCursor } from '../../source/pages/page.js';
import type { Timeline } from '../../timeline/timeline.js';
import type { CheckpointHead } from '../checkpoint.js';
import { RecordKind, readPage, readU64 } from '../recording.js';

/** What must stand beside an entry for its event to be sought. */
export interface Needed {
  /** At least one of them; undefined: nothing. */
  readonly texts: readonly Buffer[] | undefined;
  /** In the side record of an exec, and nowhere else. */
  readonly inExec: boolean;
}

export interface Sought {
  /** By trace event, one for each wanted type of event that its entries may be told as; none: none of them is sought. */
  needs(traceEvent: string): readonly Needed[];
  /** All that may be needed. */
  readonly texts: readonly (readonly Buffer[])[];
  readonly notices: boolean;
  /** Whether all up to this checkpoint is inside of what is asked for, so that it may be the end of what is passed over. */
  passes(head: CheckpointHead): boolean;
}

type Found = 'nothing' | 'something';

/** Kinds that only help to interpret others. */
const CONTEXT: ReadonlySet<number> = new Set([
  RecordKind.CLOCK,
  RecordKind.SNAPSHOT,
  RecordKind.PATHS,
  RecordKind.CONTAINERS,
]);
const IN_CHECKPOINT: ReadonlySet<number> = new Set([
  RecordKind.EXEC,
  RecordKind.CLOCK,
  RecordKind.SNAPSHOT,
  RecordKind.CONTAINERS,
  RecordKind.CHECKPOINT,
]);
/** The last list of a part of a checkpoint, as its key is packed. Where the text comes earlier, more is searched. */
const EXECS_KEY = Buffer.from('\xa5execs', 'latin1');
const NOTHING = Buffer.alloc(0);

export class StretchScan {
  /** Of the pages from `countFrom` on, of every type. */
  entries = 0;
  found: Found | undefined;
  /** Of the checkpoint at its beginning. */
  checkpointBytes = 0;
  readonly #reader: LogReader;
  readonly #entries = new PageEntries();
  /** Requirements that are not met yet, of trace events of which there were entries. */
  readonly #open = new Set<Needed>();
  readonly #seen = new Set<number>();
  readonly #met = new Set<readonly Buffer[]>();
  readonly #metInExec = new Set<readonly Buffer[]>();
  #horizonNs: bigint;

  readonly #timeline: Timeline;
  readonly #sought: Sought;
  readonly #from: number;
  readonly #to: number;
  readonly #countFrom: number;

  /** From the checkpoint at ordinal `from` to the one at `to`. */
  constructor(
    log: SegmentLog,
    timeline: Timeline,
    sought: Sought,
    { head, from, to, countFrom }: { head: CheckpointHead; from: number; to: number; countFrom: number },
  ) {
    this.#timeline = timeline;
    this.#sought = sought;
    this.#from = from;
    this.#to = to;
    this.#countFrom = countFrom;
    this.#horizonNs = head.position.timeNs > timeline.horizonNs ? head.position.timeNs : timeline.horizonNs;
    this.#reader = log.reader(Math.max(head.resumeOrdinal, log.firstOrdinal));
  }

  /** Reads about `bytesMax` bytes, or until it is `found` what is there. Returns the bytes. */
  step(bytesMax: number): number {
    let bytes = 0;
    while (this.found === undefined && bytes < bytesMax) {
      const item = this.#reader.ordinal < this.#to ? this.#reader.next() : undefined;
      if (item === undefined) this.#end(this.#reader.ordinal < this.#to ? 'something' : 'nothing');
      else if (item.kind !== 'record' || this.#isSought(item)) this.#end('something');
      else bytes += item.payload.length + 64;
    }
    return bytes;
  }

  close(): void {
    this.#reader.close();
  }

  #end(found: Found): void {
    this.found = found;
    this.close();
  }

  #isSought({ recordKind, payload, ordinal }: SegmentLogItem & { kind: 'record' }): boolean {
    // The checkpoint has what these left.
    if (ordinal < this.#from && IN_CHECKPOINT.has(recordKind)) return false;
    switch (recordKind) {
      case RecordKind.PAGE:
        return this.#page(payload, ordinal) || this.#isMet();
      case RecordKind.HORIZON:
        return this.#horizon(payload);
      case RecordKind.EXEC:
        return this.#search(payload, true);
      case RecordKind.CHECKPOINT:
        this.checkpointBytes += payload.length;
        return this.#search(payload, false) || this.#search(execsOf(payload), true);
      case RecordKind.NOTICE:
        return this.#sought.notices;
      case RecordKind.QUERIES:
        return this.#search(payload, false);
      default:
        // Origins, losses and holes are told, switches are followed, and what is not known is damaged.
        return !CONTEXT.has(recordKind) || this.#search(payload, false);
    }
  }

  #horizon(payload: Buffer): boolean {
    if (payload.length < 8) return true;
    const horizonNs = readU64(payload, 0) - 1n;
    if (horizonNs > this.#horizonNs) this.#horizonNs = horizonNs;
    return false;
  }

  #page(payload: Buffer, ordinal: number): boolean {
    // Too short for a page: left to the replay, which tells the damage.
    if (payload.length < 32) return true;
    const page = readPage(payload);
    const entries = this.#entries;
    this.#timeline.scan(page.bytes, startCursor(page.firstTie), entries);
    if (page.lost > 0 || page.lostUnknown || entries.malformed) return true;
    // Those that were read before the checkpoint are not late when they are read again.
    if (ordinal > this.#from && entries.entries > 0 && entries.firstTimeNs <= this.#horizonNs) return true;
    if (ordinal >= this.#countFrom) this.entries += entries.entries;
    for (let at = 0; at < entries.count; at += 1) this.#entry(entries.ids[at]!);
    // Names of programs and of tasks stand in the entries themselves.
    return entries.count > 0 && this.#search(page.bytes, false);
  }

  #entry(id: number): void {
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    const name = this.#timeline.nameOf(id);
    if (name !== undefined) for (const needed of this.#sought.needs(name)) this.#open.add(needed);
  }

  /** Notes what texts there are; true when something is sought from here on. */
  #search(bytes: Buffer, inExec: boolean): boolean {
    for (const texts of this.#sought.texts) {
      const isMet = inExec ? this.#metInExec.has(texts) : this.#met.has(texts);
      if (isMet || !texts.some((text) => bytes.includes(text))) continue;
      this.#met.add(texts);
      if (inExec) this.#metInExec.add(texts);
    }
    return this.#isMet();
  }

  #isMet(): boolean {
    for (const { texts, inExec } of this.#open) {
      if (texts === undefined || (inExec ? this.#metInExec : this.#met).has(texts)) return true;
    }
    return false;
  }
}

/** The side records of execs that waited at a checkpoint. */
function execsOf(part: Buffer): Buffer {
  const at = part.indexOf(EXECS_KEY);
  return at < 0 ? NOTHING : part.subarray(at);
}
