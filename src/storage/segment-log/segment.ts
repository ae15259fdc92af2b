/**
 * One segment file and what is known about it: its range of ordinals, times
 * and bytes, its index, and the one descriptor that appending, reading and
 * syncing share.
 */
import { join } from 'node:path';
import { type FileOps, readSmallFile, writeAll, writeSmallFile } from '../file-ops.js';
import { leadsTo } from '../held-directory.js';
import type { LogKey } from './format.js';
import { decodeIndex, encodeIndex, INDEX_FILE_BYTES_MAX, type SegmentSummary } from './index-file.js';
import { SparseIndex } from './sparse-index.js';

const NAME = /^(\d{16})\.log$/;
const INDEX_NAME = /^(\d{16})\.index$/;

/** What the log tells about a segment. */
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

/** The first ordinal that a segment's file name tells; undefined for other files. */
export function segmentOrdinal(fileName: string): number | undefined {
  const match = NAME.exec(fileName);
  return match ? Number(match[1]) : undefined;
}

/** The same of an index's file name. */
export function indexOrdinal(fileName: string): number | undefined {
  const match = INDEX_NAME.exec(fileName);
  return match ? Number(match[1]) : undefined;
}

export class Segment implements SegmentInfo {
  readonly path: string;
  nextOrdinal: number;
  firstTimeNs = 0n;
  lastTimeNs = 0n;
  /** How much of the file is written and may be read. */
  bytes = 0;
  syncedBytes = 0;
  /** Bytes that the file had behind `bytes` when it was written, and has no more. */
  lostBytes = 0;
  headRecords = 0;
  /** What the file began with; 0 for one that was found. */
  headBytes = 0;
  /** Wall clock. */
  createdNs = 0n;
  index = new SparseIndex();
  /** Nothing is appended to it any more. */
  sealed = true;
  /** Deleted: readers go on behind it. */
  removed = false;
  /** Bytes of a failed write may stand behind `bytes`. */
  #dirtyTail = false;
  #fd: number | undefined;
  #users = 0;
  /** Syncs under way: the descriptor must not be closed, and so given to another file, under them. */
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

  /** The descriptor, opened when nobody has it; each call needs its `release`. Throws what open throws. */
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

  /** Writes behind what is there, or leaves it as it was and throws. */
  write(buffers: readonly Uint8Array[], bytes: number): void {
    if (this.#dirtyTail) this.#cutBack();
    try {
      writeAll(this.files, this.#fd!, buffers, bytes, this.bytes);
    } catch (cause) {
      this.#dirtyTail = true;
      try {
        this.#cutBack();
      } catch {
        // Tried again before the next write; a reader never looks behind `bytes`.
      }
      throw cause;
    }
    this.bytes += bytes;
  }

  /** A record that now stands at `offset`. */
  note(ordinal: number, offset: number, timeNs: bigint, anchor: boolean): void {
    if (this.index.length === 0 || timeNs < this.firstTimeNs) this.firstTimeNs = timeNs;
    if (timeNs > this.lastTimeNs) this.lastTimeNs = timeNs;
    this.index.add(ordinal, offset, timeNs, anchor);
    this.nextOrdinal = ordinal + 1;
  }

  get synced(): boolean {
    return this.syncedBytes >= this.bytes;
  }

  /** Whether something was appended to it after the records that it was begun with. */
  get grown(): boolean {
    return this.nextOrdinal - this.firstOrdinal > this.headRecords;
  }

  /** Whether its name leads to what is written: not when somebody removed or replaced the file. True while it is closed. */
  get inPlace(): boolean {
    return this.#fd === undefined || leadsTo(this.path, this.#fd);
  }

  /** Makes what is written now durable. */
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

  /** The same at once, for the start. */
  syncNow(): void {
    const fd = this.acquire();
    try {
      this.files.syncNow(fd);
      this.syncedBytes = this.bytes;
    } finally {
      this.release();
    }
  }

  /** Frees the space at once: readers lose their descriptor and go on behind. */
  remove(): void {
    this.removed = true;
    this.sealed = true;
    this.#close();
    // An index without its segment says that somebody else removed the segment.
    for (const path of [this.#indexPath, this.path]) {
      try {
        this.files.unlink(path);
      } catch {
        // Gone already, or found again at the next start.
      }
    }
  }

  writeIndex(): void {
    const summary: SegmentSummary = { ...this.#summary(), synced: this.synced, index: this.index };
    try {
      writeSmallFile(this.files, this.#indexPath, encodeIndex(summary), false);
    } catch {
      // Only a cache: the segment is read again at the next start.
    }
  }

  /** The index on disk, if it belongs to this segment; it may be older than the segment. */
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
    this.files.close(fd);
  }
}
