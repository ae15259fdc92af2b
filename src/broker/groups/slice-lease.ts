/**
 * One epoch of one slice, as one member has it: which cursors it was given, and up to which of them it has committed.
 * A cursor is marked with its ordinal and a keyed checksum, so that nothing has to be remembered of the cursors that
 * were given, however many are not committed.
 *
 *   MarkedCursor := cursor "~" ordinal base36 "~" base64url(hmac-sha256, 9 bytes)
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type BackplaneError, invalid } from '../../errors.js';
import { CURSOR_BYTES_MAX, GROUP_CURSOR_MARK_CHARACTERS_MAX } from '../../limits.js';
import { shown } from '../../text/shown.js';
import type { CursorNode } from '../../wire/cursor.js';
import { GivenPlaces } from './places/given-places.js';

const MARK_BYTES = 9;
const MARKED = /^([A-Za-z0-9_-]+)~([0-9a-z]{1,11})~([A-Za-z0-9_-]{12})$/;
/** The time since when events are uncommitted is known to this part of the time that is allowed. */
const STRETCHES = 16;

/** What a commit states of a slice. */
export interface Committed {
  readonly ordinal: number;
  /** Without its mark. */
  readonly cursor: string;
}

/** Events that were given within a short time. */
interface Stretch {
  /** Ordinal of the last of them. */
  to: number;
  readonly fromMs: number;
  toMs: number;
}

export class SliceLease {
  readonly #key = randomBytes(16);
  #ordinal = 0;
  /** Ordinal of the last cursor with which events, or a gap, were given. */
  #given = 0;
  #committed = 0;
  /** Deliveries that were not given yet, or never will be. */
  #heldBack = 0;
  readonly #stretches: Stretch[] = [];
  readonly #places: GivenPlaces;
  #takeMoved: () => readonly CursorNode[] | undefined = () => undefined;

  constructor(
    readonly slice: number,
    readonly epoch: number,
    /** Committed before this epoch, without a mark; empty when nothing was. */
    readonly start: string,
    /** After this long without a commit the slice may go to another member. */
    readonly timeoutMs: number,
    /** Slices of the group. */
    slices: number,
  ) {
    this.#places = new GivenPlaces(slices);
  }

  /** @param takeMoved nodes that moved since it was called last, by positions: see SubscriptionPosition */
  follow(takeMoved: () => readonly CursorNode[] | undefined): void {
    this.#takeMoved = takeMoved;
  }

  /** Whether all events that were given are committed. */
  get isSettled(): boolean {
    return this.#committed >= this.#given;
  }

  /** Whether something was not given that is before the cursors that the delivery makes now. */
  get isHeldBack(): boolean {
    return this.#heldBack > 0;
  }

  /** Something is to be given. Call the returned function when it is; never, if it is dropped. */
  holdBack(): () => void {
    this.#heldBack++;
    return () => {
      this.#heldBack--;
    };
  }

  /** The start, as the member can commit it. */
  get markedStart(): string {
    return this.start === '' ? '' : this.#marked(this.start, 0);
  }

  /** Notes events that the member is given, and marks the cursor that comes with them, which may be empty. */
  give(cursor: string, nowMs: number): string {
    const marked = this.#markOf(cursor, true);
    this.#given = this.#ordinal;
    const last = this.#stretches.at(-1);
    if (last !== undefined && nowMs - last.fromMs < this.timeoutMs / STRETCHES) {
      last.to = this.#given;
      last.toMs = nowMs;
    } else this.#stretches.push({ to: this.#given, fromMs: nowMs, toMs: nowMs });
    // Older than that is too old in any case.
    if (this.#stretches.length > 2 * STRETCHES) this.#stretches.splice(1, 1);
    return marked;
  }

  /** Notes a gap that the member is told: it must not be forgotten before a cursor behind it is committed. */
  giveGap(): void {
    this.#given = ++this.#ordinal;
  }

  /** Marks a cursor that comes with no event. */
  mark(cursor: string): string {
    return this.#markOf(cursor, false);
  }

  #markOf(cursor: string, isOpen: boolean): string {
    this.#ordinal++;
    if (cursor === '') return '';
    this.#places.given(this.#ordinal, this.#takeMoved(), isOpen);
    return this.#marked(cursor, this.#ordinal);
  }

  /** Throws invalid_argument for a cursor that this epoch was not given. `field` names it. */
  read(field: string, text: string): Committed {
    if (text.length > CURSOR_BYTES_MAX + GROUP_CURSOR_MARK_CHARACTERS_MAX) throw this.#ahead(field, text);
    const [, cursor = '', digits = '', mark = ''] = MARKED.exec(text) ?? [];
    const ordinal = Number.parseInt(digits, 36);
    if (cursor === '' || !Number.isSafeInteger(ordinal)) throw this.#ahead(field, text);
    if (!timingSafeEqual(Buffer.from(this.#mac(cursor, ordinal)), Buffer.from(mark))) throw this.#ahead(field, text);
    return { ordinal, cursor };
  }

  /** Whether a commit goes on from what is committed. One that does not changes nothing. */
  advances({ ordinal }: Pick<Committed, 'ordinal'>): boolean {
    return ordinal > this.#committed;
  }

  /** A commit of the broker's own, of the place where nothing is open: see isSettled. */
  ownCommit(cursor: string): Committed {
    this.#places.given(++this.#ordinal, this.#takeMoved(), false);
    return { ordinal: this.#ordinal, cursor };
  }

  /** The place of each node at what is to be committed; undefined where the cursor says it without the log. */
  placeOf({ ordinal }: Committed): readonly CursorNode[] | undefined {
    return this.#places.at(ordinal);
  }

  /** The commit is durable. */
  committed({ ordinal }: Committed): void {
    this.#committed = Math.max(this.#committed, ordinal);
    this.#places.committed(this.#committed);
    while (this.#stretches.length > 0 && this.#stretches[0]!.to <= this.#committed) this.#stretches.shift();
  }

  /** When the oldest events were given that are not committed, milliseconds since 1970, at the latest. */
  get uncommittedSinceMs(): number | undefined {
    return this.#stretches[0]?.toMs;
  }

  isOverdue(nowMs: number): boolean {
    const sinceMs = this.uncommittedSinceMs;
    return sinceMs !== undefined && nowMs - sinceMs >= this.timeoutMs;
  }

  #ahead(field: string, text: string): BackplaneError {
    const problem = `must be one that slice ${this.slice} was given in epoch ${this.epoch}, got ${shown(text)}`;
    return invalid(field, problem);
  }

  #marked(cursor: string, ordinal: number): string {
    return `${cursor}~${ordinal.toString(36)}~${this.#mac(cursor, ordinal)}`;
  }

  #mac(cursor: string, ordinal: number): string {
    const hmac = createHmac('sha256', this.#key).update(`${ordinal}~${cursor}`);
    return hmac.digest().subarray(0, MARK_BYTES).toString('base64url');
  }
}
