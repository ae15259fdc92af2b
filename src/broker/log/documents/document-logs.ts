/** The logs of documents of a broker: what applications publish, alerts, and the audit, each with bounds of its own. */
import path from 'node:path';
import { everySecond } from '../../../flow/long-timer.js';
import {
  ALERT_LOG_AGE_MS_DEFAULT,
  ALERT_LOG_BYTES_DEFAULT,
  APP_LOG_AGE_MS_DEFAULT,
  APP_LOG_BYTES_DEFAULT,
  AUDIT_LOG_AGE_MS_DEFAULT,
  AUDIT_LOG_BYTES_DEFAULT,
  LOG_RETENTION_INTERVAL_MS,
} from '../../../limits.js';
import { type FileOps, makeDirectory } from '../../../storage/file-ops.js';
import { DOCUMENT_LOGS, type DocumentLogName, documentLogOf } from '../../../wire/event/document-topics.js';
import { DocumentLog } from './document-log.js';

interface DocumentLogBounds {
  readonly bytesMax: number;
  readonly ageMsMax: number;
}

export const DOCUMENT_BOUNDS: Readonly<Record<DocumentLogName, DocumentLogBounds>> = {
  app: { bytesMax: APP_LOG_BYTES_DEFAULT, ageMsMax: APP_LOG_AGE_MS_DEFAULT },
  alert: { bytesMax: ALERT_LOG_BYTES_DEFAULT, ageMsMax: ALERT_LOG_AGE_MS_DEFAULT },
  audit: { bytesMax: AUDIT_LOG_BYTES_DEFAULT, ageMsMax: AUDIT_LOG_AGE_MS_DEFAULT },
};

export interface DocumentLogsOptions {
  readonly dir: string;
  readonly bounds: Readonly<Record<DocumentLogName, DocumentLogBounds>>;
  readonly files?: FileOps | undefined;
  /** Called once for a log that takes no more batches until the broker is started again. */
  readonly onFailure: (log: DocumentLog, cause: unknown) => void;
}

export class DocumentLogs {
  readonly #logs: ReadonlyMap<DocumentLogName, DocumentLog>;
  readonly #failed = new Set<DocumentLog>();
  readonly #retention: NodeJS.Timeout;
  readonly #endLooks: () => void;
  readonly #onFailure: DocumentLogsOptions['onFailure'];

  /** Opens or creates every log, and makes durable what a killed broker wrote but did not sync. */
  static async open(options: DocumentLogsOptions): Promise<DocumentLogs> {
    const logs = new DocumentLogs(options);
    await Promise.all(logs.all().map((log) => log.settled()));
    return logs;
  }

  private constructor({ dir, bounds, files, onFailure }: DocumentLogsOptions) {
    makeDirectory(dir);
    this.#onFailure = onFailure;
    this.#logs = new Map(
      DOCUMENT_LOGS.map((name) => {
        // Who has filled the disk is not known: the audit is not what makes room for them.
        const givesWay = name !== 'audit';
        return [name, new DocumentLog({ name, dir: path.join(dir, name), ...bounds[name], givesWay, files })];
      }),
    );
    this.#retention = setInterval(() => this.#each((log) => log.enforceRetention()), LOG_RETENTION_INTERVAL_MS).unref();
    this.#endLooks = everySecond(() => this.#each((log) => log.checkPlace()));
  }

  of(name: DocumentLogName): DocumentLog {
    return this.#logs.get(name)!;
  }

  /** The logs that have the topics, each once, in the order of DOCUMENT_LOGS. */
  having(topics: readonly string[]): readonly DocumentLog[] {
    return this.all().filter(({ name }) => topics.some((topic) => documentLogOf(topic) === name));
  }

  all(): readonly DocumentLog[] {
    return [...this.#logs.values()];
  }

  get bytes(): number {
    return this.all().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async close(): Promise<void> {
    clearInterval(this.#retention);
    this.#endLooks();
    await Promise.all(this.all().map((log) => log.close()));
  }

  #each(run: (log: DocumentLog) => void): void {
    for (const log of this.all()) {
      try {
        run(log);
      } catch (cause) {
        if (this.#failed.has(log)) continue;
        this.#failed.add(log);
        this.#onFailure(log, cause);
      }
    }
  }
}
