/**
 * One crash-safe log in segment files: records with dense, ever growing
 * ordinals, bounded in bytes and age. The flight recorder syncs it
 * now and then; the partition logs sync in groups.
 */
import { BackplaneError } from '../../errors.js';
import { LOG_SEGMENTS_MAX, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN } from '../../limits.js';
import { msToNs, wallNowNs } from '../../nanoseconds.js';
import { isDiskFull } from '../cannot-write.js';
import { type FileOps, nodeFileOps, systemErrorCode } from '../file-ops.js';
import { GroupCommit } from '../group-commit.js';
import { HeldDirectory } from '../held-directory.js';
import type { BoundsFile } from './bounds-file.js';
import { encodeRecordHeader, RECORD_HEADER_BYTES } from './format.js';
import type { LogOptions } from './log-options.js';
import { LogReader } from './log-reader.js';
import { checkRange, createSegment, type NewRecord, payloadLength } from './new-record.js';
import { type Damage, type LogEnd, type Recovered, recover } from './recovery.js';
import { Segment, type SegmentInfo } from './segment.js';
import type { SegmentList } from './segment-list.js';
import type { AnchorPlace } from './sparse-index.js';

export type { LogOptions } from './log-options.js';
export type { NewRecord } from './new-record.js';

const UNBOUNDED = Number.MAX_SAFE_INTEGER;
/** A power of two. */
const CRCS_KEPT = 1024;
const CRCS_MASK = CRCS_KEPT - 1;

export class SegmentLog {
  /** Damage that was cut or found when the log was opened. */
  readonly notes: readonly Damage[];
  /** How it ended when it was opened. */
  readonly foundEnd: LogEnd;
  /** Random, chosen when the log was created: 16 hex digits. */
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
  /** Segments written but not synced, oldest first. */
  #unsynced: Set<Segment>;
  #namesUnsynced = false;
  /** Set once somebody relies on syncs: from then on a segment is synced before its index is written. */
  #syncs = false;
  #durableOrdinal: number;
  #failed: BackplaneError | undefined;
  #closing: Promise<void> | undefined;
  #recordHeader = Buffer.alloc(RECORD_HEADER_BYTES);
  /** Checksums of the newest records, by ordinal. */
  readonly #crcs = new Uint32Array(CRCS_KEPT);

  /**
   * Opens or creates a log, and reads its newest segment in full. Throws BackplaneError: `invalid_argument` for options
   * out of range, `failed_precondition` when the directory cannot be used, `resource_exhausted` when a new log finds no
   * room on the disk, `unavailable` when the disk fails. Two logs must not be open on one directory: see `lockDirectory`.
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
    const { key, list, bounds, notes, end } = recover(this.#files, options.dir, this.#now());
    this.#key = key;
    this.#bounds = bounds;
    this.#list = list;
    this.notes = notes;
    this.foundEnd = end;
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

  /** The oldest record that still exists; nextOrdinal when there is none. */
  get firstOrdinal(): number {
    return this.#list.firstOrdinal;
  }

  /** The ordinal of the next record. */
  get nextOrdinal(): number {
    return this.#list.nextOrdinal;
  }

