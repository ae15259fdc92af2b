/** A partition log in a directory of segment files. */
import { BackplaneError } from '../../../errors.js';
import { NODES_PER_PARTITION_MAX } from '../../../limits.js';
import { nsToMs, wallNowNs } from '../../../nanoseconds.js';
import { type FileOps, nodeFileOps } from '../../../storage/file-ops.js';
import { type NewRecord, SegmentLog } from '../../../storage/segment-log/segment-log.js';
import type { Frame } from '../../../wire/frame/frame.js';
import type { Position } from '../../../wire/position.js';
import type { LogItem, PartitionLog, PartitionReader } from '../partition-log.js';
import {
  CHECKPOINT_RECORD,
  decodeCheckpoint,
  decodeFrameRecord,
  encodeCheckpoint,
  FRAME_RECORD,
  frameRecordParts,
  NOTE_RECORD,
} from './log-record.js';

/**
 * 'commit': a frame is acknowledged after its fsync (concurrent ones share one).
 * 'interval': at once, fsync every second: a crash of the machine loses up to a second of acknowledged frames.
 * 'never': fsync is the operating system's affair.
 * A crash of the broker alone loses nothing in any mode.
 */
export type FsyncMode = 'commit' | 'interval' | 'never';

export interface EmbeddedLogOptions {
  readonly dir: string;
  readonly topic: string;
  readonly partition: number;
  readonly fsync: FsyncMode;
  readonly segmentBytesMax: number;
  readonly ageMsMax: number;
  /** Makes room on a full disk, in whichever log; false when there is nothing to delete. */
  readonly onFull: () => boolean;
  /** Called when the log has grown. */
  readonly onGrown: () => void;
  readonly files?: FileOps | undefined;
}

export class EmbeddedLog implements PartitionLog {
  readonly topic: string;
  readonly partition: number;
  /** Insertion order is order of last use: the longest silent node is first. */
  private readonly covered = new Map<string, Position>();
  private readonly log: SegmentLog;
  private readonly listeners: (() => void)[] = [];
  private restored = false;

  constructor(private readonly options: EmbeddedLogOptions) {
    this.topic = options.topic;
    this.partition = options.partition;
    this.log = SegmentLog.open({
      dir: options.dir,
      segmentBytesMax: options.segmentBytesMax,
      ageMsMax: options.ageMsMax,
      files: options.files ?? nodeFileOps,
      onFull: options.onFull,
      ordered: options.fsync === 'commit',
      head: () => this.head(),
    });
    this.restore(this.log.nextOrdinal, this.covered);
    this.restored = true;
  }

  get firstOffset(): number {
    return this.log.firstOrdinal;
  }

  get nextOffset(): number {
    return this.log.nextOrdinal;
  }

  get deliverableOffset(): number {
    return this.options.fsync === 'commit' ? this.log.durableOrdinal : this.log.nextOrdinal;
  }

  get bytes(): number {
    return this.log.bytes;
  }

  append(node: string, frame: Frame, frameBytes: Buffer): { offset: number; durable: Promise<void> } {
    const timeNs = wallNowNs();
    const offset = this.log.append({ kind: FRAME_RECORD, timeNs, parts: frameRecordParts(node, frameBytes) });
    this.advance(node, frame.coveredTo);
    const durable = this.settled().then(() => {
      for (const listener of this.listeners) listener();
    });
    // Behind the sync that was begun: what is not synced yet is not deleted.
    this.options.onGrown();
    return { offset, durable };
  }

  async settled(): Promise<void> {
    if (this.options.fsync === 'commit' && this.log.durableOrdinal < this.log.nextOrdinal) await this.log.sync();
  }

  /** For the timer of fsync mode 'interval'. */
  async flush(): Promise<void> {
    if (this.log.durableOrdinal < this.log.nextOrdinal) await this.log.sync();
  }

  nodes(): Iterable<string> {
    return this.covered.keys();
  }

  coveredTo(node: string): Position | undefined {
    return this.covered.get(node);
  }

  async positionsBefore(offset: number): Promise<ReadonlyMap<string, Position>> {
    const where = `of ${this.topic}-${this.partition}`;
    if (offset > this.log.nextOrdinal) {
      throw new BackplaneError('cursor_invalid', `cursor names offset ${offset} ${where}, which does not exist`);
    }
    if (offset < this.log.firstOrdinal) {
      const oldest = this.log.firstOrdinal;
      throw new BackplaneError('cursor_expired', `cursor names offset ${offset} ${where}, the oldest is ${oldest}`);
    }
    // At the end, which is where most cursors come back to, nothing need be read.
    if (offset === this.log.nextOrdinal) return new Map(this.covered);
    const positions = new Map<string, Position>();
    this.restore(offset, positions);
    return positions;
  }

