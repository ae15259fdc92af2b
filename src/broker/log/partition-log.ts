/**
 * One partition: the frames of the nodes that hash to it, of all topics, in the
 * order in which they became durable. Offsets grow, stay valid over restarts and
 * eviction, and may have gaps.
 *
 * A replicated engine would know an offset only after other machines have
 * acknowledged it. That is why append returns a promise, and why readers are fed
 * by the log and not by the writer.
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
  /** Size of the encoded frame. */
  readonly bytes: number;
  /** Time of the append by this broker's clock, milliseconds since 1970. */
  readonly appendedMs: number;
}

export type LogItem =
  | LogEntry
  /** Frames that cannot be read; their nodes and topics are unknown. */
  | { readonly kind: 'damage'; readonly offsetFrom: number; readonly offsetTo: number; readonly message: string }
  /** Frames that retention removed before they were read. */
  | { readonly kind: 'evicted'; readonly offsetFrom: number; readonly offsetTo: number };

/** The offset behind it. */
export function endOf(item: LogItem): number {
  return item.kind === 'frame' ? item.offset + 1 : item.offsetTo;
}

/** What a log that other machines keep may lose at its end. */
export type LogLoss =
  /** Offsets at the end that a reader will tell as damage or evicted; the log goes on behind them. */
  | { readonly kind: 'passed'; readonly offsetFrom: number; readonly offsetTo: number }
  /** Everything from this offset on is lost, and other frames come there. Frames that were told before may come again. */
  | { readonly kind: 'rewound'; readonly offset: number };

export interface Silence {
  readonly node: string;
  readonly topic: string;
  /** Wall nanoseconds: no older event follows. */
  readonly watermarkNs: bigint;
}

export interface PartitionReader {
  /** The next offset to be read. */
  readonly offset: number;
  /** See PartitionLog.markBefore. */
  readonly mark: number | undefined;
  /** The next item below the deliverable offset, or undefined at the end; may be called again later. */
  next(): Promise<LogItem | undefined>;
  close(): void;
}

/** The log's end and the positions that the frames before it reach, both of the same moment. */
export interface Snapshot {
  readonly offset: number;
  readonly covered: CoveredPositions;
}

export interface PartitionLog {
  readonly partition: number;
  /** The oldest offset that can still be read. */
  readonly firstOffset: number;
  /** Readers see only frames below this offset, which are as durable as the log promises. */
  readonly deliverableOffset: number;
  readonly bytes: number;
  /** Other machines keep it: what is deliverable is durable there, and many readers at once are too many. */
  readonly isRemote?: boolean;
  /**
   * Resolves with the frame's offset once it is as durable as the log promises; by then followers have been told of it,
   * and coveredTo() includes it. Concurrent appends of a node and topic get their offsets in the order of the calls. Where
   * another broker has appended a frame that covers this one, its offset comes. Rejects with resource_exhausted when the
   * disk is full, unavailable when it fails, failed_precondition where the frame overlaps what another broker has appended;
   * the frame must then not be acknowledged.
   */
  append(node: string, frame: Frame, frameBytes: Buffer): Promise<number>;
  /**
   * Tells all who follow, in whichever broker, within seconds that the node's topic has no event up to that time beyond those
   * of frames that were appended before. It may be lost. Undefined where a frame that says so costs no more.
   */
  tellSilence?(silence: Silence): void;
  /** Stores a note for cursors that name its offset; readers pass it over. Rejects as append does. */
  appendNote(bytes: Buffer): Promise<number>;
  /** Undefined when the log has no note (any more) at this offset. */
  readNote(offset: number): Promise<Buffer | undefined>;
  /** Writes a record that no reader sees, to test whether append would work; rejects with the error append would. */
  probe(): Promise<void>;
  /** Resolves when everything appended before is durable. */
  settled(): Promise<void>;
  /** Nodes that have, or had, frames in this partition. */
  nodes(): Iterable<string>;
  /** Position up to which this node's frames of the topic reach; undefined when there are none. */
  coveredTo(node: string, topic: string): Position | undefined;
  snapshot(): Snapshot;
  /**
   * The positions up to which frames before `offset` reach. Rejects with cursor_expired when the log no longer reaches
   * back to the offset, cursor_invalid when it never existed, unavailable where that cannot be said now.
   */
  coveredBefore(offset: number): Promise<CoveredPositions>;
  /**
   * A 32-bit checksum of the record before an offset. Cursors carry it, to recognise a log that lost its end and has
   * other frames at the same offsets now. Undefined when the checksum is not in memory.
   */
  markBefore(offset: number): number | undefined;
  /** False when the record before the offset has another checksum. */
  hasMark(offset: number, mark: number): Promise<boolean>;
  /**
   * Where the log lost its end since, and an offset with its mark is of what was lost: from where on the log has other frames
   * now, and how far the frames before the offset had reached then. Undefined where this is not known: the log has that
   * record still, or this broker had not read it. Undefined for a log that nobody else keeps.
   */
  lostBefore?(offset: number, mark: number): Snapshot | undefined;
  /**
   * The same, asked of the other brokers: they may have read further before. Rejects with unavailable where one does not know
   * yet that it is lost, or NATS does not say what the log has.
   */
  othersLostBefore?(offset: number, mark: number): Promise<Snapshot | undefined>;
  /**
   * The log has lost its end, and is being read again: how far nodes reach, and what is deliverable, are not of one moment,
   * and readers give nothing. Undefined for a log that nobody else keeps.
   */
  readonly isGoingBack?: boolean;
  /** Reads only frames of `topics`; to pass over other frames is cheap. */
  reader(fromOffset: number, topics: ReadonlySet<string>): PartitionReader;
  /**
   * Calls `listener` with every frame from deliverableOffset on, in order of offsets, as soon as the frame can be
   * delivered, `lost` with what is lost between them, and `silent` with what is told of silence, with an offset behind all
   * frames to which it applies, until the returned function is called. While nobody follows, a log that other machines keep
   * is read without the frames' bodies.
   */
  follow(
    listener: (entry: LogEntry) => void,
    lost?: (loss: LogLoss) => void,
    silent?: (silence: Silence, offset: number) => void,
  ): () => void;
  /** Calls `listener` with the size of every later frame, whether anybody follows or not. */
  onGrown(listener: (bytes: number) => void): void;
  close(): Promise<void>;
}

/** Every frame of a node goes to one partition, so that its order holds. */
export function partitionOf(node: string): number {
  return crc32(node) % PARTITIONS;
}
