/**
 * All partition logs of a broker, opened when first needed, under one identity
 * and one bound of bytes.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { LOG_RETENTION_INTERVAL_MS, LOG_SYNC_INTERVAL_MS, PARTITIONS } from '../../limits.js';
import { makeDirectory } from '../../storage/file-ops.js';
import { EmbeddedLog, type FsyncMode } from './embedded-log.js';
import { type PartitionLog, partitionOf } from './partition-log.js';
import { storeIdentity } from './store-identity.js';

export interface LogStoreOptions {
  readonly dir: string;
  readonly fsync: FsyncMode;
  /** Of one partition log, so that the sum over all topics keeps the broker's bound. */
  readonly partitionBytesMax: number;
  readonly ageMsMax: number;
  /** Told what was found lost when the logs were opened, and what follows. */
  readonly warn: (message: string) => void;
  /** Failed fsyncs of the interval mode are told here: nobody waits for them. */
  readonly onSyncFailure: (cause: unknown) => void;
}

const DIRECTORY_PATTERN = /^([a-z][a-z0-9._-]*)-(\d+)$/;

export class LogStore {
  /** Hex, 16 digits. Cursors carry it. */
  readonly identity: string;
  private readonly logs = new Map<string, EmbeddedLog>();
  private readonly timers: NodeJS.Timeout[] = [];

  /** Opens every log that exists; what a killed broker wrote but did not sync is made durable first. */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    const store = new LogStore(options);
    await Promise.all([...store.logs.values()].map((log) => log.settled()));
    return store;
  }

  private constructor(private readonly options: LogStoreOptions) {
    makeDirectory(options.dir);
    for (const entry of readdirSync(options.dir, { withFileTypes: true })) {
      const match = DIRECTORY_PATTERN.exec(entry.name);
      if (entry.isDirectory() && match && Number(match[2]) < PARTITIONS) this.partition(match[1]!, Number(match[2]));
    }
    this.identity = storeIdentity(options.dir, this.logs.size > 0, options.warn);
    this.every(LOG_RETENTION_INTERVAL_MS, () => {
      for (const log of this.logs.values()) {
        // One whose sync has failed refuses: said, while the others go on.
        try {
          log.enforceRetention();
        } catch (cause) {
          options.onSyncFailure(cause);
        }
      }
    });
    if (options.fsync === 'interval') {
      this.every(LOG_SYNC_INTERVAL_MS, () => {
        for (const log of this.logs.values()) log.flush().catch(options.onSyncFailure);
      });
    }
  }

  partition(topic: string, partition: number): PartitionLog {
    const name = `${topic}-${partition}`;
    let log = this.logs.get(name);
    if (log === undefined) {
      const { fsync, partitionBytesMax: bytesMax, ageMsMax, dir } = this.options;
      log = new EmbeddedLog({ dir: path.join(dir, name), topic, partition, fsync, bytesMax, ageMsMax });
      this.logs.set(name, log);
    }
    return log;
  }

  of(topic: string, node: string): PartitionLog {
    return this.partition(topic, partitionOf(node));
  }

  /** Undefined when nothing was ever written to it. */
  existing(topic: string, node: string): PartitionLog | undefined {
    return this.logs.get(`${topic}-${partitionOf(node)}`);
  }

  /** What is open; at the start everything that exists is. */
  all(): Iterable<PartitionLog> {
    return this.logs.values();
  }

  get bytes(): number {
    let bytes = 0;
    for (const log of this.logs.values()) bytes += log.bytes;
    return bytes;
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    await Promise.all([...this.logs.values()].map((log) => log.close()));
  }

  private every(ms: number, run: () => void): void {
    const timer = setInterval(run, ms);
    timer.unref();
    this.timers.push(timer);
  }
}