  reader(fromOffset: number): PartitionReader {
    const reader = this.log.reader(fromOffset);
    const deliverable = () => this.deliverableOffset;
    return {
      get offset() {
        return reader.ordinal;
      },
      async next(): Promise<LogItem | undefined> {
        while (reader.ordinal < deliverable()) {
          const item = reader.next();
          if (item === undefined) return undefined;
          if (item.kind !== 'record') {
            const { ordinalFrom: offsetFrom, ordinalTo: offsetTo } = item;
            if (item.kind === 'evicted') return { kind: 'evicted', offsetFrom, offsetTo };
            return { kind: 'damage', offsetFrom, offsetTo, message: item.message };
          }
          if (item.recordKind === FRAME_RECORD) return entryOf(item.ordinal, item.timeNs, item.payload);
        }
        return undefined;
      },
      close: () => reader.close(),
    };
  }

  onDeliverable(listener: () => void): void {
    this.listeners.push(listener);
  }

  appendNote(bytes: Buffer): number {
    return this.log.append({ kind: NOTE_RECORD, timeNs: wallNowNs(), parts: [bytes] });
  }

  readNote(offset: number): Buffer | undefined {
    if (offset < this.log.firstOrdinal || offset >= this.log.nextOrdinal) return undefined;
    const reader = this.log.reader(offset);
    try {
      const item = reader.next();
      const found = item?.kind === 'record' && item.ordinal === offset && item.recordKind === NOTE_RECORD;
      return found ? Buffer.from(item.payload) : undefined;
    } finally {
      reader.close();
    }
  }

  probe(): void {
    this.log.append(this.checkpoint());
  }

  /** See SegmentLog. */
  checkPlace(): void {
    this.log.checkPlace();
  }

  enforceRetention(): void {
    this.log.enforceRetention();
  }

  /** See SegmentLog. */
  get oldestNs(): bigint | undefined {
    return this.log.oldestNs;
  }

  removeOldest(): boolean {
    return this.log.removeOldest();
  }

  close(): Promise<void> {
    return this.log.close();
  }

  private head(): NewRecord[] {
    // While the log opens, what it covers is not known yet: no checkpoint is better than a wrong one.
    return this.restored ? [this.checkpoint()] : [];
  }

  private checkpoint(): NewRecord {
    const timeNs = wallNowNs();
    return { kind: CHECKPOINT_RECORD, timeNs, anchor: true, parts: [encodeCheckpoint(this.covered)] };
  }

  private advance(node: string, to: Position): void {
    this.covered.delete(node);
    this.covered.set(node, to);
    if (this.covered.size > NODES_PER_PARTITION_MAX) {
      for (const oldest of this.covered.keys()) {
        this.covered.delete(oldest);
        break;
      }
    }
  }

  /** Reads the newest checkpoint before `offset`, and what follows it up to there. */
  private restore(offset: number, into: Map<string, Position>): void {
    let from = this.log.firstOrdinal;
    for (const { ordinal } of this.log.anchors()) {
      if (ordinal < offset) {
        from = ordinal;
        break;
      }
    }
    const reader = this.log.reader(from);
    try {
      while (reader.ordinal < offset) {
        const item = reader.next();
        if (item === undefined) break;
        if (item.kind !== 'record' || item.ordinal >= offset) continue;
        if (item.recordKind === CHECKPOINT_RECORD) decodeCheckpoint(item.payload, into);
        else if (item.recordKind === FRAME_RECORD) {
          const entry = entryOf(item.ordinal, item.timeNs, item.payload);
          if (entry.kind === 'frame') {
            into.delete(entry.node);
            into.set(entry.node, entry.frame.coveredTo);
          }
        }
      }
    } finally {
      reader.close();
    }
  }
}

function entryOf(offset: number, timeNs: bigint, payload: Buffer): LogItem {
  try {
    return { kind: 'frame', offset, appendedMs: nsToMs(timeNs), ...decodeFrameRecord(payload) };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    return { kind: 'damage', offsetFrom: offset, offsetTo: offset + 1, message };
  }
}
