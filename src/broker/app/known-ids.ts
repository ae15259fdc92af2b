/**
 * Ids of published events that are remembered, so that an event that comes again is recognised: of each identity and topic
 * the newest, for some time. At a start they are read from the log again.
 */
import { createHash } from 'node:crypto';
import { KNOWN_IDS_TOTAL_MAX, KNOWN_IDS_WINDOWS_MAX } from '../../limits.js';

export interface IdWindow {
  readonly ageMsMax: number;
  readonly countMax: number;
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

function keyOf(publisher: string, topic: string): string {
  return `${topic} ${publisher}`;
}

function shortened(id: string): string {
  return id.length <= ID_CHARACTERS_MAX ? id : createHash('sha256').update(id).digest('base64').slice(0, 24);
}
