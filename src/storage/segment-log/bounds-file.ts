/**
 * The range of a log as it was last written down, in the file `bounds` of its directory. Without it, a segment file
 * that somebody removed would look like one that retention deleted, or like one that never existed.
 *
 *   Bounds := magic "BPBOUND1" | identity u64 | firstOrdinal u64 | nextOrdinal u64
 *             | newestOrdinal u64 | newestBytes u64 | crc32 u32 (of the 48 bytes before)
 *
 * It is overwritten in place, so that a full disk has room for it, and it is smaller than a sector. A log opens without
 * its bounds where they are missing or cannot be used; the latter is noted as damage.
 */
import { join } from 'node:path';
import { type FileOps, readSmallFile, systemErrorCode, writeAll } from '../file-ops.js';
import { isSealed, seal } from './seal.js';
import type { Segment } from './segment.js';
import type { SegmentList } from './segment-list.js';

export interface LogBounds {
  /** The oldest record that must still exist. */
  readonly firstOrdinal: number;
  /** All records below it were written. */
  readonly nextOrdinal: number;
  /** First ordinal of the newest segment, and the length of its file. */
  readonly newestOrdinal: number;
  readonly newestBytes: number;
}

const MAGIC = Buffer.from('BPBOUND1', 'latin1');
const BYTES = 52;
export const BOUNDS = 'bounds';

export class BoundsFile {
  readonly #dir: string;
  readonly #path: string;
  #last: LogBounds = { firstOrdinal: 0, nextOrdinal: 0, newestOrdinal: 0, newestBytes: 0 };

  readonly #files: FileOps;
  readonly #identity: bigint;

  constructor(files: FileOps, dir: string, identity: bigint) {
    this.#files = files;
    this.#identity = identity;
    this.#dir = dir;
    this.#path = join(dir, BOUNDS);
  }

  /** The bounds as they were last written, or a sentence that says why they cannot be used; undefined: no file. */
  read(): LogBounds | string | undefined {
    const bytes = readSmallFile(this.#files, this.#path, BYTES);
    if (bytes === undefined) {
      const isThere = this.#files.list(this.#dir).includes(BOUNDS);
      return isThere ? `must be a readable regular file of at most ${BYTES} bytes` : undefined;
    }
    // Created, and the power went before its content was on the disk.
    if (bytes.every((byte) => byte === 0)) return undefined;
    if (bytes.length !== BYTES || !isSealed(bytes, MAGIC)) return 'is no whole bounds file';
    if (bytes.readBigUInt64LE(8) !== this.#identity) return 'is of another log';
    return {
      firstOrdinal: Number(bytes.readBigUInt64LE(16)),
      nextOrdinal: Number(bytes.readBigUInt64LE(24)),
      newestOrdinal: Number(bytes.readBigUInt64LE(32)),
      newestBytes: Number(bytes.readBigUInt64LE(40)),
    };
  }

  /** Creates the file; later writes only overwrite it, and so need no free space. */
  begin({ firstOrdinal, nextOrdinal, newest }: SegmentList): void {
    const newestOrdinal = newest?.firstOrdinal ?? nextOrdinal;
    this.#write('w+', { firstOrdinal, nextOrdinal, newestOrdinal, newestBytes: newest?.bytes ?? 0 }, false);
  }

  /** Records that all below `nextOrdinal` was written, and how long the newest segment then was. */
  reached({ firstOrdinal: newestOrdinal }: Segment, nextOrdinal: number, newestBytes: number): void {
    this.#write('r+', { ...this.#last, nextOrdinal, newestOrdinal, newestBytes }, false);
  }

  /** Records that older records are deleted. `durable`: on the disk when it returns. */
  raiseFirst(firstOrdinal: number, durable: boolean): void {
    this.#write('r+', { ...this.#last, firstOrdinal }, durable);
  }

  /** A failed write is ignored: the file then states less than is true, and a file removed meanwhile goes unnoticed. */
  #write(flags: 'r+' | 'w+', bounds: LogBounds, durable: boolean): void {
    this.#last = bounds;
    try {
      const fd = this.#files.open(this.#path, flags);
      try {
        writeAll(this.#files, fd, [this.#encode(bounds)], BYTES, 0);
        if (durable) this.#files.syncNow(fd);
      } finally {
        this.#files.close(fd);
      }
    } catch (cause) {
      if (systemErrorCode(cause) === undefined) throw cause;
    }
  }

  #encode({ firstOrdinal, nextOrdinal, newestOrdinal, newestBytes }: LogBounds): Buffer {
    const bytes = Buffer.alloc(BYTES);
    bytes.writeBigUInt64LE(this.#identity, 8);
    bytes.writeBigUInt64LE(BigInt(firstOrdinal), 16);
    bytes.writeBigUInt64LE(BigInt(nextOrdinal), 24);
    bytes.writeBigUInt64LE(BigInt(newestOrdinal), 32);
    bytes.writeBigUInt64LE(BigInt(newestBytes), 40);
    return seal(bytes, MAGIC);
  }
}