  /** All records below it are certainly on the disk. */
  get durableOrdinal(): number {
    return Math.max(this.#durableOrdinal, this.#list.firstOrdinal);
  }

  /** Size of all segment files. */
  get bytes(): number {
    return this.#list.bytes;
  }

  segments(): SegmentInfo[] {
    return this.#list.segments.map(({ path, firstOrdinal, nextOrdinal, firstTimeNs, lastTimeNs, bytes }) => {
      return { path, firstOrdinal, nextOrdinal, firstTimeNs, lastTimeNs, bytes };
    });
  }

  /**
   * Writes a record and returns its ordinal. When it throws BackplaneError, the log is unchanged: `invalid_argument`,
   * `resource_exhausted` when the disk is full and there is nothing older to delete (later appends succeed once there
   * is room), `unavailable` when the disk fails, `failed_precondition` after close.
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
   * Syncs the earlier segments before a new one begins. Otherwise a power cut could keep the new file but lose the end
   * of the earlier ones, and leave a hole that records follow. Most of it is synced already.
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
   * Throws `unavailable` when the directory or the newest file has been moved or removed: the log then takes no more
   * records until it is opened again. Each sync checks this by itself; an idle log needs this call now and then.
   */
  checkPlace(): void {
    if (this.#failed) throw this.#failed;
    if (!this.#closing && !this.#inPlace) throw this.#fail(undefined);
  }

  /** The log takes no more records until it is opened again. */
  get failed(): boolean {
    return this.#failed !== undefined;
  }

  get #inPlace(): boolean {
    return this.#directory.inPlace && (this.#active?.inPlace ?? true);
  }

  /** The checksum of one of the newest records; 0 when it is not in memory. See RecordItem. */
  crc(ordinal: number): number {
    return ordinal >= this.nextOrdinal || ordinal < this.nextOrdinal - CRCS_KEPT ? 0 : this.#crcs[ordinal & CRCS_MASK]!;
  }

  /** Newest first. Where a segment has more than SEGMENT_ANCHORS_MAX of them, some are left out. */
  *anchors(): Generator<AnchorPlace> {
    for (const segment of this.#list.segments.toReversed()) if (!segment.removed) yield* segment.index.anchors();
  }

  /**
   * An ordinal before which no record has this time or a later one, as near as the index knows. For a log whose records'
   * times do not decrease.
   */
  ordinalAt(timeNs: bigint): number {
    let ordinal = this.firstOrdinal;
    for (const { index, firstTimeNs } of this.#list.segments) {
      if (index.length === 0) continue;
      if (firstTimeNs >= timeNs) break;
      ordinal = index.ordinal(index.seekTime(timeNs));
    }
    return ordinal;
  }

  /** Time of the oldest readable record (wall, nanoseconds); undefined when there is none. */
  get firstTimeNs(): bigint | undefined {
    return this.#list.segments.find(({ index }) => index.length > 0)?.firstTimeNs;
  }

  /**
   * Reads from an ordinal, which may be one that was evicted; throws `invalid_argument` beyond nextOrdinal. For records
   * of unwanted kinds only the header is read.
   */
  reader(fromOrdinal: number, wants?: (kind: number) => boolean): LogReader {
    checkRange('fromOrdinal', fromOrdinal, 0, this.nextOrdinal);
    return new LogReader(this.#list, fromOrdinal, wants);
  }

  /**
   * Deletes the oldest segments while the log is over bytesMax, or they hold nothing younger than ageMsMax. Appending
   * enforces bytesMax by itself; call this now and then for ageMsMax. An idle log's last records are deleted too: a new
   * segment is begun to carry the count of ordinals on.
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
   * End time of the oldest segment that may be deleted (wall, nanoseconds); undefined when none may. Where syncs are
   * relied on, a segment with records that are not durable stays, because nobody can have read them yet.
   */
  get oldestNs(): bigint | undefined {
    const [oldest] = this.#list.segments;
    if (oldest === undefined || (this.#syncs && oldest.nextOrdinal > this.#durableOrdinal)) return undefined;
    return this.#list.segments.length > 1 || oldest.grown ? endNs(oldest) : undefined;
  }

  /** Deletes the segment of `oldestNs`; false when none may be deleted, or no segment can be begun after the newest. */
  removeOldest(): boolean {
    if (this.oldestNs === undefined || this.#closing) return false;
    if (this.#list.segments.length === 1) this.#renew();
    return this.#dropOldest();
  }

  /** Syncs where syncs are relied on, and closes the files. Readers can still read to the end. */
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
    this.#crcs[ordinal & CRCS_MASK] = this.#recordHeader.readUInt32LE(4);
    this.#list.bytes += size;
    this.#list.nextOrdinal = ordinal + 1;
    return ordinal;
  }

  /**
   * The head of a segment is at most half of it: otherwise a long head would make a segment out of every few records.
   */
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
    for (let ordinal = this.nextOrdinal; ordinal < segment.nextOrdinal; ordinal++) this.#crcs[ordinal & CRCS_MASK] = 0;
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
      // The disk is full: the records stay until there is room for the next segment.
    }
  }

  #evict(): void {
    while (this.#list.bytes > this.#bytesMax || this.#list.segments.length > LOG_SEGMENTS_MAX) {
      if (!this.#dropOldest()) return;
    }
  }

  #dropOldest(): boolean {
    const [, next] = this.#list.segments;
    // Before the file is deleted: a missing file that the bounds still include was removed by somebody else.
    if (next) this.#bounds.raiseFirst(next.firstOrdinal, this.#syncs);
    const segment = this.#list.dropOldest();
    if (segment) this.#unsynced.delete(segment);
    return segment !== undefined;
  }

  /** Deletes the oldest segment when the disk is full; throws when it cannot, or when the error is another one. */
  #makeSpace(cause: unknown): void {
    const code = systemErrorCode(cause);
    if (code === undefined || cause instanceof BackplaneError) throw cause;
    const { dir } = this.#options;
    if (!this.#inPlace) throw this.#fail(cause);
    if (!isDiskFull(cause)) {
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
    // A failed sync meanwhile consumed the error of these pages: the kernel reports it only once.
    if (this.#failed) throw this.#failed;
    // Syncing an unlinked file succeeds, but the next start will not find it.
    if (!this.#inPlace) throw this.#fail(undefined);
    this.#durableOrdinal = ordinal;
    if (newest && !newest.removed) this.#bounds.reached(newest, ordinal, newestBytes);
    for (const segment of pending) {
      if (!segment.synced || segment.removed) continue;
      this.#unsynced.delete(segment);
      if (segment.sealed) segment.writeIndex();
    }
  }

  /**
   * After a failed sync the kernel drops the pages, so a second sync that succeeds would promise records that are lost.
   */
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

/** A segment without a readable record ages from its creation. */
function endNs(segment: Segment): bigint {
  return segment.index.length > 0 ? segment.lastTimeNs : segment.createdNs;
}
