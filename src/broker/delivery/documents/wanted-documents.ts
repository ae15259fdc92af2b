/** Which documents a subscription wants, and these as frames, as history of nodes comes. */
import { DOCUMENT_BATCH_BYTES_MAX } from '../../../limits.js';
import type { Predicate } from '../../../subscriptions/predicate.js';
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
  /** The distinct ones that want documents. */
  readonly #predicates: readonly Predicate[];

  constructor(checked: CheckedSubscription) {
    this.#checked = checked;
    const distinct = new Map(checked.selectors.map(({ predicate }) => [predicate.cursorId, predicate]));
    this.#predicates = [...distinct.values()].filter(({ documents }) => documents !== undefined);
  }

  get topics(): readonly string[] {
    return this.#checked.documents?.topics ?? [];
  }

  /** False when no event of the batch is wanted. */
  mayWant({ topic, node, documents: events }: DocumentBatch): boolean {
    const { documents, publishers } = this.#checked;
    if (documents?.wants(topic) !== true || !publishers.matches(node)) return false;
    return this.#checked.slice === undefined || events.some(({ key }) => this.#takes(key || node));
  }

  /** Whether documents of a key, or of a publisher, are for this slice of a group. */
  #takes(key: string): boolean {
    return this.#checked.slice?.takes(key) ?? true;
  }

  /** Its wanted events from an index on, in frames that fit the message of any client. */
  *frames(batch: DocumentBatch, from: number): Generator<DocumentFrame> {
    if (!this.mayWant(batch)) return;
    let chosen = new ChosenEvents(batch);
    for (let index = from; index < batch.documents.length; index++) {
      if (batch.repeats(index)) continue;
      if (!this.#takes(batch.documents[index]!.key || batch.node)) continue;
      const event = batch.event(index);
      const matching = this.#predicates.filter(({ documents }) => documents?.matches(event));
      if (matching.length === 0) continue;
      if (!chosen.takes(index)) {
        yield { frame: chosen.frame(), next: index };
        chosen = new ChosenEvents(batch);
      }
      chosen.add(index, matching);
    }
    if (chosen.count > 0) yield { frame: chosen.frame(), next: batch.documents.length };
  }
}

/** Events of one batch, with the predicates that each matches, by the ids that cursors have of these. */
class ChosenEvents {
  readonly #batch: DocumentBatch;
  readonly #indices: number[] = [];
  readonly #matching = new Map<bigint, number[]>();
  #bytes = 0;

  constructor(batch: DocumentBatch) {
    this.#batch = batch;
  }

  get count(): number {
    return this.#indices.length;
  }

  /** Whether it has room for the event. */
  takes(index: number): boolean {
    return this.count === 0 || this.#bytes + this.#batch.element(index).length <= DOCUMENT_BATCH_BYTES_MAX;
  }

  add(index: number, predicates: readonly Predicate[]): void {
    for (const { cursorId } of predicates) {
      const places = this.#matching.get(cursorId);
      if (places === undefined) this.#matching.set(cursorId, [this.count]);
      else places.push(this.count);
    }
    this.#indices.push(index);
    this.#bytes += this.#batch.element(index).length;
  }

  frame(): HistoryFrame {
    const { topic, epoch, timeNs, offset } = this.#batch;
    const elements = this.#indices.map((index) => this.#batch.element(index));
    const { count } = this;
    return {
      topic,
      epoch,
      eventSizes: elements.map(({ length }) => length),
      wallNs: new BigUint64Array(count).fill(timeNs),
      timesNs: new BigUint64Array(count).fill(BigInt(offset)),
      lanes: new Array<number>(count).fill(0),
      ties: this.#indices,
      matches: [...this.#matching].map(([predicateId, indices]) => {
        const all = indices.length === count;
        return { predicateId, all, indices: all ? [] : indices };
      }),
      incomplete: false,
      events: Buffer.concat(elements),
    };
  }
}
