/**
 * Marks of the newest messages of a stream, by sequence: 32 bits of what a message is and when it was stored. Where a
 * machine lost the end of its log and took something else since, the same sequence has another mark.
 */
import { crc32 } from 'node:zlib';
import { LOG_MARKS_MAX } from '../../../limits.js';

/** Never 0. @param timeNs when the server stored it */
export function markOf(subject: string, timeNs: bigint): number {
  return crc32(`${subject} ${timeNs}`) || 1;
}

export class Marks {
  readonly #ring = new Uint32Array(LOG_MARKS_MAX);
  /** The sequences before `#end`, from `#begin` on, are known, but for those that are 0. */
  #begin = 0;
  #end = 0;

  set(sequence: number, mark: number): void {
    if (sequence > this.#end) {
      if (sequence - this.#end >= LOG_MARKS_MAX || this.#end === 0) this.#begin = sequence;
      else for (let lost = this.#end; lost < sequence; lost++) this.#ring[lost % LOG_MARKS_MAX] = 0;
    }
    this.#ring[sequence % LOG_MARKS_MAX] = mark;
    this.#end = sequence + 1;
    this.#begin = Math.max(this.#begin, this.#end - LOG_MARKS_MAX);
  }

  /** Undefined where it is not known. */
  of(sequence: number): number | undefined {
    if (sequence < this.#begin || sequence >= this.#end) return undefined;
    return this.#ring[sequence % LOG_MARKS_MAX] || undefined;
  }

  /** The oldest sequence that may be known. */
  get begin(): number {
    return this.#begin;
  }

  /** Forgets all from a sequence on. */
  cut(end: number): void {
    this.#end = Math.min(this.#end, end);
    if (this.#end <= this.#begin) this.#begin = this.#end = 0;
  }
}
