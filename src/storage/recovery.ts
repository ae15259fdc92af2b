/**
 * Opens what is on disk: which log it is, which segments it has, and what of
 * them can be read. Only the newest segment and those without a good index
 * are read through.
 *
 * A newest segment that ends in a record which was never wholly written is cut
 * there and goes on. One that ends in bytes which cannot be explained like
 * that may have lost records that somebody was told are safe: it is left as it
 * is and closed, and ordinals go on behind all that it could have held, so
 * that none is given twice.
 */
import { BackplaneError } from '../errors.js';
import { LOG_NOTES_MAX } from '../limits.js';
import { type FileOps, systemErrorCode } from './file-ops.js';
import { decodeSegmentHeader, HEADER_BYTES, type LogKey, type SegmentHeader } from './format.js';
import { newIdentity, readIdentity, writeIdentity } from './identity.js';
import { Segment, segmentOrdinal } from './segment.js';
import { SegmentCursor } from './segment-cursor.js';
import { SegmentList } from './segment-list.js';
import { isTorn, recordsMax, type Tail } from './segment-tail.js';

/** Something on disk that was not as it should be, found when the log was opened. */
export interface Damage {
  /** File name. */
  readonly segment: string;
  readonly byteOffset: number;
  readonly bytes: number;
  readonly message: string;
}

export interface Recovered {
  readonly key: LogKey;
  readonly list: SegmentList;
  readonly notes: readonly Damage[];
  /** Behind the last record that can be read there was more. */
  readonly endLost: boolean;
}

/** What the newest segment is: to be appended to, closed, or not begun properly and to be made anew. */
interface Newest {
  readonly is: 'active' | 'closed' | 'unborn';
  readonly endLost: boolean;
}

class Notes {
  readonly list: Damage[] = [];
  #more = 0;

  add(segment: Segment, byteOffset: number, bytes: number, message: string): void {
    const name = segment.path.slice(segment.dir.length + 1);
    if (this.list.length < LOG_NOTES_MAX) this.list.push({ segment: name, byteOffset, bytes, message });
    else
      this.list[LOG_NOTES_MAX - 1] = {
        segment: name,
        byteOffset,
        bytes,
        message: `${++this.#more} more, and ${message}`,
      };
  }
}

/** Throws BackplaneError: `failed_precondition` when the directory cannot be used, `unavailable` when the disk fails. */
export function recover(files: FileOps, dir: string, nowNs: bigint): Recovered {
  const notes = new Notes();
  const ordinals = listSegments(files, dir);
  const key = findKey(files, dir, ordinals);
  const segments = ordinals.map((ordinal) => new Segment(files, dir, key, ordinal));
  let nextOrdinal = 0;
  let newest: Newest | undefined;
  for (const [at, segment] of segments.entries()) {
    segment.createdNs = nowNs;
    const next = segments[at + 1];
    const headerFault = readHeader(segment, next === undefined, notes);
    if (next) recoverOlder(segment, next.firstOrdinal, notes);
    else {
      newest = recoverNewest(segment, headerFault, notes);
      nextOrdinal = newest.is === 'unborn' ? segment.firstOrdinal : segment.nextOrdinal;
    }
  }
  // Its file stays, and with it the count of ordinals, until the next segment takes its name.
  if (newest?.is === 'unborn') segments.pop();
  const list = new SegmentList(segments, nextOrdinal);
  return { key, list, notes: notes.list, endLost: newest?.endLost ?? false };
}

function listSegments(files: FileOps, dir: string): number[] {
  let names: string[];
  try {
    files.makeDirectory(dir);
    names = files.list(dir);
  } catch (cause) {
    throw new BackplaneError('failed_precondition', `cannot use directory ${dir}: ${systemErrorCode(cause) ?? cause}`);
  }
  for (const name of names) {
    const orphan = name.endsWith('.index') && !names.includes(`${name.slice(0, -'.index'.length)}.log`);
    if (!orphan && !name.endsWith('.new')) continue;
    try {
      files.unlink(`${dir}/${name}`);
    } catch {
      // Leftovers of a crash: in nobody's way.
    }
  }
  const ordinals = names.map(segmentOrdinal).filter((ordinal) => ordinal !== undefined);
  return ordinals.sort((a, b) => a - b);
}

function findKey(files: FileOps, dir: string, ordinals: readonly number[]): LogKey {
  const known = readIdentity(files, dir);
  if (known) return known;
  let key: LogKey | undefined;
  for (const ordinal of ordinals.toReversed()) {
    try {
      const header = peekHeader(new Segment(files, dir, { identity: 0n, salt: 0 }, ordinal));
      if (typeof header === 'string') continue;
      key = { identity: header.identity, salt: header.salt };
      break;
    } catch {
      // Another segment may tell.
    }
  }
  key ??= newIdentity();
  try {
    writeIdentity(files, dir, key);
  } catch (cause) {
    throw new BackplaneError('failed_precondition', `cannot write to ${dir}: ${systemErrorCode(cause) ?? cause}`);
  }
  return key;
}

