/**
 * Opens a log on disk: identifies it, lists its segments, and finds what of them can be read. Only the newest segment
 * and those without a good index are read in full. A missing file is known from its index or from the log's bounds: it
 * stays in the list as a segment without bytes, so that every reader that passes it is told of the loss.
 *
 * A newest segment that ends in a record which was never wholly written is cut there and continued. One that ends in
 * bytes without such an explanation may have lost records that were promised to be safe: it is left as it is and
 * closed, and ordinals continue behind all that it could have held, so that none is given twice.
 */
import { BackplaneError } from '../../errors.js';
import { LOG_NOTES_MAX, LOG_UNMARKED_RECORDS_MAX } from '../../limits.js';
import { cannotWrite, isDiskFull } from '../cannot-write.js';
import { type FileOps, systemErrorCode } from '../file-ops.js';
import { newIdentity, readIdentity, writeIdentity } from '../identity.js';
import { BOUNDS, BoundsFile, type LogBounds } from './bounds-file.js';
import { decodeSegmentHeader, HEADER_BYTES, type LogKey, type SegmentHeader } from './format.js';
import { indexOrdinal, Segment, segmentOrdinal } from './segment.js';
import { SegmentCursor } from './segment-cursor.js';
import { SegmentList } from './segment-list.js';
import { isTorn, recordsMax, type Tail } from './segment-tail.js';

/** Something on disk that was damaged or missing when the log was opened. */
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
  readonly bounds: BoundsFile;
  readonly notes: readonly Damage[];
  readonly end: LogEnd;
}

/**
 * What followed the last readable record: nothing; a record that was never wholly written; or bytes, or a file, that
 * may have held records which were.
 */
export type LogEnd = 'whole' | 'torn' | 'lost';

/** State of the newest segment: open for appending, closed, or so incomplete that it must be created again. */
interface Newest {
  readonly is: 'active' | 'closed' | 'unborn';
  readonly end: LogEnd;
}

class DamageNotes {
  readonly list: Damage[] = [];
  #more = 0;

  add(segment: Segment, byteOffset: number, bytes: number, message: string): void {
    this.addFile(segment.path.slice(segment.dir.length + 1), byteOffset, bytes, message);
  }

