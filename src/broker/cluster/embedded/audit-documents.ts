/** The audit of one process, in its log of documents. */
import { TokenBucket } from '../../../flow/token-bucket.js';
import { AUDIT_REFUSED_BURST_SHARE, AUDIT_REFUSED_SHARE } from '../../../limits.js';
import type { DocumentLog } from '../../log/documents/document-log.js';
import { auditBatch } from '../audit-batch.js';
import type { AuditLog } from '../audit-log.js';

/** Entries that must be stored, or what they are about is not done. */
export class AuditDocuments implements AuditLog {
  readonly place = 'the log of the audit';
  readonly #log: DocumentLog;

  constructor(log: DocumentLog) {
    this.#log = log;
  }

  async append(entries: readonly object[]): Promise<void> {
    await this.#log.append(auditBatch(entries)).durable;
  }
}

/**
 * Refusals, in the same log. Anybody can cause any number of them, so they get a share of the log's size within its age:
 * what is beyond is dropped and counted, and pushes nothing out.
 */
export class RefusalDocuments implements AuditLog {
  readonly place: string;
  /** Entries that were not stored. */
  dropped = 0;
  #untold = 0;
  readonly #documents: AuditDocuments;
  readonly #room: TokenBucket;

  constructor(log: DocumentLog, { bytesMax, ageMsMax }: { readonly bytesMax: number; readonly ageMsMax: number }) {
    this.#documents = new AuditDocuments(log);
    this.place = this.#documents.place;
    this.#room = new TokenBucket(
      (bytesMax * AUDIT_REFUSED_SHARE) / (ageMsMax / 1000),
      bytesMax * AUDIT_REFUSED_BURST_SHARE,
    );
  }

  async append(entries: readonly object[]): Promise<void> {
    const bytes = Buffer.byteLength(JSON.stringify(entries));
    if (bytes > this.#room.level) {
      this.#drop(entries.length);
      return;
    }
    this.#room.take(bytes);
    const droppedBefore = this.#untold;
    this.#untold = 0;
    try {
      const [first, ...others] = entries;
      await this.#documents.append(droppedBefore === 0 ? entries : [{ ...first, droppedBefore }, ...others]);
    } catch (cause) {
      this.#drop(entries.length);
      this.#untold += droppedBefore;
      throw cause;
    }
  }

  #drop(count: number): void {
    this.dropped += count;
    this.#untold += count;
  }
}
