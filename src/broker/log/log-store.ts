/**
 * All partition logs of a broker, opened when first needed, under one identity
 * and one bound of bytes.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { BackplaneError } from '../../errors.js';
import {
  DATA_WATCH_INTERVAL_MS,
  LOG_RETENTION_INTERVAL_MS,
  LOG_SEGMENT_BYTES,
  LOG_SEGMENTS_MIN,
  LOG_SYNC_INTERVAL_MS,
  PARTITIONS,
} from '../../limits.js';
import { type FileOps, makeDirectory } from '../../storage/file-ops.js';
import { HeldDirectory } from '../../storage/held-directory.js';
import { EmbeddedLog, type FsyncMode } from './embedded/embedded-log.js';
import { storeIdentity } from './embedded/store-identity.js';
import { type PartitionLog, partitionOf } from './partition-log.js';

export interface LogStoreOptions {
  readonly dir: string;
  readonly fsync: FsyncMode;
  /** Of all partition logs together: over it, the oldest segment of all goes. */
  readonly bytesMax: number;
  readonly ageMsMax: number;
  readonly files?: FileOps | undefined;
  /** Told what was found lost when the logs were opened, and what follows. */
  readonly warn: (message: string) => void;
  /** Failures of a log that nobody waits for: of the syncs of the interval mode, or because its files were removed. */
  readonly onFailure: (log: PartitionLog, cause: unknown) => void;
}

const DIRECTORY_PATTERN = /^([a-z][a-z0-9._-]*)-(\d+)$/;

export class LogStore {
  /** Hex, 16 digits. Cursors carry it. */
  readonly identity: string;
  private readonly logs = new Map<string, EmbeddedLog>();
  private readonly directory: HeldDirectory;
  private readonly timers: NodeJS.Timeout[] = [];

  /** Opens every log that exists; what a killed broker wrote but did not sync is made durable first. */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    const store = new LogStore(options);
    await Promise.all([...store.logs.values()].map((log) => log.settled()));
    return store;
  }

  private constructor(private readonly options: LogStoreOptions) {
    makeDirectory(options.dir);
    this.directory = new HeldDirectory(options.dir);
    for (const entry of readdirSync(options.dir, { withFileTypes: true })) {
      const match = DIRECTORY_PATTERN.exec(entry.name);
      if (entry.isDirectory() && match && Number(match[2]) < PARTITIONS) this.partition(match[1]!, Number(match[2]));
    }
    this.identity = storeIdentity(options.dir, this.logs.size > 0, options.warn);
    this.every(LOG_RETENTION_INTERVAL_MS, () => this.enforceRetention());
    this.every(DATA_WATCH_INTERVAL_MS, () => this.eachGoesOn((log) => log.checkPlace()));
    if (options.fsync === 'interval') {
      this.every(LOG_SYNC_INTERVAL_MS, () => {
        for (const log of this.logs.values()) log.flush().catch((cause) => options.onFailure(log, cause));
      });
    }
  }

  /** Throws `unavailable` when a new log would have to be made where nobody will look for it, and what opening throws. */
  partition(topic: string, partition: number): PartitionLog {
    const name = `${topic}-${partition}`;
    let log = this.logs.get(name);
    if (log === undefined) {
      // It would make the directory anew, with nothing of what belongs to it.
      if (!this.directory.inPlace) throw new BackplaneError('unavailable', this.directory.removedMessage);
      const { fsync, bytesMax, ageMsMax, dir, files } = this.options;
      log = new EmbeddedLog({
        dir: path.join(dir, name),
        topic,
        partition,
        fsync,
        segmentBytesMax: Math.min(LOG_SEGMENT_BYTES, Math.floor(bytesMax / LOG_SEGMENTS_MIN)),
        ageMsMax,
        onFull: () => this.removeOldest(),
        onGrown: () => this.enforceBytes(),
        files,
      });
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

  /** By age, log for log, and by bytes over all of them. */
  enforceRetention(): void {
    this.eachGoesOn((log) => log.enforceRetention());
    this.enforceBytes();
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.directory.close();
    await Promise.all([...this.logs.values()].map((log) => log.close()));
  }

  /** One that has failed refuses: said, while the others go on. */
  private eachGoesOn(run: (log: EmbeddedLog) => void): void {
    for (const log of this.logs.values()) {
      try {
        run(log);
      } catch (cause) {
        this.options.onFailure(log, cause);
      }
    }
  }

  private enforceBytes(): void {
    while (this.bytes > this.options.bytesMax && this.removeOldest());
  }

  /** Deletes the segment that ended first, of whichever log: one that holds little is kept as long as the others. */
  private removeOldest(): boolean {
    const removable: { readonly log: EmbeddedLog; readonly oldestNs: bigint }[] = [];
    for (const log of this.logs.values()) {
      const { oldestNs } = log;
      if (oldestNs !== undefined) removable.push({ log, oldestNs });
    }
    removable.sort((a, b) => (a.oldestNs < b.oldestNs ? -1 : 1));
    return removable.some(({ log }) => log.removeOldest());
  }

  private every(ms: number, run: () => void): void {
    const timer = setInterval(run, ms);
    timer.unref();
    this.timers.push(timer);
  }
}
