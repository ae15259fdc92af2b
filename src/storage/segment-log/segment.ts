/**
 * One segment file and what is known about it: its range of ordinals, times
 * and bytes, its index, and the one descriptor that appending, reading and
 * syncing share.
 */
import { join } from 'node:path';
import { type FileOps, readSmallFile, writeAll, writeSmallFile } from '../file-ops.js';
import { leadsTo, type OpenFile, openFile } from '../held-directory.js';
import type { LogKey } from './format.js';
import { decodeIndex, encodeIndex, INDEX_FILE_BYTES_MAX, type SegmentSummary } from './index-file.js';
import { SparseIndex } from './sparse-index.js';
import { VerifiedStretch } from './verified-stretch.js';

const NAME = /^(\d{16})\.log$/;
const INDEX_NAME = /^(\d{16})\.index$/;

/** A segment as the log reports it. */
export interface SegmentInfo {
  readonly path: string;
  readonly firstOrdinal: number;
  /** One past the last. */
  readonly nextOrdinal: number;
  /** Wall clock, earliest and latest; both 0 when there are no records. */
  readonly firstTimeNs: bigint;
  readonly lastTimeNs: bigint;
  readonly bytes: number;
}

/** The first ordinal that a segment's file name states; undefined for other files. */
export function segmentOrdinal(fileName: string): number | undefined {
  const match = NAME.exec(fileName);
  return match ? Number(match[1]) : undefined;
}

/** The first ordinal that an index's file name states; undefined for other files. */
export function indexOrdinal(fileName: string): number | undefined {
  const match = INDEX_NAME.exec(fileName);
  return match ? Number(match[1]) : undefined;
}

export class Segment implements SegmentInfo {
  readonly path: string;
  nextOrdinal: number;
  firstTimeNs = 0n;
  lastTimeNs = 0n;
  /** Length of the written part of the file, which readers may read. */
  bytes = 0;
  syncedBytes = 0;
  /** Bytes that once followed `bytes` in the file and are gone. */
  lostBytes = 0;
  headRecords = 0;
  /** Bytes that the segment was begun with; 0 for a segment found on disk. */
  headBytes = 0;
  /** Wall clock. */
  createdNs = 0n;
  index = new SparseIndex();
  /** Filled once it is sealed: see SegmentCursor. */
  readonly verified = new VerifiedStretch();
  /** No record is appended to it any more. */
  sealed = true;
  /** Deleted: readers continue with the next segment. */
  removed = false;
  /** A failed write may have left bytes behind `bytes`. */
  #dirtyTail = false;
  #fd: number | undefined;
  /** Of `#fd`, once it was asked for. */
  #file: OpenFile | undefined;
  #users = 0;
  /** Syncs under way. Closing the descriptor meanwhile could hand its number to another file. */
  #syncs = 0;

  constructor(
    readonly files: FileOps,
    readonly dir: string,
    readonly key: LogKey,
    readonly firstOrdinal: number,
  ) {
    this.path = join(dir, `${String(firstOrdinal).padStart(16, '0')}.log`);
    this.nextOrdinal = firstOrdinal;
  }

  /** The descriptor, opened if it is not open yet; each call needs its `release`. Throws the error of open. */
  acquire(): number {
    this.#fd ??= this.files.open(this.path, 'r+');
    this.#users++;
    return this.#fd;
  }

  release(): void {
    if (--this.#users === 0) this.#close();
  }

  /** Creates the file with its header and first records. */
  create(buffers: readonly Uint8Array[], bytes: number): void {
    this.#fd = this.files.open(this.path, 'w+');
    this.#users = 1;
    this.sealed = false;
    this.write(buffers, bytes);
    this.headBytes = this.bytes;
  }

  /** Appends to the file, or leaves the file as it was and throws. */
  write(buffers: readonly Uint8Array[], bytes: number): void {
    if (this.#dirtyTail) this.#cutBack();
    try {
      writeAll(this.files, this.#fd!, buffers, bytes, this.bytes);
    } catch (cause) {
      this.#dirtyTail = true;
      try {
        this.#cutBack();
      } catch {
        // The next write cuts the file back; readers never look behind `bytes`.
      }
      throw cause;
    }
    this.bytes += bytes;
  }

  /** Notes a record that now stands at `offset`. */
  note(ordinal: number, offset: number, timeNs: bigint, anchor: boolean): void {
    if (this.index.length === 0 || timeNs < this.firstTimeNs) this.firstTimeNs = timeNs;
    if (timeNs > this.lastTimeNs) this.lastTimeNs = timeNs;
    this.index.add(ordinal, offset, timeNs, anchor);
    this.nextOrdinal = ordinal + 1;
  }

  get synced(): boolean {
    return this.syncedBytes >= this.bytes;
  }

  /** Whether a record was appended after those that the segment was begun with. */
  get grown(): boolean {
    return this.nextOrdinal - this.firstOrdinal > this.headRecords;
  }

  /**
   * Whether its name still leads to the open file: false when somebody removed or replaced it. True while it is closed.
   */
  get inPlace(): boolean {
    if (this.#fd === undefined) return true;
    this.#file ??= openFile(this.#fd);
    return leadsTo(this.path, this.#file);
  }

  /** Makes all that is written at the call durable. */
  async sync(): Promise<void> {
    const bytes = this.bytes;
    const fd = this.acquire();
    this.#syncs++;
    try {
      await this.files.sync(fd);
      this.syncedBytes = Math.max(this.syncedBytes, bytes);
    } finally {
      this.#syncs--;
      this.release();
      if (this.removed) this.#close();
    }
  }

  /** As sync, but blocking, for the start. */
  syncNow(): void {
    const fd = this.acquire();
    try {
      this.files.syncNow(fd);
      this.syncedBytes = this.bytes;
    } finally {
      this.release();
    }
  }

  /** Frees the space at once: readers lose their descriptor and continue with the next segment. */
  remove(): void {
    this.removed = true;
    this.sealed = true;
    this.#close();
    // The index goes first: an index without its segment means that somebody else removed the segment.
    for (const path of [this.#indexPath, this.path]) {
      try {
        this.files.unlink(path);
      } catch {
        // It is gone already, or the next start finds it again.
      }
    }
  }

  writeIndex(): void {
    const summary: SegmentSummary = { ...this.#summary(), synced: this.synced, index: this.index };
    try {
      writeSmallFile(this.files, this.#indexPath, encodeIndex(summary), false);
    } catch {
      // The index is only a cache: without it the next start reads the segment.
    }
  }

  /** The index on disk, if it belongs to this segment; it may be older than the segment's last records. */
  readIndex(): SegmentSummary | undefined {
    const bytes = readSmallFile(this.files, this.#indexPath, INDEX_FILE_BYTES_MAX);
    const summary = bytes && decodeIndex(bytes);
    const own = summary?.identity === this.key.identity && summary.firstOrdinal === this.firstOrdinal;
    return own ? summary : undefined;
  }

  get #indexPath(): string {
    return `${this.path.slice(0, -'.log'.length)}.index`;
  }

  #summary() {
    const { firstOrdinal, nextOrdinal, bytes, firstTimeNs, lastTimeNs } = this;
    return { identity: this.key.identity, firstOrdinal, nextOrdinal, bytes, firstTimeNs, lastTimeNs };
  }

  #cutBack(): void {
    this.files.truncate(this.#fd!, this.bytes);
    this.#dirtyTail = false;
  }

  #close(): void {
    if (this.#fd === undefined || this.#syncs > 0) return;
    const fd = this.#fd;
    this.#fd = undefined;
    this.#file = undefined;
    this.files.close(fd);
  }
}
