/** The logs of documents: what applications publish, alerts, and the audit, each with bounds of its own. */
import {
  ALERT_LOG_AGE_MS_DEFAULT,
  ALERT_LOG_BYTES_DEFAULT,
  APP_LOG_AGE_MS_DEFAULT,
  APP_LOG_BYTES_DEFAULT,
  AUDIT_LOG_AGE_MS_DEFAULT,
  AUDIT_LOG_BYTES_DEFAULT,
} from '../../../limits.js';
import { DOCUMENT_LOGS, type DocumentLogName, documentLogOf } from '../../../wire/event/document-topics.js';
import type { DocumentLog } from './document-log.js';

interface DocumentLogBounds {
  readonly bytesMax: number;
  readonly ageMsMax: number;
}

export type DocumentBounds = Readonly<Record<DocumentLogName, DocumentLogBounds>>;

export const DOCUMENT_BOUNDS: DocumentBounds = {
  app: { bytesMax: APP_LOG_BYTES_DEFAULT, ageMsMax: APP_LOG_AGE_MS_DEFAULT },
  alert: { bytesMax: ALERT_LOG_BYTES_DEFAULT, ageMsMax: ALERT_LOG_AGE_MS_DEFAULT },
  audit: { bytesMax: AUDIT_LOG_BYTES_DEFAULT, ageMsMax: AUDIT_LOG_AGE_MS_DEFAULT },
};

export class DocumentLogs {
  readonly #logs: ReadonlyMap<DocumentLogName, DocumentLog>;
  readonly #close: () => Promise<void>;

  /** @param logs one of each name */
  constructor(logs: readonly DocumentLog[], close: () => Promise<void>) {
    this.#logs = new Map(DOCUMENT_LOGS.map((name) => [name, logs.find((log) => log.name === name)!]));
    this.#close = close;
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

  get trouble(): string | undefined {
    return this.all().find(({ trouble }) => trouble !== undefined)?.trouble;
  }

  get bytes(): number {
    return this.all().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  close(): Promise<void> {
    return this.#close();
  }
}
