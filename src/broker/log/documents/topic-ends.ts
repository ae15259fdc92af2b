/**
 * The last batch of each topic of a log. Each segment begins with what it was then, so that the oldest one says for each
 * topic what retention took: who asks for others is told of no loss.
 *
 *   Ends := (version 1, (topic, offset, time, events)*)        msgpack; an empty topic: all that are not named
 */
import { Packr } from 'msgpackr';
import { DOCUMENT_TOPICS_NOTED_MAX } from '../../../limits.js';
import { readPlainMsgpack } from '../../../wire/plain-msgpack.js';

/** One batch. */
export interface TopicEnd {
  readonly offset: number;
  /** When it was stored, wall nanoseconds. */
  readonly timeNs: bigint;
  /** Number of its events. */
  readonly events: number;
}

type EndParts = readonly [topic: string, offset: number | bigint, timeNs: number | bigint, events: number | bigint];

const VERSION = 1;
const packr = new Packr({ useRecords: false });

export class TopicEnds {
  /** The topic that was written least recently comes first. */
  readonly #ends = new Map<string, TopicEnd>();
  /** No batch of a topic without an entry is later; undefined: there is none at all. */
  #others: TopicEnd | undefined;

  /** Nothing is known but that no batch is later. */
  static before(offset: number, timeNs: bigint): TopicEnds {
    const ends = new TopicEnds();
    if (offset > 0) ends.#others = { offset: offset - 1, timeNs, events: Number.MAX_SAFE_INTEGER };
    return ends;
  }

  /** Undefined for what encode() did not make. */
  static decode(bytes: Buffer): TopicEnds | undefined {
    try {
      // Anything else than what encode() made has another checksum.
      const [version, ...ends] = readPlainMsgpack(bytes) as unknown as readonly [number, ...EndParts[]];
      return version === VERSION ? TopicEnds.#of(ends) : undefined;
    } catch {
      return undefined;
    }
  }

  static #of(parts: readonly EndParts[]): TopicEnds {
    const ends = new TopicEnds();
    for (const [topic, offset, timeNs, events] of parts) {
      const end = { offset: Number(offset), timeNs: BigInt(timeNs), events: Number(events) };
      if (topic === '') ends.#others = end;
      else ends.note(topic, end);
    }
    return ends;
  }

  /** Of a batch that is later than all before. */
  note(topic: string, end: TopicEnd): void {
    this.#ends.delete(topic);
    this.#ends.set(topic, end);
    if (this.#ends.size <= DOCUMENT_TOPICS_NOTED_MAX) return;
    const [oldest, last] = this.#ends.entries().next().value!;
    this.#ends.delete(oldest);
    // Topics leave in the order of their last batches.
    this.#others = { ...last, events: Number.MAX_SAFE_INTEGER };
  }

  /** Whether of() is of the topic itself. */
  knows(topic: string): boolean {
    return this.#ends.has(topic) || this.#others === undefined;
  }

  /** The last batch that may be of the topic; undefined where there is none. */
  of(topic: string): TopicEnd | undefined {
    return this.#ends.get(topic) ?? this.#others;
  }

  /** The last batch of any topic. */
  get last(): TopicEnd | undefined {
    return [...this.#ends.values()].at(-1) ?? this.#others;
  }

  encode(): Buffer {
    const ends = [...this.#ends, ...(this.#others === undefined ? [] : [['', this.#others] as const])];
    return packr.pack([VERSION, ...ends.map(([topic, { offset, timeNs, events }]) => [topic, offset, timeNs, events])]);
  }
}
