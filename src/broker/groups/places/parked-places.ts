/**
 * The places of one group's cursors, written down ("parked") as positions of nodes before the log forgets what their
 * offsets mean: those that are committed, while the log still has them, and those that are about to be committed when it
 * may not have them any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asBackplaneError } from '../../../errors.js';
import { OneAtATime } from '../../../flow/one-at-a-time.js';
import { GROUP_COMMIT_LINGER_MS, GROUP_PLACES_KEPT_MAX, PARTITIONS } from '../../../limits.js';
import type { ParkedCursor } from '../group-record.js';
import type { GroupStore } from '../group-store.js';
import type { FreshCommit } from '../slice-commits.js';
import { mayFade, noteOfPlaces, type PlaceContext, parkedNodes, rebound, type SliceOfGroup } from './slice-place.js';

const RETRY_MS = 10_000;
const NOTHING = () => undefined;

export interface ParkedPlacesParts {
  readonly name: string;
  readonly store: GroupStore;
  readonly context: PlaceContext;
  readonly slice: (slice: number) => SliceOfGroup;
  /** Whether another broker has the slice's member, and writes down its places. */
  readonly isOthers: (slice: number) => boolean;
}

export class ParkedPlaces {
  /** Committed cursors that are parked, or cannot be, by slice. */
  readonly #done = new Map<number, string>();
  /** Cursors whose commit is under way, by slice: their places are kept until it is over. */
  readonly #underWay = new Map<number, string[]>();
  /** Places that are written together, by slice. */
  #waiting = new Map<number, ParkedCursor[]>();
  #written: Promise<void> | undefined;
  readonly #writes = new OneAtATime();
  /** When some could not be written down, milliseconds since 1970. */
  #failedMs = 0;
  /** By partition, the offset before which the log was about to forget when that was looked at last. */
  #fading: readonly number[] = [];
  readonly #parts: ParkedPlacesParts;

  constructor(parts: ParkedPlacesParts) {
    this.#parts = parts;
  }

