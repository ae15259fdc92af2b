/**
 * Ids of published events that are remembered, so that an event that comes again is recognised: of each identity and topic
 * the newest, for some time. At a start they are read from the log again.
 */
import { createHash } from 'node:crypto';
import { KNOWN_IDS_TOTAL_MAX, KNOWN_IDS_WINDOWS_MAX } from '../../../limits.js';
import type { DocumentLogName } from '../../../wire/event/document-topics.js';
import type { Document, NewBatch } from './document-batch.js';

export interface IdWindow {
  readonly ageMsMax: number;
  readonly countMax: number;
}

export interface IdWindows {
  /** How long ids of a topic are remembered, and how many. */
  readonly windowOf: (topic: string) => IdWindow;
  /** The longest time of any topic of a log. */
  readonly windowMsMax: Readonly<Record<'app' | 'alert', number>>;
}

/** The audit has no ids. */
export function longestWindowMs({ windowMsMax }: IdWindows, log: DocumentLogName): number {
  return log === 'audit' ? 0 : windowMsMax[log];
}

interface Known {
  readonly offset: number;
  readonly atMs: number;
}

/** Longer ids are replaced by their hash, which bounds memory. */
const ID_CHARACTERS_MAX = 40;

export class KnownIds {
  /** By publisher and topic, those used least recently first; ids in the order of their times. */
  readonly #windows = new Map<string, Map<string, Known>>();
  #count = 0;
  readonly #windowOf: (topic: string) => IdWindow;

  constructor(windowOf: (topic: string) => IdWindow) {
    this.#windowOf = windowOf;
  }

  /** Offset of the batch with that event; undefined where the id is not known, or not any more. */
  offset(publisher: string, topic: string, id: string, nowMs: number): number | undefined {
    const known = this.#windows.get(keyOf(publisher, topic))?.get(shortened(id));
    return known !== undefined && known.atMs > nowMs - this.#windowOf(topic).ageMsMax ? known.offset : undefined;
  }

  /** The documents whose ids are not known, each id once; and the offset of the last known one. */
  fresh(batch: NewBatch, nowMs: number): { readonly fresh: readonly Document[]; readonly knownAt: number } {
    const publisher = publisherOf(batch);
    const fresh = new Map<string, Document>();
    let knownAt = 0;
    for (const document of batch.documents) {
      const known = this.offset(publisher, batch.topic, document.id, nowMs);
      if (known !== undefined) knownAt = known;
      else if (!fresh.has(document.id)) fresh.set(document.id, document);
    }
    return { fresh: [...fresh.values()], knownAt };
  }

  /**
   * Remembers the ids of a stored batch; call in the order of times. Returns the indices of those that were known, and
   * the offset of the last such one.
   */
  take(batch: NewBatch, offset: number, atMs: number): { readonly known: readonly number[]; readonly knownAt: number } {
    const publisher = publisherOf(batch);
    const known: number[] = [];
    let knownAt = 0;
    for (const [index, { id }] of batch.documents.entries()) {
      const before = this.offset(publisher, batch.topic, id, atMs);
      if (before === undefined) this.add(publisher, batch.topic, id, offset, atMs);
      else {
        known.push(index);
        knownAt = before;
      }
    }
    return { known, knownAt };
  }

  /** Call in the order of times. */
  add(publisher: string, topic: string, id: string, offset: number, atMs: number): void {
    const key = keyOf(publisher, topic);
    const ids = this.#windows.get(key) ?? new Map<string, Known>();
    this.#windows.delete(key);
    this.#windows.set(key, ids);
    const short = shortened(id);
    // An id that had been forgotten by its age comes last now.
    if (ids.delete(short)) this.#count--;
    ids.set(short, { offset, atMs });
    this.#count++;
    this.#shorten(ids, this.#windowOf(topic), atMs);
    if (this.#count > KNOWN_IDS_TOTAL_MAX) this.#forgetOldest(this.#fullest());
    if (this.#windows.size > KNOWN_IDS_WINDOWS_MAX) this.#forgetWindow();
  }

  #shorten(ids: Map<string, Known>, { ageMsMax, countMax }: IdWindow, nowMs: number): void {
    for (const { atMs } of ids.values()) {
      if (ids.size <= countMax && atMs > nowMs - ageMsMax) return;
      this.#forgetOldest(ids);
    }
  }

  #forgetOldest(ids: Map<string, Known>): void {
    const oldest = ids.keys().next();
    if (!oldest.done && ids.delete(oldest.value)) this.#count--;
  }

  #fullest(): Map<string, Known> {
    let fullest = new Map<string, Known>();
    for (const ids of this.#windows.values()) if (ids.size > fullest.size) fullest = ids;
    return fullest;
  }

  #forgetWindow(): void {
    const [key, ids] = this.#windows.entries().next().value!;
    this.#windows.delete(key);
    this.#count -= ids.size;
  }
}

/** Whoever issues web tokens chooses their names: what one publishes must not pass for known because of another's. */
function publisherOf({ by, node }: NewBatch): string {
  return `${by} ${node}`;
}

function keyOf(publisher: string, topic: string): string {
  return `${topic} ${publisher}`;
}

function shortened(id: string): string {
  return id.length <= ID_CHARACTERS_MAX ? id : createHash('sha256').update(id).digest('base64').slice(0, 24);
}
