/**
 * The audit of a cluster: a stream of its own, whose bound gives the oldest. Each message is a batch of documents, as a
 * log of documents stores it. What one broker appends is one subject, a message after the other, so that its order is
 * that of the calls, and a message whose acknowledgement was lost is not stored twice.
 */
import { BackplaneError } from '../../../errors.js';
import { OneAtATime } from '../../../flow/one-at-a-time.js';
import { AUDIT_MESSAGE_BYTES_MAX, STATE_WRITE_MS } from '../../../limits.js';
import { encodeBatch } from '../../log/documents/document-batch.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { auditBatch } from '../audit-batch.js';
import type { AuditLog } from '../audit-log.js';
import { GuardedPublish } from './guarded-publish.js';

export interface NatsAuditOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** This broker's alone. */
  readonly subject: string;
  /** STATE_WRITE_MS by default. */
  readonly writeMs?: number;
}

export class NatsAudit implements AuditLog {
  readonly place: string;
  /** Sequence of this broker's last message; 0 where it is not known. */
  #last = 0;
  readonly #appends = new OneAtATime();
  readonly #options: NatsAuditOptions;

  constructor(options: NatsAuditOptions) {
    this.#options = options;
    this.place = `the stream ${options.stream}`;
  }

  append(entries: readonly object[]): Promise<void> {
    return this.#appends.run(() => this.#append(entries));
  }

  async #append(entries: readonly object[]): Promise<void> {
    for (const payload of payloadsOf(entries)) await this.#publish(payload);
  }

  async #publish(payload: Buffer): Promise<void> {
    const { link, stream, subject, writeMs = STATE_WRITE_MS } = this.#options;
    const attempt = new GuardedPublish(link, { stream, subject, payload }, AbortSignal.timeout(writeMs));
    for (;;) {
      const outcome = await attempt.run(this.#last);
      // A start begins behind what the broker appended before; what retention took is nobody's last message.
      this.#last = outcome.kind === 'stored' ? outcome.sequence : (outcome.last?.sequence ?? 0);
      if (outcome.kind === 'stored') return;
    }
  }
}

/** As few messages as the bound on one allows. @throws BackplaneError resource_exhausted for an entry that is longer */
function payloadsOf(entries: readonly object[]): Buffer[] {
  const payload = encodeBatch(auditBatch(entries));
  if (payload.length <= AUDIT_MESSAGE_BYTES_MAX) return [payload];
  if (entries.length === 1) {
    const message = `an entry of the audit must be at most ${AUDIT_MESSAGE_BYTES_MAX} bytes, got ${payload.length}`;
    throw new BackplaneError('resource_exhausted', message);
  }
  const half = Math.ceil(entries.length / 2);
  return [...payloadsOf(entries.slice(0, half)), ...payloadsOf(entries.slice(half))];
}
