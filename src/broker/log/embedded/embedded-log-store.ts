/** All partition logs of a broker in one directory, with one bound in bytes over all of them. */
import path from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { everySecond } from '../../../flow/long-timer.js';
import {
  LOG_EXCESS_BYTES_MAX,
  LOG_RETENTION_INTERVAL_MS,
  LOG_SEGMENT_BYTES,
  LOG_SEGMENTS_MIN,
  LOG_SYNC_INTERVAL_MS,
  PARTITIONS,
} from '../../../limits.js';
import { msToNs, wallNowNs } from '../../../nanoseconds.js';
import { type FileOps, makeDirectory } from '../../../storage/file-ops.js';
import { HeldDirectory } from '../../../storage/held-directory.js';
import type { SegmentInfo } from '../../../storage/segment-log/segment.js';
import type { Position } from '../../../wire/position.js';
import type { LogStore } from '../log-store.js';
import { type PartitionLog, partitionOf } from '../partition-log.js';
import { EmbeddedLog, type FsyncMode } from './embedded-log.js';
import { putOldLogsAside } from './old-logs.js';
import { storeIdentity } from './store-identity.js';

export interface EmbeddedLogStoreOptions {
  readonly dir: string;
  readonly fsync: FsyncMode;
  /** Bound over all partition logs together; beyond it the oldest segment of all logs is deleted. */
  readonly bytesMax: number;
  readonly ageMsMax: number;
  /** How far the bound may be exceeded while guard() keeps something; LOG_EXCESS_BYTES_MAX unless it is given. */
  readonly excessBytesMax?: number | undefined;
  readonly files?: FileOps | undefined;
  /** Called when something was found lost at the opening of the logs, with the consequence. */
  readonly warn: (message: string) => void;
  /** Called for failures outside of an append: of a sync in interval mode, or because a log's files were removed. */
  readonly onFailure: (log: PartitionLog, cause: unknown) => void;
}

export class EmbeddedLogStore implements LogStore {
  readonly identity: string;
  /** Who can write to its disk can read it. */
  readonly trouble = undefined;
  /** Logs, indexed by partition. */
  readonly #logs: EmbeddedLog[] = [];
  readonly #directory: HeldDirectory;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #endLooks: () => void;
  #mayForget: (partition: number, before: number) => boolean = () => true;

  /** Opens or creates every log, and makes durable what a killed broker wrote but did not sync. */
  static async open(options: EmbeddedLogStoreOptions): Promise<EmbeddedLogStore> {
    const store = new EmbeddedLogStore(options);
    await Promise.all(store.#logs.map((log) => log.settled()));
    return store;
  }

  readonly #options: EmbeddedLogStoreOptions;

  private constructor(options: EmbeddedLogStoreOptions) {
    this.#options = options;
    makeDirectory(options.dir);
    putOldLogsAside(options.dir, options.warn);
    this.#directory = new HeldDirectory(options.dir);
    for (let partition = 0; partition < PARTITIONS; partition++) this.#logs.push(this.#openLog(partition));
    const hasFrames = this.#logs.some((log) => log.deliverableOffset > log.firstOffset);
    this.identity = storeIdentity(options.dir, hasFrames, options.warn);
    this.#every(LOG_RETENTION_INTERVAL_MS, () => this.enforceRetention());
    this.#endLooks = everySecond(() => this.#eachGoesOn((log) => log.checkPlace()));
    if (options.fsync === 'interval') {
      this.#every(LOG_SYNC_INTERVAL_MS, () => {
        for (const log of this.#logs) log.flush().catch((cause) => options.onFailure(log, cause));
      });
    }
  }

