/**
 * Commits of the slices that members of this broker have. Each is in the shared state, in its slice's epoch, before it is
 * acknowledged.
 */
import { BackplaneError, invalid } from '../../errors.js';
import type { GroupStore } from './group-store.js';
import type { Member } from './member.js';
import type { Committed, SliceLease } from './slice-lease.js';
import type { Slots } from './slots.js';

export interface SliceCommit {
  readonly slice: number;
  readonly epoch: number;
  readonly cursor: string;
}

export interface FreshCommit {
  readonly lease: SliceLease;
  /** Its name in errors. */
  readonly field: string;
  readonly committed: Committed;
}

export interface SliceCommitsParts {
  readonly store: GroupStore;
  /**
   * Called with cursors that are about to be committed: resolves once their places are as durable as they must be, with
   * what to call when the commit is over.
   */
  readonly parkAhead: (fresh: readonly FreshCommit[]) => Promise<() => void>;
}

export interface SliceCommitsListener {
  /** All that a slice's member was given is committed. */
  settled(slice: number): void;
  /** A member commits, in time or too late. */
  committed(member: Member | undefined): void;
}

export class SliceCommits {
  readonly #name: string;
  readonly #slots: Slots;
  readonly #parts: SliceCommitsParts;
  readonly #listener: SliceCommitsListener;

  /** @param name of the group */
  constructor(name: string, slots: Slots, parts: SliceCommitsParts, listener: SliceCommitsListener) {
    this.#name = name;
    this.#slots = slots;
    this.#parts = parts;
    this.#listener = listener;
  }

  /**
   * Resolves when the commits are durable, all of them or none. Rejects with fenced for a slice that has another epoch by
   * now, invalid_argument for a cursor that the epoch was not given.
   */
  async commit(commits: readonly SliceCommit[]): Promise<void> {
    const slots = this.#slots;
    const read = commits.map(({ slice, epoch, cursor }, index) => {
      const field = `slices[${index}]`;
      if (slice >= slots.count) throw invalid(`${field}.slice`, `must be below ${slots.count}, got ${slice}`);
      const lease = slots.lease(slice);
      if (lease?.epoch !== epoch) {
        this.#committedLate(slice, epoch);
        throw fenced(field, slice, epoch);
      }
      return { lease, field, committed: lease.read(`${field}.cursor`, cursor) };
    });
    const fresh = read.filter(({ lease, committed }) => lease.advances(committed));
    if (fresh.length > 0) await this.#write(fresh);
    for (const { lease } of read) {
      if (slots.lease(lease.slice) === lease) this.#listener.committed(slots.owner(lease.slice));
    }
  }

  /** Commits for members that have committed all that they were given, where they stand: so no place grows old. */
  async advance(places: readonly { readonly lease: SliceLease; readonly cursor: string }[]): Promise<void> {
    const settled = places.filter(({ lease, cursor }) => cursor !== '' && lease.isSettled && !lease.isHeldBack);
    const own = settled.map(({ lease, cursor }) => ({ lease, field: 'slice', committed: lease.ownCommit(cursor) }));
    if (own.length > 0) await this.#write(own);
  }

  async #write(fresh: readonly FreshCommit[]): Promise<void> {
    const over = await this.#parts.parkAhead(fresh);
    try {
      await this.#update(fresh);
    } finally {
      over();
    }
    for (const { lease, committed } of fresh) {
      lease.committed(committed);
      if (this.#slots.lease(lease.slice) === lease && lease.isSettled) this.#listener.settled(lease.slice);
    }
  }

  async #update(fresh: readonly FreshCommit[]): Promise<void> {
    const committedMs = Date.now();
    await this.#parts.store.update(this.#name, (before) => {
      const slices = [...before.slices];
      for (const { lease, field, committed } of fresh) {
        const { slice, epoch } = lease;
        const known = slices[slice];
        if (known?.epoch !== epoch) throw fenced(field, slice, epoch);
        const { ordinal, cursor } = committed;
        // Something later may be written with this one, or have been written when nobody could confirm it.
        if (ordinal > (known.ordinal ?? 0)) slices[slice] = { ...known, cursor, committedMs, ordinal };
      }
      return slices.every((each, slice) => each === before.slices[slice]) ? before : { ...before, slices };
    });
  }

  /** Who commits what others have by now is slow no more. */
  #committedLate(slice: number, epoch: number): void {
    const before = this.#slots.before(slice);
    if (before?.epoch === epoch) this.#listener.committed(before.owner);
  }
}

function fenced(field: string, slice: number, epoch: number): BackplaneError {
  const message = `${field}: slice ${slice} is no longer this member's in epoch ${epoch}: what it had is given to another, or again`;
  return new BackplaneError('fenced', message, { field });
}
