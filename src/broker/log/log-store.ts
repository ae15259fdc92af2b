/** All partition logs of a broker, with one identity. */
import type { Position } from '../../wire/position.js';
import type { PartitionLog } from './partition-log.js';

export interface LogStore {
  /** Hex, 16 digits. Cursors carry it. */
  readonly identity: string;
  /** Why the log is not read, in a sentence; undefined while it is. */
  readonly trouble: string | undefined;
  readonly bytes: number;
  /** Bound over all partition logs together. */
  readonly bytesMax: number;
  partition(partition: number): PartitionLog;
  /** Of a node. */
  of(node: string): PartitionLog;
  all(): readonly PartitionLog[];
  /** Position up to which the node's frames of a topic reach; undefined when there are none. */
  coveredTo(node: string, topic: string): Position | undefined;
  /** Throws unavailable when the log was removed or replaced, so that what is written would be lost. */
  checkPlace(): void;
  /**
   * By partition, the offset before which frames may soon be forgotten: they lie in the older half of what the logs may
   * hold, or are kept for half of their time already.
   */
  fading(): readonly number[];
  /**
   * Has `mayForget` asked before frames of a partition, up to an offset, are deleted for being too many. They wait while it
   * says no, as long as the logs exceed their bound by little. A log that others delete from does not ask.
   */
  guard(mayForget: (partition: number, before: number) => boolean): void;
  close(): Promise<void>;
}
