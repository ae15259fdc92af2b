/** All partition logs of a broker, under one identity and one bound of bytes. */
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
import type { Position } from '../../wire/position.js';
import { EmbeddedLog, type FsyncMode } from './embedded/embedded-log.js';
import { putOldLogsAside } from './embedded/old-logs.js';
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

export class LogStore {
  /** Hex, 16 digits. Cursors carry it. */
  readonly identity: string;
  /** By partition. */
  private readonly logs: EmbeddedLog[] = [];
  private readonly directory: HeldDirectory;
  private readonly timers: NodeJS.Timeout[] = [];

  /** Opens or makes every log; what a killed broker wrote but did not sync is made durable first. */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    const store = new LogStore(options);
    await Promise.all(store.logs.map((log) => log.settled()));
    return store;
  }

  private constructor(private readonly options: LogStoreOptions) {
    makeDirectory(options.dir);
    putOldLogsAside(options.dir, options.warn);
    this.directory = new HeldDirectory(options.dir);
    for (let partition = 0; partition < PARTITIONS; partition++) this.logs.push(this.openLog(partition));
    const hasFrames = this.logs.some((log) => log.deliverableOffset > log.firstOffset);
    this.identity = storeIdentity(options.dir, hasFrames, options.warn);
    this.every(LOG_RETENTION_INTERVAL_MS, () => this.enforceRetention());
    this.every(DATA_WATCH_INTERVAL_MS, () => this.eachGoesOn((log) => log.checkPlace()));
    if (options.fsync === 'interval') {
      this.every(LOG_SYNC_INTERVAL_MS, () => {
        for (const log of this.logs) log.flush().catch((cause) => options.onFailure(log, cause));
      });
    }
  }

  private openLog(partition: number): EmbeddedLog {
    const { fsync, bytesMax, ageMsMax, dir, files } = this.options;
    return new EmbeddedLog({
      dir: path.join(dir, `partition-${partition}`),
      partition,
      fsync,
      segmentBytesMax: Math.min(LOG_SEGMENT_BYTES, Math.floor(bytesMax / LOG_SEGMENTS_MIN)),
      ageMsMax,
      onFull: () => this.removeOldest(),
      onGrown: () => this.enforceBytes(),
      files,
    });
  }

  partition(partition: number): PartitionLog {
    return this.logs[partition]!;
  }

  of(node: string): PartitionLog {
    return this.partition(partitionOf(node));
  }

  /** Up to where the node's frames of a topic reach; undefined when there are none. */
  coveredTo(node: string, topic: string): Position | undefined {
    return this.of(node).coveredTo(node, topic);
  }

  /** Throws `unavailable` where nothing that is written would be found again. */
  checkPlace(): void {
    if (!this.directory.inPlace) throw new BackplaneError('unavailable', this.directory.removedMessage);
  }

  all(): readonly PartitionLog[] {
    return this.logs;
  }

  get bytes(): number {
    let bytes = 0;
    for (const log of this.logs) bytes += log.bytes;
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
    await Promise.all(this.logs.map((log) => log.close()));
  }

  /** One that has failed refuses: said, while the others go on. */
  private eachGoesOn(run: (log: EmbeddedLog) => void): void {
    for (const log of this.logs) {
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
    for (const log of this.logs) {
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