/** The header, or what is wrong with it; sets the segment's length. Throws what the file system throws. */
function peekHeader(segment: Segment): SegmentHeader | string {
  const bytes = Buffer.alloc(HEADER_BYTES);
  const fd = segment.acquire();
  try {
    segment.bytes = segment.files.size(fd);
    return decodeSegmentHeader(bytes.subarray(0, segment.files.read(fd, bytes, 0, HEADER_BYTES, 0)));
  } finally {
    segment.release();
  }
}

/** What is wrong with the header, if anything. A newest segment that cannot be read at all stops the start. */
function readHeader(segment: Segment, newest: boolean, notes: Notes): string | undefined {
  let header: SegmentHeader | string;
  let fault: string | undefined;
  try {
    header = peekHeader(segment);
  } catch (cause) {
    if (newest) throw unusable(segment, cause);
    header = `unreadable: ${systemErrorCode(cause) ?? cause}`;
  }
  if (typeof header === 'string') fault = header;
  else if (header.identity !== segment.key.identity) fault = 'of another log';
  else if (header.firstOrdinal !== segment.firstOrdinal) fault = `header says first ordinal ${header.firstOrdinal}`;
  else {
    segment.headRecords = header.headRecords;
    segment.createdNs = header.createdNs;
  }
  if (fault !== undefined) notes.add(segment, 0, Math.min(HEADER_BYTES, segment.bytes), fault);
  return fault;
}

function recoverOlder(segment: Segment, ordinalEnd: number, notes: Notes): void {
  const summary = segment.readIndex();
  if (summary && summary.bytes === segment.bytes && summary.nextOrdinal <= ordinalEnd) {
    segment.index = summary.index;
    segment.firstTimeNs = summary.firstTimeNs;
    segment.lastTimeNs = summary.lastTimeNs;
    if (summary.synced) segment.syncedBytes = segment.bytes;
    segment.nextOrdinal = ordinalEnd;
    return;
  }
  readThrough(segment, ordinalEnd, notes);
  segment.nextOrdinal = ordinalEnd;
  if (segment.bytes > 0) syncNow(segment);
  segment.writeIndex();
}

function recoverNewest(segment: Segment, headerFault: string | undefined, notes: Notes): Newest {
  const promised = segment.readIndex()?.nextOrdinal ?? 0;
  const tail = readThrough(segment, undefined, notes);
  const cut = segment.nextOrdinal < promised;
  const torn = tail === undefined || isTorn(segment, tail);
  const whole = segment.nextOrdinal - segment.firstOrdinal >= segment.headRecords;
  const begun = segment.bytes >= HEADER_BYTES && whole;
  const endLost = cut || tail !== undefined || !begun;
  if (torn && !cut && !begun) return { is: 'unborn', endLost };
  if (torn && !cut && headerFault === undefined) {
    if (tail) cutTail(segment, tail);
    syncNow(segment);
    segment.sealed = false;
    return { is: 'active', endLost };
  }
  const held = tail === undefined ? 0 : recordsMax(segment, tail);
  segment.nextOrdinal = Math.max(segment.nextOrdinal + held, promised);
  // Without a single ordinal it would share its name with the next segment.
  if (segment.nextOrdinal === segment.firstOrdinal) return { is: 'unborn', endLost };
  if (cut && !tail) notes.add(segment, segment.bytes, 0, `file cut: records up to ordinal ${promised - 1} were there`);
  syncNow(segment);
  segment.writeIndex();
  return { is: 'closed', endLost };
}

/** Reads all records into the index. Returns the bad bytes that the segment ends in. */
function readThrough(segment: Segment, ordinalEnd: number | undefined, notes: Notes): Tail | undefined {
  const end = ordinalEnd ?? Number.MAX_SAFE_INTEGER;
  segment.sealed = ordinalEnd !== undefined;
  const cursor = new SegmentCursor(segment, segment.firstOrdinal, end);
  let tail: Tail | undefined;
  for (;;) {
    const item = cursor.next();
    if (item === undefined) break;
    if (item.kind === 'record') segment.note(item.ordinal, cursor.itemOffset, item.timeNs, item.anchor);
    else {
      notes.add(segment, cursor.itemOffset, item.bytes, item.message);
      if (item.bytes > 0 && cursor.itemOffset + item.bytes === segment.bytes) {
        tail = { byteOffset: cursor.itemOffset, bytes: item.bytes, ordinal: item.ordinalFrom };
      }
    }
  }
  cursor.close();
  segment.sealed = true;
  return tail;
}

function cutTail(segment: Segment, tail: Tail): void {
  const fd = segment.acquire();
  try {
    segment.files.truncate(fd, tail.byteOffset);
    segment.bytes = tail.byteOffset;
  } catch (cause) {
    throw unusable(segment, cause);
  } finally {
    segment.release();
  }
}

function syncNow(segment: Segment): void {
  try {
    segment.syncNow();
  } catch (cause) {
    throw unusable(segment, cause);
  }
}

function unusable(segment: Segment, cause: unknown): BackplaneError {
  return new BackplaneError(
    'unavailable',
    `cannot recover ${segment.path}: ${systemErrorCode(cause) ?? cause}; check the disk`,
  );
}
