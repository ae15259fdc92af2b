/** The partition logs of a cluster on NATS JetStream, as one broker uses them. */
import { BackplaneError } from '../../../errors.js';
import { PARTITIONS } from '../../../limits.js';
import type { Position } from '../../../wire/position.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { LogStore } from '../log-store.js';
import { type PartitionLog, partitionOf } from '../partition-log.js';
import { AppendBounds } from './appender.js';
import { CatchUpTurns } from './catch-up-turns.js';
import { JetStreamLog } from './jetstream-log.js';

export interface JetStreamLogStoreOptions {
  readonly cluster: string;
  /** Names this broker among those of the cluster. */
  readonly broker: string;
  readonly link: NatsLink;
  /** A stream is gone, or is not the one that was: the broker cannot go on. Called once. */
  readonly onLost: (cause: BackplaneError) => void;
  /** A log lost what it had acknowledged: the sessions of its nodes have to begin anew. */
  readonly onRewound: (log: PartitionLog, offset: number) => void;
}

export class JetStreamLogStore implements LogStore {
  readonly identity: string;
  readonly #logs: readonly JetStreamLog[];

  /** Rejects as JetStreamLog.open does, also where the streams are not of one cluster. */
  static async open(options: JetStreamLogStoreOptions): Promise<JetStreamLogStore> {
    const shared = { ...options, bounds: new AppendBounds(), turns: new CatchUpTurns() };
    let isLost = false;
    const onLost = (cause: BackplaneError) => {
      if (!isLost) options.onLost(cause);
      isLost = true;
    };
    const opening = Array.from({ length: PARTITIONS }, (_, partition) =>
      JetStreamLog.open({ ...shared, onLost, partition }),
    );
    const opened = await Promise.allSettled(opening);
    const logs = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    try {
      for (const one of opened) if (one.status === 'rejected') throw one.reason;
      return new JetStreamLogStore(logs);
    } catch (cause) {
      await Promise.all(logs.map((log) => log.close()));
      throw cause;
    }
  }

  private constructor(logs: readonly JetStreamLog[]) {
    this.#logs = logs;
    this.identity = logs[0]!.identity;
    const other = logs.find(({ identity }) => identity !== this.identity);
    if (other !== undefined) {
      const which = `partition ${other.partition} is of ${other.identity}, partition 0 of ${this.identity}`;
      throw new BackplaneError('failed_precondition', `the streams are not of one cluster: ${which}`);
    }
  }

  get trouble(): string | undefined {
    return this.#logs.find(({ trouble }) => trouble !== undefined)?.trouble;
  }

  partition(partition: number): PartitionLog {
    return this.#logs[partition]!;
  }

  of(node: string): PartitionLog {
    return this.partition(partitionOf(node));
  }

  all(): readonly PartitionLog[] {
    return this.#logs;
  }

  coveredTo(node: string, topic: string): Position | undefined {
    return this.of(node).coveredTo(node, topic);
  }

  /** Each log watches its stream by itself. */
  checkPlace(): void {}

  get bytes(): number {
    return this.#logs.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get bytesMax(): number {
    return this.#logs.reduce((sum, { bytesMax }) => sum + bytesMax, 0);
  }

  fading(): readonly number[] {
    return this.#logs.map(({ fading }) => fading);
  }

  /** Retention is NATS's, which asks nobody. */
  guard(): void {}

  async close(): Promise<void> {
    await Promise.all(this.#logs.map((log) => log.close()));
  }
}
