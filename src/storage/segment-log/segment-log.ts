/**
 * One crash-safe log in segment files: records with dense, ever growing
 * ordinals, bounded in bytes and age. The flight recorder syncs it
 * now and then; the partition logs sync in groups.
 */
import { BackplaneError } from '../../errors.js';
import { LOG_SEGMENTS_MAX, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN } from '../../limits.js';
import { msToNs, wallNowNs } from '../../nanoseconds.js';
import { type FileOps, nodeFileOps, systemErrorCode } from '../file-ops.js';
import { GroupCommit } from '../group-commit.js';
import { HeldDirectory } from '../held-directory.js';
import type { BoundsFile } from './bounds-file.js';
import { encodeRecordHeader, RECORD_HEADER_BYTES } from './format.js';
import type { LogOptions } from './log-options.js';
import { LogReader } from './log-reader.js';
import { checkRange, createSegment, type NewRecord, payloadLength } from './new-record.js';
import { type Damage, type Recovered, recover } from './recovery.js';
import { Segment, type SegmentInfo } from './segment.js';
import type { SegmentList } from './segment-list.js';
import type { Anchor } from './sparse-index.js';

export type { LogOptions } from './log-options.js';
export type { NewRecord } from './new-record.js';

const UNBOUNDED = Number.MAX_SAFE_INTEGER;
const CRCS_KEPT = 1024;

export class SegmentLog {
  /** What was cut or found damaged when the log was opened. */
  readonly notes: readonly Damage[];
  /** Found when it was opened: behind the last record that can be read there was more. */
  readonly endLost: boolean;
  /** Random, made with the log: 16 hex digits. */
  readonly identity: string;
  #options: LogOptions;
  #bytesMax: number;
  #segmentBytesMax: number;
  #files: FileOps;
  #list: SegmentList;
  #key: Recovered['key'];
  #bounds: BoundsFile;
  readonly #directory: HeldDirectory;
  #active: Segment | undefined;
  #commit = new GroupCommit(() => this.#flush());
  /** Written but not synced, oldest first. */
  #unsynced: Set<Segment>;
  #namesUnsynced = false;
  /** Since somebody relies on syncs, an index on disk is written after its segment is synced. */
  #syncs = false;
  #durableOrdinal: number;
  #failed: BackplaneError | undefined;
  #closing: Promise<void> | undefined;
  #recordHeader = Buffer.alloc(RECORD_HEADER_BYTES);
  /** Checksums of the records appended last, by ordinal. */
  readonly #crcs = new Uint32Array(CRCS_KEPT);

