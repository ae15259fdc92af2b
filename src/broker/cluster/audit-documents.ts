/** The audit, in its log of documents: of one broker, or of all brokers of a cluster. */
import { BackplaneError } from '../../errors.js';
import { TokenBucket } from '../../flow/token-bucket.js';
import { AUDIT_MESSAGE_BYTES_MAX, AUDIT_REFUSED_BURST_SHARE, AUDIT_REFUSED_SHARE } from '../../limits.js';
import type { NewBatch } from '../log/documents/document-batch.js';
import type { DocumentLog } from '../log/documents/document-log.js';
import { auditBatch } from './audit-batch.js';
import type { AuditLog } from './audit-log.js';

/** Entries that must be stored, or what they are about is not done. */
export class AuditDocuments implements AuditLog {
  readonly place = 'the log of the audit';
  readonly #log: DocumentLog;

  constructor(log: DocumentLog) {
    this.#log = log;
  }

  async append(entries: readonly object[]): Promise<void> {
    for (const batch of batchesOf(entries)) await this.#log.append(batch);
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

/** As few as the bound on one allows. Throws resource_exhausted for an entry that is longer. */
function batchesOf(entries: readonly object[]): NewBatch[] {
  const batch = auditBatch(entries);
  const bytes = batch.documents.reduce((sum, { type, part }) => sum + type.length + part.length, 0);
  if (bytes <= AUDIT_MESSAGE_BYTES_MAX) return [batch];
  if (entries.length === 1) {
    const message = `an entry of the audit must be at most ${AUDIT_MESSAGE_BYTES_MAX} bytes, got ${bytes}`;
    throw new BackplaneError('resource_exhausted', message);
  }
  const half = Math.ceil(entries.length / 2);
  return [...batchesOf(entries.slice(0, half)), ...batchesOf(entries.slice(half))];
}
