/** A partition log in a directory of segment files. */
import { cursorExpired, cursorInvalid } from '../../../errors.js';
import { Turns } from '../../../flow/turns.js';
import { nsToMs, wallNowNs } from '../../../nanoseconds.js';
import { type FileOps, nodeFileOps } from '../../../storage/file-ops.js';
import type { SegmentInfo } from '../../../storage/segment-log/segment.js';
import { type NewRecord, SegmentLog } from '../../../storage/segment-log/segment-log.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import { CoveredPositions } from '../covered-positions.js';
import { type CoverDoubts, CoversBefore, deliveredUnknown } from '../covers-before.js';
import { hasMark } from '../has-mark.js';
import type { LogEntry, LogItem, PartitionLog, PartitionReader, Snapshot } from '../partition-log.js';
import { CoveredFile } from './covered-file.js';
import {
  CHECKPOINT_RECORD,
  decodeCheckpoint,
  decodeFrameRecord,
  encodeCheckpoint,
  frameKind,
  frameRecordParts,
  isFrameKind,
  NOTE_RECORD,
} from './log-record.js';

/**
 * 'commit': a frame is acknowledged after its fsync; concurrent frames share one.
 * 'interval': a frame is acknowledged at once, and fsync runs every second. A crash of the machine loses up to one
 * second of acknowledged frames.
 * 'never': the operating system decides when to write.
 * A crash of the broker alone loses nothing in any mode.
 */
export type FsyncMode = 'commit' | 'interval' | 'never';

export interface EmbeddedLogOptions {
  readonly dir: string;
  readonly partition: number;
  readonly fsync: FsyncMode;
  readonly segmentBytesMax: number;
  readonly ageMsMax: number;
  /** Makes room on a full disk by deleting from any log; returns false when there is nothing to delete. */
  readonly onFull: () => boolean;
  /** Called when the log has grown. */
  readonly onGrown: () => void;
  readonly files?: FileOps | undefined;
}

export class EmbeddedLog implements PartitionLog {
  readonly partition: number;
  /** Positions that the deliverable frames reach. */
  readonly #covered: CoveredPositions;
  readonly #coveredFile: CoveredFile;
  /** Frames of unknown nodes, up to where the log ended when it was opened, that nothing tells of. */
  readonly #doubtful: { readonly from: number; readonly to: number } | undefined;
  /** Appended frames that followers were not told of yet, oldest first. */
  #untold: LogEntry[] = [];
  readonly #log: SegmentLog;
  readonly #followers = new Set<(entry: LogEntry) => void>();
  readonly #growing: ((bytes: number) => void)[] = [];
  #restored = false;

  readonly #options: EmbeddedLogOptions;

