/**
 * Marks of the newest messages of a stream, by sequence: 32 bits of what a message is and when it was stored. Where a
 * machine lost the end of its log and took something else since, the same sequence has another mark.
 */
import { crc32 } from 'node:zlib';
import type { StreamInfo } from '@nats-io/jetstream';
import { LOG_MARKS_MAX } from '../../../limits.js';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { storedMessage } from '../../nats/stream-leader.js';

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
    if (sequence < this.#begin) return;
    this.#ring[sequence % LOG_MARKS_MAX] = mark;
    // Of what is read again what is behind it stays known.
    this.#end = Math.max(this.#end, sequence + 1);
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

  /** Those from a sequence on, as far as they are known, and of which one the first is; 0 where one between is not known. */
  from(sequence: number): { readonly first: number; readonly marks: Uint32Array } {
    const first = Math.max(sequence, this.#begin);
    const length = Math.max(0, this.#end - first);
    return { first, marks: Uint32Array.from({ length }, (_, at) => this.of(first + at) ?? 0) };
  }

  /** Forgets all from a sequence on. */
  cut(end: number): void {
    this.#end = Math.min(this.#end, end);
    if (this.#end <= this.#begin) this.#begin = this.#end = 0;
  }
}

/**
 * The first sequence whose message is another one than was read before `next`, or is gone; undefined where there is none.
 * Rejects with unavailable where NATS does not answer.
 */
export async function lostFrom(
  link: NatsLink,
  { config, state: { first_seq: first, last_seq: last } }: StreamInfo,
  marks: Marks,
  next: number,
): Promise<number | undefined> {
  if (next <= 1) return undefined;
  const isSame = async (sequence: number) => {
    const mark = marks.of(sequence);
    return mark === undefined || mark === (await markAt(link, config.name, sequence));
  };
  const newest = Math.min(next - 1, last);
  if (last >= next - 1 && (newest < first || (await isSame(newest)))) return undefined;
  // What is the same is the same up to some sequence: halve.
  let high = newest + 1;
  // All that is known may lie behind what is left.
  let low = Math.min(Math.max(first, marks.begin), high);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isSame(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Asked of the leader; undefined where there is no such message. Rejects with unavailable. */
export async function markAt(link: NatsLink, stream: string, sequence: number): Promise<number | undefined> {
  const found = await storedMessage(link.manager, stream, { seq: sequence });
  return found === null ? undefined : markOf(found.subject, timeNsOf(found.timestamp));
}
