/**
 * One partition: the frames of the nodes that hash to it, of all topics, in the
 * order in which they were made durable. Offsets grow, survive restarts and
 * eviction, and are sparse by contract.
 *
 * An engine that asks other machines knows an offset only when they have
 * acknowledged: so whoever writes waits for a promise, and whoever reads is fed
 * by the log, not by the writer.
 */
import { crc32 } from 'node:zlib';
import { PARTITIONS } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { Position } from '../../wire/position.js';
import type { CoveredPositions } from './covered-positions.js';

export interface LogEntry {
  readonly kind: 'frame';
  readonly offset: number;
  readonly node: string;
  readonly frame: Frame;
  /** What the encoded frame takes. */
  readonly bytes: number;
  /** When it came, milliseconds since 1970. */
  readonly appendedMs: number;
}

export type LogItem =
  | LogEntry
  /** Frames that were there and cannot be read, whosever and of whichever topic. */
  | { readonly kind: 'damage'; readonly offsetFrom: number; readonly offsetTo: number; readonly message: string }
  /** Frames that retention removed before they were read. */
  | { readonly kind: 'evicted'; readonly offsetFrom: number; readonly offsetTo: number };

export interface PartitionReader {
  /** The next offset to be read. */
  readonly offset: number;
  /** See PartitionLog.markBefore. */
  readonly mark: number | undefined;
  /** The next item below the deliverable offset, or undefined at the end; may be called again later. */
  next(): Promise<LogItem | undefined>;
  close(): void;
}

/** The log's end, and up to where what is before it reaches: of one moment. */
export interface Snapshot {
  readonly offset: number;
  readonly covered: CoveredPositions;
}

export interface PartitionLog {
  readonly partition: number;
  /** The oldest offset that can still be read. */
  readonly firstOffset: number;
  /** Readers see frames below this: those that a crash cannot take back. */
  readonly deliverableOffset: number;
  readonly bytes: number;
  /**
   * Resolves with the frame's offset once it is as durable as the log promises; by then `follow` has told it, and
   * coveredTo() includes it. Appends that are under way at once take their offsets in the order of the calls. Rejects
   * with resource_exhausted when the disk is full, unavailable when it fails: then nothing is acknowledged.
   */
  append(node: string, frame: Frame, frameBytes: Buffer): Promise<number>;
  /** Keeps something for a cursor that names the offset; readers pass it over. Resolves and rejects as append does. */
  appendNote(bytes: Buffer): Promise<number>;
  /** Undefined when the log has no note (any more) at this offset. */
  readNote(offset: number): Promise<Buffer | undefined>;
  /** Writes something that no reader sees, to learn whether append would work: rejects with what that would. */
  probe(): Promise<void>;
  /** Resolves when everything appended before is durable. */
  settled(): Promise<void>;
  /** Nodes that have frames in it, or had some. */
  nodes(): Iterable<string>;
  /** Up to where this node's frames of the topic reach; undefined when it has none. */
  coveredTo(node: string, topic: string): Position | undefined;
  snapshot(): Snapshot;
  /**
   * Up to where the frames before `offset` reach. Rejects with cursor_expired when the log no longer reaches back to
   * it, cursor_invalid when it never was.
   */
  coveredBefore(offset: number): Promise<CoveredPositions>;
  /**
   * 32 bits of what stands before an offset: what a cursor carries, so that a log that was set back, and has other
   * frames at the same offsets now, is recognised. Undefined where it is not at hand.
   */
  markBefore(offset: number): number | undefined;
  /** False when something else stands before the offset. */
  hasMark(offset: number, mark: number): Promise<boolean>;
  /** Other topics' frames are passed over, which is cheap. */
  reader(fromOffset: number, topics: ReadonlySet<string>): PartitionReader;
  /** Tells every frame from here on, in the order of the offsets, once it can be delivered, whoever appended it. */
  follow(listener: (entry: LogEntry) => void): void;
  close(): Promise<void>;
}

/** Every frame of a node goes to one partition, so that its order holds. */
export function partitionOf(node: string): number {
  return crc32(node) % PARTITIONS;
}