  constructor(options: EmbeddedLogOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.#log = SegmentLog.open({
      dir: options.dir,
      segmentBytesMax: options.segmentBytesMax,
      ageMsMax: options.ageMsMax,
      files: options.files ?? nodeFileOps,
      onFull: options.onFull,
      ordered: options.fsync === 'commit',
      head: () => this.#head(),
    });
    const before = new CoversBefore();
    const restoring = this.#restore(this.#log.nextOrdinal, before);
    while (!restoring.next().done);
    this.#covered = before.covered;
    this.#coveredFile = new CoveredFile(options.files ?? nodeFileOps, options.dir, this.#log.identity);
    const told = this.#coveredFile.read();
    const { lostFrom } = before;
    const hasDoubts = before.hasDoubts(told);
    // Where the log lacks nothing it is right: what is not synced at once a power cut may have taken from it alone.
    if (lostFrom !== undefined) for (const [node, byTopic] of told) this.#covered.reached(node, byTopic);
    this.#restored = true;
    if (lostFrom !== undefined && hasDoubts) this.#doubtful = { from: lostFrom, to: this.#log.nextOrdinal };
    else this.#writeDown(told, lostFrom !== undefined);
  }

  get firstOffset(): number {
    return this.#log.firstOrdinal;
  }

  get deliverableOffset(): number {
    return Math.min(this.#untold[0]?.offset ?? Number.POSITIVE_INFINITY, this.#promisedOffset);
  }

  get #promisedOffset(): number {
    return this.#options.fsync === 'commit' ? this.#log.durableOrdinal : this.#log.nextOrdinal;
  }

  get bytes(): number {
    return this.#log.bytes;
  }

  async append(node: string, frame: Frame, frameBytes: Buffer): Promise<number> {
    const timeNs = wallNowNs();
    const parts = frameRecordParts(node, frameBytes);
    const offset = this.#log.append({ kind: frameKind(frame.topic), timeNs, parts });
    this.#untold.push({ kind: 'frame', offset, node, frame, bytes: frameBytes.length, appendedMs: nsToMs(timeNs) });
    const durable = this.settled();
    // Called after the sync was started, because segments that are not synced yet are not deleted.
    this.#options.onGrown();
    await durable;
    this.#tell();
    return offset;
  }

  async settled(): Promise<void> {
    if (this.#options.fsync === 'commit' && this.#log.durableOrdinal < this.#log.nextOrdinal) await this.#log.sync();
  }

  /** Called by the timer of fsync mode 'interval'. */
  async flush(): Promise<void> {
    if (this.#log.durableOrdinal < this.#log.nextOrdinal) await this.#log.sync();
  }

  nodes(): Iterable<string> {
    return this.#covered.nodes();
  }

  coveredTo(node: string, topic: string): Position | undefined {
    return this.#covered.to(node, topic);
  }

  snapshot(): Snapshot {
    this.#tell();
    return { offset: this.deliverableOffset, covered: this.#covered.copy() };
  }

  async coveredBefore(offset: number): Promise<CoveredPositions> {
    const where = `of partition ${this.partition}`;
    for (;;) {
      const snapshot = this.snapshot();
      const { offset: end, covered } = snapshot;
      if (offset > end) {
        throw cursorInvalid(`cursor names offset ${offset} ${where}, which does not exist`);
      }
      if (offset < this.#log.firstOrdinal) {
        const oldest = this.#log.firstOrdinal;
        throw cursorExpired(`cursor names offset ${offset} ${where}, the oldest is ${oldest}`, oldest);
      }
      if (this.#doubtful !== undefined && offset > this.#doubtful.from && offset <= this.#doubtful.to)
        throw deliveredUnknown(`offset ${offset} ${where}`, 'each of its nodes');
      // Most cursors resume at the end, where nothing has to be read.
      if (offset === end) return covered;
      const before = new CoversBefore();
      // Where retention removed what was being read, it begins again behind that.
      if (!(await inTurns(this.#restore(offset, before)))) continue;
      const doubts = before.doubts(covered, `offset ${offset} ${where}`);
      if (doubts === undefined || (await inTurns(this.#readBehind(offset, snapshot, doubts)))) return before.covered;
    }
  }

  markBefore(offset: number): number | undefined {
    return this.#log.crc(offset - 1) || undefined;
  }

  async hasMark(offset: number, mark: number): Promise<boolean> {
    return hasMark(this.#log, offset, mark);
  }

  reader(fromOffset: number, topics: ReadonlySet<string>): PartitionReader {
    const kinds = new Set([...topics].map(frameKind));
    const reader = this.#log.reader(fromOffset, (kind) => kinds.has(kind));
    const deliverable = () => this.deliverableOffset;
    let mark: number | undefined;
    return {
      get offset() {
        return reader.ordinal;
      },
      get mark() {
        return mark;
      },
      async next(): Promise<LogItem | undefined> {
        const turns = new Turns();
        while (reader.ordinal < deliverable()) {
          // Other topics' records are passed over here, possibly very many.
          if (turns.over) await turns.give();
          const item = reader.next();
          if (item === undefined) return undefined;
          mark = item.kind === 'record' ? item.crc : undefined;
          if (item.kind !== 'record') {
            const { ordinalFrom: offsetFrom, ordinalTo: offsetTo } = item;
            if (item.kind === 'evicted') return { kind: 'evicted', offsetFrom, offsetTo };
            return { kind: 'damage', offsetFrom, offsetTo, message: item.message };
          }
          if (kinds.has(item.recordKind)) return entryOf(item.ordinal, item.timeNs, item.payload);
        }
        return undefined;
      },
      close: () => reader.close(),
    };
  }

  follow(listener: (entry: LogEntry) => void): () => void {
    const follower = (entry: LogEntry) => listener(entry);
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  onGrown(listener: (bytes: number) => void): void {
    this.#growing.push(listener);
  }

  async appendNote(bytes: Buffer): Promise<number> {
    return this.#log.append({ kind: NOTE_RECORD, timeNs: wallNowNs(), parts: [bytes] });
  }

  async readNote(offset: number): Promise<Buffer | undefined> {
    if (offset < this.#log.firstOrdinal || offset >= this.#log.nextOrdinal) return undefined;
    const reader = this.#log.reader(offset);
    try {
      const item = reader.next();
      const found = item?.kind === 'record' && item.ordinal === offset && item.recordKind === NOTE_RECORD;
      return found ? Buffer.from(item.payload) : undefined;
    } finally {
      reader.close();
    }
  }

  async probe(): Promise<void> {
    this.#log.append(this.#checkpoint());
  }

  /** See SegmentLog. */
  checkPlace(): void {
    this.#log.checkPlace();
  }

  enforceRetention(): void {
    this.#log.enforceRetention();
  }

  /** See SegmentLog. */
  get oldestNs(): bigint | undefined {
    return this.#log.oldestNs;
  }

  /** Oldest first. */
  segments(): SegmentInfo[] {
    return this.#log.segments();
  }

  removeOldest(): boolean {
    return this.#log.removeOldest();
  }

  async close(): Promise<void> {
    try {
      await this.#log.close();
      this.#tell();
    } finally {
      this.#coveredFile.close();
    }
  }

  /** Tells followers of all frames below the promised end: one sync makes all earlier appends durable. */
  #tell(): void {
    const end = this.#promisedOffset;
    const nodes = new Set<string>();
    while (this.#untold.length > 0 && this.#untold[0]!.offset < end) {
      const entry = this.#untold.shift()!;
      this.#covered.take(entry.node, entry.frame);
      nodes.add(entry.node);
      for (const follower of this.#followers) follower(entry);
      for (const grown of this.#growing) grown(entry.bytes);
    }
    // Once a node, as its topics come together.
    for (const node of nodes) this.#coveredFile.write(node, this.#covered.of(node));
  }

  /**
   * Writes down what the file lacks, as a power cut may have taken it, and, where frames were lost, what it says of them: nobody
   * has to look behind that any more.
   */
  #writeDown(told: ReadonlyMap<string, ReadonlyMap<string, Position>>, isLost: boolean): void {
    for (const [node, byTopic] of this.#covered.entries()) {
      const known = told.get(node);
      const isSame = ([topic, to]: [string, Position]) => {
        const before = known?.get(topic);
        return before !== undefined && comparePositions(before, to) === 0;
      };
      if (![...byTopic].every(isSame)) this.#coveredFile.write(node, byTopic);
    }
    if (!isLost) return;
    try {
      this.#log.append(this.#checkpoint());
    } catch {
      // The disk is full: the next start looks again.
    }
  }

  #head(): NewRecord[] {
    // While the log opens, the covered positions are incomplete, so no checkpoint is written: it would be wrong.
    return this.#restored ? [this.#checkpoint()] : [];
  }

  /** Covers all frames appended so far, durable or not, because the checkpoint follows them in the log. */
  #checkpoint(): NewRecord {
    const covered = this.#untold.length === 0 ? this.#covered : this.#covered.copy();
    for (const { node, frame } of this.#untold) covered.take(node, frame);
    return { kind: CHECKPOINT_RECORD, timeNs: wallNowNs(), anchor: true, parts: [encodeCheckpoint(covered)] };
  }

  /**
   * Reads the newest checkpoint before `offset` or there, as it states what is before it, and the frames between them;
   * yields after each record. Returns false when retention removed some of them first.
   */
  *#restore(offset: number, into: CoversBefore): Generator<void, boolean> {
    let from = this.#log.firstOrdinal;
    for (const { ordinal } of this.#log.anchors()) {
      if (ordinal <= offset) {
        from = ordinal;
        break;
      }
    }
    const reader = this.#log.reader(from);
    try {
      while (reader.ordinal <= offset) {
        yield;
        const item = reader.next();
        if (item === undefined) break;
        if (item.kind === 'evicted') return false;
        if (item.kind === 'damage') {
          if (item.ordinalFrom < Math.min(offset, item.ordinalTo)) into.lost(item.ordinalFrom);
        } else if (item.ordinal > offset) continue;
        else if (item.recordKind === CHECKPOINT_RECORD) {
          decodeCheckpoint(item.payload, into.covered);
          into.checked();
        } else if (isFrameKind(item.recordKind) && item.ordinal < offset) {
          const entry = entryOf(item.ordinal, item.timeNs, item.payload);
          if (entry.kind === 'frame') into.take(entry.node, entry.frame);
          else into.lost(item.ordinal);
        }
      }
    } finally {
      reader.close();
    }
    return true;
  }

  /**
   * Reads the frames from an offset on until there is no doubt; yields after each record. Returns false when retention removed
   * some of them first.
   */
  *#readBehind(from: number, { offset: end, covered }: Snapshot, doubts: CoverDoubts): Generator<void, boolean> {
    const reader = this.#log.reader(from);
    try {
      while (!doubts.settled && reader.ordinal < end) {
        yield;
        const item = reader.next();
        if (item === undefined) break;
        if (item.kind === 'evicted') return false;
        if (item.kind === 'damage') {
          if (item.ordinalTo > item.ordinalFrom) doubts.lost();
        } else if (item.recordKind === CHECKPOINT_RECORD) {
          const reached = new CoveredPositions();
          decodeCheckpoint(item.payload, reached);
          doubts.settle(reached);
        } else if (isFrameKind(item.recordKind)) {
          const entry = entryOf(item.ordinal, item.timeNs, item.payload);
          if (entry.kind === 'frame') doubts.take(entry.node, entry.frame);
          else doubts.lost();
        }
      }
    } finally {
      reader.close();
    }
    doubts.settle(covered);
    return true;
  }
}

/** Runs it to its end, and lets others have their turn meanwhile. */
async function inTurns<Result>(steps: Generator<void, Result>): Promise<Result> {
  const turns = new Turns();
  let step = steps.next();
  for (; !step.done; step = steps.next()) if (turns.over) await turns.give();
  return step.value;
}

function entryOf(offset: number, timeNs: bigint, payload: Buffer): LogItem {
  try {
    return { kind: 'frame', offset, appendedMs: nsToMs(timeNs), ...decodeFrameRecord(payload) };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    return { kind: 'damage', offsetFrom: offset, offsetTo: offset + 1, message };
  }
}
