/** Decoded batches at the end of a log of documents, for those who follow it. */
import { DOCUMENT_CACHE_BYTES_MAX } from '../../../limits.js';
import type { DocumentBatch } from './document-batch.js';

export class BatchCache {
  readonly #batches = new Map<number, DocumentBatch>();
  #bytes = 0;

  at(offset: number): DocumentBatch | undefined {
    return this.#batches.get(offset);
  }

  /** Of a batch behind all that are kept. */
  keep(batch: DocumentBatch): void {
    this.#batches.set(batch.offset, batch);
    this.#bytes += batch.bytes;
    for (const [offset, oldest] of this.#batches) {
      if (this.#bytes <= DOCUMENT_CACHE_BYTES_MAX) break;
      this.#batches.delete(offset);
      this.#bytes -= oldest.bytes;
    }
  }
}
