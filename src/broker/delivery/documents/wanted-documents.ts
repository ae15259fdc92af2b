/** Which documents a subscription wants, and these as frames, as history of nodes comes. */
import { DOCUMENT_BATCH_BYTES_MAX } from '../../../limits.js';
import type { CheckedSubscription } from '../../../subscriptions/request/subscription-request.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import type { DocumentBatch } from '../../log/documents/document-batch.js';

/** Some wanted events of one batch. */
export interface DocumentFrame {
  readonly frame: HistoryFrame;
  /** Index in the batch behind which nothing of it was looked at; the number of its events where all were. */
  readonly next: number;
}

export class WantedDocuments {
  readonly #checked: CheckedSubscription;

  constructor(checked: CheckedSubscription) {
    this.#checked = checked;
  }

  get topics(): readonly string[] {
    return this.#checked.documents?.topics ?? [];
  }

  /** False when no event of the batch is wanted. */
  mayWant({ topic, node }: DocumentBatch): boolean {
    const { documents, publishers } = this.#checked;
    return documents?.wants(topic) === true && publishers.matches(node);
  }

  /** Its wanted events from an index on, in frames that fit the message of any client. */
  *frames(batch: DocumentBatch, from: number): Generator<DocumentFrame> {
    const { documents } = this.#checked;
    if (documents === undefined || !this.mayWant(batch)) return;
    let chosen: number[] = [];
    let bytes = 0;
    for (let index = from; index < batch.documents.length; index++) {
      if (!documents.matches(batch.event(index))) continue;
      const { length } = batch.element(index);
      if (chosen.length > 0 && bytes + length > DOCUMENT_BATCH_BYTES_MAX) {
        yield { frame: frameOf(batch, chosen), next: index };
        chosen = [];
        bytes = 0;
      }
      chosen.push(index);
      bytes += length;
    }
    if (chosen.length > 0) yield { frame: frameOf(batch, chosen), next: batch.documents.length };
  }
}

function frameOf(batch: DocumentBatch, indices: readonly number[]): HistoryFrame {
  const elements = indices.map((index) => batch.element(index));
  const count = indices.length;
  return {
    topic: batch.topic,
    epoch: batch.epoch,
    eventSizes: elements.map(({ length }) => length),
    wallNs: new BigUint64Array(count).fill(batch.timeNs),
    timesNs: new BigUint64Array(count).fill(BigInt(batch.offset)),
    lanes: new Array<number>(count).fill(0),
    ties: indices,
    matches: [],
    events: Buffer.concat(elements),
  };
}
