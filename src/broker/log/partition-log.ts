/**
 * One partition of one topic: the frames of the nodes that hash to it, in the
 * order in which they were made durable. Offsets grow, survive restarts and
 * eviction, and are sparse by contract.
 */
import { crc32 } from 'node:zlib';
import { PARTITIONS } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { Position } from '../../wire/position.js';

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
  /** Frames that were there and cannot be read. */
  | { readonly kind: 'damage'; readonly offsetFrom: number; readonly offsetTo: number; readonly message: string }
  /** Frames that retention removed before they were read. */
  | { readonly kind: 'evicted'; readonly offsetFrom: number; readonly offsetTo: number };

export interface PartitionReader {
  /** The next offset to be read. */
  readonly offset: number;
  /** The next item below the deliverable offset, or undefined at the end; may be called again later. */
  next(): Promise<LogItem | undefined>;
  close(): void;
}

export interface PartitionLog {
  readonly topic: string;
  readonly partition: number;
  /** The oldest offset that can still be read. */
  readonly firstOffset: number;
  /** The offset that the next frame will get or exceed. */
  readonly nextOffset: number;
  /** Readers see frames below this: those that a crash cannot take back. */
  readonly deliverableOffset: number;
  readonly bytes: number;
  /**
   * Resolves with the frame's offset once it is as durable as the log promises.
   * coveredTo() and nextOffset include it at once. Throws resource_exhausted when the disk is full,
   * unavailable when it fails: nothing is appended then.
   */
  append(node: string, frame: Frame, frameBytes: Buffer): { readonly offset: number; readonly durable: Promise<void> };
  /** Keeps something for a cursor that names the offset returned; readers pass it over. Throws as append does. */
  appendNote(bytes: Buffer): number;
  /** Undefined when the log has no note (any more) at this offset. */
  readNote(offset: number): Buffer | undefined;
  /** Writes something that no reader sees, to learn whether append would work: throws what it would throw. */
  probe(): void;
  /** Resolves when everything appended before is durable. */
  settled(): Promise<void>;
  /** Nodes that have frames in it, or had some. */
  nodes(): Iterable<string>;
  /** Up to where this node's frames reach; undefined when it has none. */
  coveredTo(node: string): Position | undefined;
  /**
   * Up to where each node's frames before `offset` reach. Throws cursor_expired
   * when the log no longer reaches back to it, cursor_invalid when it never was.
   */
  positionsBefore(offset: number): Promise<ReadonlyMap<string, Position>>;
  reader(fromOffset: number): PartitionReader;
  /** Called whenever deliverableOffset has grown. */
  onDeliverable(listener: () => void): void;
  close(): Promise<void>;
}

/** Every node's frames of one topic go to one partition, so that its order holds. */
export function partitionOf(node: string): number {
  return crc32(node) % PARTITIONS;
}