  #openLog(partition: number): EmbeddedLog {
    const { fsync, bytesMax, ageMsMax, dir, files } = this.#options;
    return new EmbeddedLog({
      dir: path.join(dir, `partition-${partition}`),
      partition,
      fsync,
      segmentBytesMax: Math.min(LOG_SEGMENT_BYTES, Math.floor(bytesMax / LOG_SEGMENTS_MIN)),
      ageMsMax,
      onFull: () => this.#removeOldest(true),
      onGrown: () => this.#enforceBytes(),
      files,
    });
  }

  partition(partition: number): PartitionLog {
    return this.#logs[partition]!;
  }

  of(node: string): PartitionLog {
    return this.partition(partitionOf(node));
  }

  coveredTo(node: string, topic: string): Position | undefined {
    return this.of(node).coveredTo(node, topic);
  }

  checkPlace(): void {
    if (!this.#directory.inPlace) throw new BackplaneError('unavailable', this.#directory.removedMessage);
  }

  all(): readonly PartitionLog[] {
    return this.#logs;
  }

  get bytes(): number {
    let bytes = 0;
    for (const log of this.#logs) bytes += log.bytes;
    return bytes;
  }

  get bytesMax(): number {
    return this.#options.bytesMax;
  }

  fading(): readonly number[] {
    const { bytesMax, ageMsMax } = this.#options;
    const before = this.#logs.map(({ firstOffset }) => firstOffset);
    const oldNs = wallNowNs() - msToNs(ageMsMax) / 2n;
    let bytes = 0;
    const segments = this.#logs.flatMap((log) => log.segments().map((segment) => ({ ...segment, of: log.partition })));
    // The newest first, as the oldest of all logs is deleted first.
    for (const { of, bytes: own, lastTimeNs, nextOrdinal } of segments.sort(byEnd)) {
      bytes += own;
      if (bytes > bytesMax / 2 || (lastTimeNs > 0n && lastTimeNs < oldNs))
        before[of] = Math.max(before[of]!, nextOrdinal);
    }
    return before;
  }

  guard(mayForget: (partition: number, before: number) => boolean): void {
    this.#mayForget = mayForget;
  }

  /** Deletes old segments: by age in each log, and by bytes over all logs. */
  enforceRetention(): void {
    this.#eachGoesOn((log) => log.enforceRetention());
    this.#enforceBytes();
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#endLooks();
    this.#directory.close();
    await Promise.all(this.#logs.map((log) => log.close()));
  }

  /** Runs for every log. A log that throws is reported through onFailure, and the others are still run. */
  #eachGoesOn(run: (log: EmbeddedLog) => void): void {
    for (const log of this.#logs) {
      try {
        run(log);
      } catch (cause) {
        this.#options.onFailure(log, cause);
      }
    }
  }

  #enforceBytes(): void {
    const { bytesMax, excessBytesMax = LOG_EXCESS_BYTES_MAX } = this.#options;
    while (this.bytes > bytesMax && this.#removeOldest(this.bytes > bytesMax + excessBytesMax));
  }

  /** Deletes the segment that ended first in all logs, so that small logs keep their frames as long as large ones. */
  #removeOldest(forced: boolean): boolean {
    const removable: { readonly log: EmbeddedLog; readonly oldestNs: bigint }[] = [];
    for (const log of this.#logs) {
      const { oldestNs } = log;
      if (oldestNs !== undefined) removable.push({ log, oldestNs });
    }
    removable.sort((a, b) => (a.oldestNs < b.oldestNs ? -1 : 1));
    for (const { log } of removable) {
      const [oldest] = log.segments();
      if (!forced && oldest && !this.#mayForget(log.partition, oldest.nextOrdinal)) return false;
      if (log.removeOldest()) return true;
    }
    return false;
  }

  #every(ms: number, run: () => void): void {
    const timer = setInterval(run, ms);
    timer.unref();
    this.#timers.push(timer);
  }
}

/** Those that ended last come first; one without a record ends when the next record comes. */
function byEnd(a: SegmentInfo, b: SegmentInfo): number {
  if (a.lastTimeNs === b.lastTimeNs) return 0;
  return a.lastTimeNs === 0n || (b.lastTimeNs !== 0n && a.lastTimeNs > b.lastTimeNs) ? -1 : 1;
}