  /**
   * Opens or creates a log, reading its newest segment through. Throws
   * BackplaneError: `invalid_argument` for options out of range,
   * `failed_precondition` when the directory cannot be used, `unavailable`
   * when the disk fails. Two logs must not be open on one directory: see
   * `lockDirectory`.
   */
  static open(options: LogOptions): SegmentLog {
    checkRange('bytesMax', options.bytesMax ?? UNBOUNDED, 4 * SEGMENT_BYTES_MIN, Number.MAX_SAFE_INTEGER);
    checkRange('ageMsMax', options.ageMsMax, 1, Number.MAX_SAFE_INTEGER);
    checkRange('segmentBytesMax', options.segmentBytesMax ?? SEGMENT_BYTES, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    return new SegmentLog(options);
  }

  private constructor(options: LogOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? UNBOUNDED;
    this.#segmentBytesMax = Math.min(options.segmentBytesMax ?? SEGMENT_BYTES, Math.floor(this.#bytesMax / 4));
    this.#files = options.files ?? nodeFileOps;
    const { key, list, bounds, notes, endLost } = recover(this.#files, options.dir, this.#now());
    this.#key = key;
    this.#bounds = bounds;
    this.#list = list;
    this.notes = notes;
    this.endLost = endLost;
    this.identity = key.identity.toString(16).padStart(16, '0');
    const unsynced = list.segments.filter((segment) => !segment.synced);
    this.#unsynced = new Set(unsynced);
    this.#durableOrdinal = unsynced[0]?.firstOrdinal ?? list.nextOrdinal;
    const { newest } = list;
    if (newest && !newest.sealed) {
      newest.acquire();
      this.#active = newest;
    }
    this.#bounds.begin(list);
    this.#directory = new HeldDirectory(options.dir);
  }

  /** The oldest record that is still there; nextOrdinal when there is none. */
  get firstOrdinal(): number {
    return this.#list.firstOrdinal;
  }

  /** What the next record gets. */
  get nextOrdinal(): number {
    return this.#list.nextOrdinal;
  }

  /** All records below it are on the disk for certain. */
  get durableOrdinal(): number {
    return Math.max(this.#durableOrdinal, this.#list.firstOrdinal);
  }

  /** Of all segment files. */
  get bytes(): number {
    return this.#list.bytes;
  }

  segments(): SegmentInfo[] {
    return this.#list.segments.map(({ path, firstOrdinal, nextOrdinal, firstTimeNs, lastTimeNs, bytes }) => {
      return { path, firstOrdinal, nextOrdinal, firstTimeNs, lastTimeNs, bytes };
    });
  }

  /**
   * Writes a record and returns its ordinal. Throws BackplaneError, and the log
   * is as it was: `invalid_argument`, `resource_exhausted` when the disk is
   * full and there is nothing older to delete (later appends succeed when
   * there is room), `unavailable` when the disk fails, `failed_precondition`
   * after close.
   */
  append(record: NewRecord): number {
    this.#checkOpen();
    const length = payloadLength(record);
    for (;;) {
      try {
        const ordinal = this.#write(record, length);
        if (this.#list.bytes > this.#bytesMax) this.#evict();
        return ordinal;
      } catch (cause) {
        this.#makeSpace(cause);
      }
    }
  }

  /** Closes the newest segment; the next record begins another. Does nothing when it holds no records. */
  roll(): void {
    const segment = this.#active;
    if (!segment || segment.nextOrdinal === segment.firstOrdinal) return;
    if (this.#syncs && this.#options.ordered) this.#syncEarlier();
    this.#active = undefined;
    segment.sealed = true;
    if (!this.#syncs) segment.writeIndex();
    segment.release();
    this.#bounds.reached(segment, segment.nextOrdinal, segment.bytes);
  }

  /**
   * What comes in a new file may reach the disk before the end of this one: when the power went, a hole would have
   * something behind it that nobody was promised. Most of it was synced already.
   */
  #syncEarlier(): void {
    try {
      for (const segment of this.#unsynced) if (!segment.removed && !segment.synced) segment.syncNow();
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  /**
   * Resolves when everything appended before the call is durable. Callers share
   * syncs. Rejects with `unavailable` when the disk cannot promise it: the log
   * then takes no more records until it is opened again.
   */
  sync(): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    this.#syncs = true;
    return this.#commit.sync();
  }

  /**
   * Throws `unavailable` when the directory, or the newest file, is no longer where it was opened: the log then takes
   * no more records until it is opened again. Each sync looks for itself; call this now and then for a log that is idle.
   */
  checkPlace(): void {
    if (this.#failed) throw this.#failed;
    if (!this.#closing && !this.#inPlace) throw this.#fail(undefined);
  }

  /** It takes no more records until it is opened again. */
  get failed(): boolean {
    return this.#failed !== undefined;
  }

  get #inPlace(): boolean {
    return this.#directory.inPlace && (this.#active?.inPlace ?? true);
  }

  /** The checksum of one of the last records; 0 where it is not at hand. See RecordItem. */
  crc(ordinal: number): number {
    return ordinal >= this.nextOrdinal || ordinal < this.nextOrdinal - CRCS_KEPT ? 0 : this.#crcs[ordinal % CRCS_KEPT]!;
  }

  /** Newest first. Where a segment has more than SEGMENT_ANCHORS_MAX of them, some are left out. */
  *anchors(): Generator<Anchor> {
    for (const segment of this.#list.segments.toReversed()) if (!segment.removed) yield* segment.index.anchors();
  }

  /** Time of the oldest record that can be read (wall, nanoseconds); undefined when there is none. */
  get firstTimeNs(): bigint | undefined {
    return this.#list.segments.find(({ index }) => index.length > 0)?.firstTimeNs;
  }

  /**
   * Reads from an ordinal, which may be one that was evicted; throws `invalid_argument` beyond nextOrdinal. Of records
   * whose kind is not wanted only the header is read.
   */
  reader(fromOrdinal: number, wants?: (kind: number) => boolean): LogReader {
    checkRange('fromOrdinal', fromOrdinal, 0, this.nextOrdinal);
    return new LogReader(this.#list, fromOrdinal, wants);
  }

  /**
   * Deletes the oldest segments while the log is over bytesMax, or they hold
   * nothing younger than ageMsMax. Appending does the first by itself; call
   * this now and then for the second. An idle log's last records are let go
   * too: a new segment is begun to carry the count of ordinals on.
   */
  enforceRetention(): void {
    this.#checkOpen();
    const ageNs = msToNs(this.#options.ageMsMax);
    const oldestNs = this.#now() - ageNs;
    const { newest, segments } = this.#list;
    if (newest?.grown && isOlder(newest, oldestNs)) this.#renew();
    else if (newest?.grown && newest.createdNs < oldestNs + (ageNs * 3n) / 4n) this.roll();
    this.#evict();
    while (segments.length > 1 && isOlder(segments[0]!, oldestNs)) this.#dropOldest();
  }

  /**
   * When the oldest segment that may go ended (wall, nanoseconds); undefined when none may. Where syncs are relied
   * on, what is not durable stays: nobody was promised it yet, and nobody can have read it.
   */
  get oldestNs(): bigint | undefined {
    const [oldest] = this.#list.segments;
    if (oldest === undefined || (this.#syncs && oldest.nextOrdinal > this.#durableOrdinal)) return undefined;
    return this.#list.segments.length > 1 || oldest.grown ? endNs(oldest) : undefined;
  }

  /** Deletes that segment; false when none may go, or the newest cannot be followed by another. */
  removeOldest(): boolean {
    if (this.oldestNs === undefined || this.#closing) return false;
    if (this.#list.segments.length === 1) this.#renew();
    return this.#dropOldest();
  }

  /** Syncs where syncs are relied on, and gives the files back. Readers go on to the end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      if (this.#syncs && !this.#failed) await this.#commit.sync();
    } finally {
      this.#directory.close();
      if (this.#syncs) for (const segment of this.#unsynced) if (segment.sealed) segment.writeIndex();
      const active = this.#active;
      this.#active = undefined;
      if (active) {
        active.sealed = true;
        active.writeIndex();
        active.release();
        this.#bounds.reached(active, active.nextOrdinal, active.bytes);
      }
    }
  }

  #write(record: NewRecord, length: number): number {
    const size = RECORD_HEADER_BYTES + length;
    let segment = this.#active;
    if (segment?.grown && segment.bytes + size > this.#fullBytes(segment)) {
      this.roll();
      segment = undefined;
    }
    segment ??= this.#begin();
    const ordinal = this.#list.nextOrdinal;
    const offset = segment.bytes;
    encodeRecordHeader(this.#recordHeader, record, record.parts, length, ordinal, this.#key.salt);
    segment.write([this.#recordHeader, ...record.parts], size);
    this.#unsynced.add(segment);
    segment.note(ordinal, offset, record.timeNs, record.anchor === true);
    this.#crcs[ordinal % CRCS_KEPT] = this.#recordHeader.readUInt32LE(4);
    this.#list.bytes += size;
    this.#list.nextOrdinal = ordinal + 1;
    return ordinal;
  }

  /** What a segment begins with is at most half of it: a long head must not make a segment of every few records. */
  #fullBytes({ headBytes }: Segment): number {
    return Math.max(this.#segmentBytesMax, 2 * headBytes);
  }

  #begin(): Segment {
    const { dir, head } = this.#options;
    const segment = new Segment(this.#files, dir, this.#key, this.#list.nextOrdinal);
    segment.createdNs = this.#now();
    const records = head?.() ?? [];
    try {
      createSegment(segment, records);
    } catch (cause) {
      segment.remove();
      throw cause;
    }
    this.#namesUnsynced = true;
    this.#unsynced.add(segment);
    this.#list.push(segment);
    for (let ordinal = this.nextOrdinal; ordinal < segment.nextOrdinal; ordinal++) this.#crcs[ordinal % CRCS_KEPT] = 0;
    this.#list.nextOrdinal = segment.nextOrdinal;
    this.#active = segment;
    return segment;
  }

  /** Closes the newest segment and begins another at once, so that it can be evicted. */
  #renew(): void {
    this.roll();
    try {
      this.#begin();
    } catch (cause) {
      if (systemErrorCode(cause) === undefined) throw cause;
      // A full disk: its records stay until there is room for the next segment.
    }
  }

  #evict(): void {
    while (this.#list.bytes > this.#bytesMax || this.#list.segments.length > LOG_SEGMENTS_MAX) {
      if (!this.#dropOldest()) return;
    }
  }

  #dropOldest(): boolean {
    const [, next] = this.#list.segments;
    // Before the file goes: one that goes without this was removed by somebody else.
    if (next) this.#bounds.raiseFirst(next.firstOrdinal, this.#syncs);
    const segment = this.#list.dropOldest();
    if (segment) this.#unsynced.delete(segment);
    return segment !== undefined;
  }

  /** Deletes the oldest segment when the disk is full; throws when it cannot, or something else is wrong. */
  #makeSpace(cause: unknown): void {
    const code = systemErrorCode(cause);
    if (code === undefined || cause instanceof BackplaneError) throw cause;
    const { dir } = this.#options;
    if (!this.#inPlace) throw this.#fail(cause);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') {
      throw new BackplaneError('unavailable', `cannot append to the log in ${dir}: ${code}; check the disk`);
    }
    if (this.#options.onFull?.() ?? this.#dropOldest()) return;
    const message = `no space for the log in ${dir}, which holds ${this.bytes} bytes: free some, or move the data`;
    throw new BackplaneError('resource_exhausted', message);
  }

  async #flush(): Promise<void> {
    if (this.#failed) throw this.#failed;
    const ordinal = this.#list.nextOrdinal;
    const { newest } = this.#list;
    const newestBytes = newest?.bytes ?? 0;
    const pending = [...this.#unsynced];
    const namesUnsynced = this.#namesUnsynced;
    this.#namesUnsynced = false;
    try {
      for (const segment of pending) if (!segment.removed && !segment.synced) await segment.sync();
      if (namesUnsynced) await this.#files.syncDirectory(this.#options.dir);
    } catch (cause) {
      throw this.#fail(cause);
    }
    // A sync that failed meanwhile took the error of these pages with it: the kernel tells it once.
    if (this.#failed) throw this.#failed;
    // A file without a name is synced like any other, and gone with the next start.
    if (!this.#inPlace) throw this.#fail(undefined);
    this.#durableOrdinal = ordinal;
    if (newest && !newest.removed) this.#bounds.reached(newest, ordinal, newestBytes);
    for (const segment of pending) {
      if (!segment.synced || segment.removed) continue;
      this.#unsynced.delete(segment);
      if (segment.sealed) segment.writeIndex();
    }
  }

  /** After a failed sync the kernel drops the pages: a second that succeeds would promise what is not there. */
  #fail(cause: unknown): BackplaneError {
    const reason = systemErrorCode(cause) ?? String(cause);
    const isThere = reason !== 'ENOENT' && this.#inPlace;
    const notSynced = `cannot sync the log in ${this.#options.dir}: ${reason}; check the disk and restart`;
    this.#failed = new BackplaneError('unavailable', isThere ? notSynced : this.#directory.removedMessage);
    return this.#failed;
  }

  #checkOpen(): void {
    if (this.#failed) throw this.#failed;
    if (this.#closing) throw new BackplaneError('failed_precondition', `the log in ${this.#options.dir} is closed`);
  }

  #now(): bigint {
    return this.#options.now?.() ?? wallNowNs();
  }
}

function isOlder(segment: Segment, timeNs: bigint): boolean {
  return endNs(segment) < timeNs;
}

/** A segment without a readable record ages by when it was begun. */
function endNs(segment: Segment): bigint {
  return segment.index.length > 0 ? segment.lastTimeNs : segment.createdNs;
}
