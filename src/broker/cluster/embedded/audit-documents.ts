/** Entries of the audit as documents of its log: topic `audit`. */
import { TokenBucket } from '../../../flow/token-bucket.js';
import { AUDIT_REFUSED_BURST_SHARE, AUDIT_REFUSED_SHARE } from '../../../limits.js';
import { encodePart } from '../../../wire/event/document-event.js';
import type { JsonObject } from '../../../wire/json-value.js';
import type { Document } from '../../log/documents/document-batch.js';
import type { DocumentLog } from '../../log/documents/document-log.js';
import type { AuditLog } from '../audit-log.js';

/** What every entry may have; all else is a detail. */
interface Entry {
  readonly action?: unknown;
  readonly identity?: unknown;
  readonly peer?: unknown;
  readonly code?: unknown;
  /** Of a refusal: why. */
  readonly refused?: unknown;
  readonly count?: unknown;
  readonly time?: unknown;
}

/** Entries that must be stored, or what they are about is not done. */
export class AuditDocuments implements AuditLog {
  readonly place = 'the log of the audit';
  readonly #log: DocumentLog;

  constructor(log: DocumentLog) {
    this.#log = log;
  }

  async append(entries: readonly object[]): Promise<void> {
    const { durable } = this.#log.append({ node: NODE, topic: 'audit', documents: entries.map(documentOf), by: '' });
    await durable;
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

/** The broker speaks for itself: no identity has this name. */
const NODE = '@';

function documentOf(entry: Entry & object): Document {
  // Its time is the event's.
  const { action, identity, peer, code, refused, count, time: _time, ...facts } = entry;
  const outcome = refused === undefined ? 'done' : 'refused';
  // Values that JSON does not have are left out or written as text.
  const details = JSON.parse(
    JSON.stringify(facts, (_name, value) => (typeof value === 'bigint' ? String(value) : value)),
  );
  const part = encodePart({
    audit: {
      action: textOf(action),
      identity: textOf(identity),
      peer: textOf(peer),
      outcome,
      code: textOf(code),
      message: textOf(refused),
      count: Number(count ?? 0),
      details: details as JsonObject,
    },
  });
  return { type: `audit.${textOf(action) || 'entry'}`, id: '', key: '', part };
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