  /**
   * Writes down the committed places that the log may forget, each once. Rejects where some could not be read or written,
   * after all the others are: they come again with the next call.
   * @param fading by partition, the offset before which the log may soon forget
   */
  async park(fading: readonly number[] | 'all'): Promise<void> {
    const { name, store, context } = this.#parts;
    if (fading !== 'all') this.#fading = fading;
    const done = new Map<number, string>();
    const due = new Map<number, ParkedCursor>();
    const failures: unknown[] = [];
    for (const [slice, { cursor }] of this.#committed.entries()) {
      if (this.#done.get(slice) === cursor || !mayFade(cursor, slice, fading)) continue;
      if (this.#parts.isOthers(slice)) continue;
      try {
        const isParked = store.parked(name, slice).some((place) => place.cursor === cursor);
        const nodes = isParked ? undefined : await parkedNodes(context, this.#parts.slice(slice), cursor);
        if (nodes !== undefined) due.set(slice, { cursor, nodes });
      } catch (cause) {
        // Nobody can ever read such a place. Any other may be there again: the log forgets what it means if it is let go.
        if (asBackplaneError(cause).code !== 'cursor_invalid') {
          failures.push(cause);
          continue;
        }
      }
      done.set(slice, cursor);
    }
    await this.#write(due);
    for (const [slice, cursor] of done) this.#done.set(slice, cursor);
    if (failures.length === 0) return;
    this.#failedMs = Date.now();
    throw failures[0];
  }

  /**
   * Call it before cursors are committed. Resolves once those are parked whose place the log has forgotten or may soon
   * forget: afterwards nobody could say any more where they stand. Call the returned function when the commit is over.
   */
  async ahead(fresh: readonly FreshCommit[]): Promise<() => void> {
    const fading = this.#parts.context.store.all().map(({ firstOffset }, at) => {
      return Math.max(firstOffset, this.#fading[at] ?? 0);
    });
    const due = new Map<number, ParkedCursor>();
    for (const { lease, committed } of fresh) {
      const { slice } = lease;
      const { cursor } = committed;
      const places = mayFade(cursor, slice, fading) ? lease.placeOf(committed) : undefined;
      const nodes = places && noteOfPlaces(places);
      if (nodes !== undefined) due.set(slice, { cursor, nodes });
    }
    if (due.size === 0) return NOTHING;
    for (const [slice, { cursor }] of due) this.#underWay.set(slice, [...(this.#underWay.get(slice) ?? []), cursor]);
    const over = () => {
      for (const [slice, { cursor }] of due) {
        const left = (this.#underWay.get(slice) ?? []).filter((each) => each !== cursor);
        if (left.length > 0) this.#underWay.set(slice, left);
        else this.#underWay.delete(slice);
        this.#done.set(slice, cursor);
      }
    };
    try {
      await this.#write(due);
    } catch (cause) {
      over();
      throw cause;
    }
    return over;
  }

  /** Whether a committed place lies before an offset of a partition and is not written down yet. */
  isOpenBefore(partition: number, before: number): boolean {
    // The log does not wait for a disk that takes nothing.
    if (Date.now() - this.#failedMs < RETRY_MS) return false;
    const fading = Array.from({ length: PARTITIONS }, (_, at) => (at === partition ? before : 0));
    return this.#committed.some(({ cursor }, slice) => {
      return this.#done.get(slice) !== cursor && mayFade(cursor, slice, fading);
    });
  }

  /** The nodes of a committed cursor's place, as they were written down; undefined where they were not. */
  of(slice: number, cursor: string): string | undefined {
    const { name, store } = this.#parts;
    return store.parked(name, slice).find((place) => this.#isOf(slice, place, cursor))?.nodes;
  }

  get #committed() {
    return this.#parts.store.get(this.#parts.name)?.slices ?? [];
  }

  /** It may have been written down for a filter before: see rebound(). */
  #isOf(slice: number, place: ParkedCursor, cursor: string): boolean {
    return place.cursor === cursor || rebound(place.cursor, this.#parts.slice(slice).predicate) === cursor;
  }

  /** Those that are asked for within a few milliseconds are written together. */
  #write(places: ReadonlyMap<number, ParkedCursor>): Promise<void> {
    if (places.size === 0) return Promise.resolve();
    for (const [slice, place] of places) this.#waiting.set(slice, [...(this.#waiting.get(slice) ?? []), place]);
    this.#written ??= this.#writes.run(async () => {
      await sleep(GROUP_COMMIT_LINGER_MS);
      const waiting = this.#waiting;
      this.#waiting = new Map();
      this.#written = undefined;
      await this.#store(waiting);
    });
    return this.#written;
  }

  /** Beside what is new the places are kept that may be needed until then: of what is committed, and of what may be. */
  async #store(waiting: ReadonlyMap<number, readonly ParkedCursor[]>): Promise<void> {
    const { name, store } = this.#parts;
    const committed = this.#committed;
    const changes = Array.from(waiting, ([slice, fresh]) => {
      const cursor = committed[slice]?.cursor ?? '';
      const change = (parked: readonly ParkedCursor[], tries: number): ParkedCursor[] => {
        const known = parked.filter((place) => fresh.every((each) => each.cursor !== place.cursor));
        const inForce = known.filter((place) => this.#isOf(slice, place, cursor));
        const underWay = known.filter((place) => this.#underWay.get(slice)?.includes(place.cursor));
        // Another broker wrote at the same time: what it wrote may be needed there.
        const others = [...inForce, ...fresh.slice(0, -1).reverse(), ...underWay, ...(tries > 1 ? known : [])];
        return [fresh.at(-1)!, ...new Set(others)].slice(0, 1 + GROUP_PLACES_KEPT_MAX);
      };
      return [slice, change] as const;
    });
    try {
      await store.park(name, new Map(changes));
    } catch (cause) {
      this.#failedMs = Date.now();
      throw cause;
    }
  }
}