  addFile(name: string, byteOffset: number, bytes: number, message: string): void {
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

/**
 * Throws BackplaneError: `failed_precondition` when the directory cannot be used, or a segment is of another version, which
 * then stays as it is; `resource_exhausted` when a new log finds no room on the disk, `unavailable` when the disk fails.
 */
export function recover(files: FileOps, dir: string, nowNs: bigint): Recovered {
  const notes = new DamageNotes();
  const { found, lost } = listSegments(files, dir);
  const key = findKey(files, dir, found);
  const boundsFile = new BoundsFile(files, dir, key.identity);
  const known = boundsFile.read();
  const bounds = typeof known === 'string' ? undefined : known;
  if (typeof known === 'string') notes.addFile(BOUNDS, 0, 0, known);
  const gone = goneSegments(found, lost, bounds);
  const ordinals = [...found, ...gone].sort((a, b) => a - b);
  const segments = ordinals.map((ordinal) => new Segment(files, dir, key, ordinal));
  let nextOrdinal = 0;
  let newest: Newest | undefined;
  for (const [at, segment] of segments.entries()) {
    segment.createdNs = nowNs;
    const next = segments[at + 1];
    if (gone.has(segment.firstOrdinal)) {
      nextOrdinal = placeholder(segment, next?.firstOrdinal, bounds, notes);
      newest = { is: 'closed', end: 'lost' };
      continue;
    }
    const headerFault = readHeader(segment, next === undefined, notes);
    if (next) recoverOlder(segment, next.firstOrdinal, notes);
    else {
      newest = recoverNewest(segment, headerFault, bounds, notes);
      nextOrdinal = newest.is === 'unborn' ? segment.firstOrdinal : segment.nextOrdinal;
    }
  }
  // The file stays, and with it the count of ordinals, until the next segment takes its name.
  if (newest?.is === 'unborn') segments.pop();
  const list = new SegmentList(segments, nextOrdinal);
  return { key, list, bounds: boundsFile, notes: notes.list, end: newest?.end ?? 'whole' };
}

interface Listed {
  readonly found: readonly number[];
  /** First ordinals of indexes without a segment, which somebody else removed: the log deletes the index first. */
  readonly lost: readonly number[];
}

function listSegments(files: FileOps, dir: string): Listed {
  let names: string[];
  try {
    files.makeDirectory(dir);
    names = files.list(dir);
  } catch (cause) {
    if (isDiskFull(cause)) throw cannotWrite(dir, cause);
    throw new BackplaneError('failed_precondition', `cannot use directory ${dir}: ${systemErrorCode(cause) ?? cause}`);
  }
  for (const name of names) {
    if (!name.endsWith('.new')) continue;
    try {
      files.unlink(`${dir}/${name}`);
    } catch {
      // A leftover of a crash that could not be removed does no harm.
    }
  }
  const found = names.map(segmentOrdinal).filter((ordinal) => ordinal !== undefined);
  const indexed = names.map(indexOrdinal).filter((ordinal) => ordinal !== undefined);
  return { found: found.sort((a, b) => a - b), lost: indexed.filter((ordinal) => !found.includes(ordinal)) };
}

/** First ordinals of segments that once existed and whose files are gone. */
function goneSegments(found: readonly number[], lost: readonly number[], bounds: LogBounds | undefined): Set<number> {
  const gone = new Set(lost);
  if (bounds === undefined) return gone;
  const { firstOrdinal, nextOrdinal, newestOrdinal } = bounds;
  const oldest = Math.min(...found, ...lost);
  const newest = Math.max(...found, ...lost);
  if (firstOrdinal < oldest && firstOrdinal < nextOrdinal) gone.add(firstOrdinal);
  if (newestOrdinal > newest && newestOrdinal < nextOrdinal) gone.add(newestOrdinal);
  return gone;
}

/** How far a segment went for certain, by its index file and by the bounds, which describe only the newest segment. */
function promisedBy(segment: Segment, bounds: LogBounds | undefined) {
  const summary = segment.readIndex();
  const marked = bounds?.newestOrdinal === segment.firstOrdinal ? bounds : undefined;
  return {
    /** Exact, where the segment was closed. */
    ordinalEnd: summary?.nextOrdinal,
    ordinals: Math.max(summary?.nextOrdinal ?? 0, marked?.nextOrdinal ?? 0),
    bytes: Math.max(summary?.bytes ?? 0, marked?.newestBytes ?? 0),
  };
}

/** A segment whose file is gone. Returns the ordinal that follows all it may have held. */
function placeholder(
  segment: Segment,
  ordinalEnd: number | undefined,
  bounds: LogBounds | undefined,
  notes: DamageNotes,
): number {
  const promised = promisedBy(segment, bounds);
  segment.lostBytes = promised.bytes;
  // Without its index, the number of records it received after its bounds were written down is unknown.
  const marks = Math.max(segment.firstOrdinal + 1, promised.ordinals);
  segment.nextOrdinal = ordinalEnd ?? promised.ordinalEnd ?? marks + LOG_UNMARKED_RECORDS_MAX;
  notes.add(segment, 0, 0, `file gone: it held ${segment.lostBytes} bytes or more`);
  return segment.nextOrdinal;
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
    } catch (cause) {
      if (cause instanceof BackplaneError) throw cause;
      // Another segment may hold the identity.
    }
  }
  key ??= newIdentity();
  try {
    writeIdentity(files, dir, key);
  } catch (cause) {
    throw cannotWrite(dir, cause);
  }
  return key;
}

/** As decodeSegmentHeader; sets the segment's length. Throws the file system's error, too. */
function peekHeader(segment: Segment): SegmentHeader | string {
  const bytes = Buffer.alloc(HEADER_BYTES);
  const fd = segment.acquire();
  try {
    segment.bytes = segment.files.size(fd);
    return decodeSegmentHeader(bytes.subarray(0, segment.files.read(fd, bytes, 0, HEADER_BYTES, 0)));
  } catch (cause) {
    throw cause instanceof BackplaneError ? new BackplaneError(cause.code, `${segment.path} ${cause.message}`) : cause;
  } finally {
    segment.release();
  }
}

/** The fault of the header, if it has one. A newest segment that cannot be read at all stops the start. */
function readHeader(segment: Segment, newest: boolean, notes: DamageNotes): string | undefined {
  let header: SegmentHeader | string;
  let fault: string | undefined;
  try {
    header = peekHeader(segment);
  } catch (cause) {
    if (cause instanceof BackplaneError) throw cause;
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

function recoverOlder(segment: Segment, ordinalEnd: number, notes: DamageNotes): void {
  const summary = segment.readIndex();
  if (summary && summary.bytes === segment.bytes && summary.nextOrdinal <= ordinalEnd) {
    segment.index = summary.index;
    segment.firstTimeNs = summary.firstTimeNs;
    segment.lastTimeNs = summary.lastTimeNs;
    if (summary.synced) segment.syncedBytes = segment.bytes;
    segment.nextOrdinal = ordinalEnd;
    return;
  }
  segment.lostBytes = Math.max(0, (summary?.bytes ?? 0) - segment.bytes);
  readThrough(segment, ordinalEnd, notes);
  segment.nextOrdinal = ordinalEnd;
  if (segment.bytes > 0) syncNow(segment);
  // The index of a cut file still states how long the file was, so it must not be overwritten.
  if (segment.lostBytes === 0) segment.writeIndex();
}

function recoverNewest(
  segment: Segment,
  headerFault: string | undefined,
  bounds: LogBounds | undefined,
  notes: DamageNotes,
): Newest {
  const { ordinals: promised, bytes: promisedBytes } = promisedBy(segment, bounds);
  const tail = readThrough(segment, undefined, notes);
  const cut = segment.nextOrdinal < promised;
  const torn = tail === undefined || isTorn(segment, tail);
  const whole = segment.nextOrdinal - segment.firstOrdinal >= segment.headRecords;
  const begun = segment.bytes >= HEADER_BYTES && whole;
  // Before a log's first record nothing can be missing: its readers see where it begins.
  const end = (tail || !begun) && segment.nextOrdinal > 0 ? 'torn' : 'whole';
  if (torn && !cut && !begun) return { is: 'unborn', end };
  if (torn && !cut && headerFault === undefined) {
    if (tail) cutTail(segment, tail);
    syncNow(segment);
    segment.sealed = false;
    return { is: 'active', end };
  }
  const held = tail === undefined ? 0 : recordsMax(segment, tail);
  segment.nextOrdinal = Math.max(segment.nextOrdinal + held, promised);
  segment.lostBytes = Math.max(0, promisedBytes - segment.bytes);
  // A segment without a single ordinal would share its name with the next segment.
  if (segment.nextOrdinal === segment.firstOrdinal) return { is: 'unborn', end: 'lost' };
  if (cut && !tail) notes.add(segment, segment.bytes, 0, `file cut: records up to ordinal ${promised - 1} were there`);
  syncNow(segment);
  if (segment.lostBytes === 0) segment.writeIndex();
  return { is: 'closed', end: cut || tail || !begun ? 'lost' : 'whole' };
}

/** Reads all records into the index. Returns the bad bytes at the end of the segment. */
function readThrough(segment: Segment, ordinalEnd: number | undefined, notes: DamageNotes): Tail | undefined {
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
