/**
 * One group in this broker: its members, and which of them have which slices. What changes is in the shared state before
 * anybody is told.
 */
import type { Logger } from 'pino';
import { asBackplaneError, BackplaneError, invalid } from '../../errors.js';
import { GROUP_MEMBERS_MAX, RETRY_AFTER_MS } from '../../limits.js';
import type { GroupRequest } from '../../subscriptions/request/group-request.js';
import { type Holder, planMoves } from './assignment.js';
import type { GroupLag } from './group-lag.js';
import type { GroupRecord } from './group-record.js';
import type { GroupStore } from './group-store.js';
import { Member } from './member.js';
import type { MemberStream } from './member-stream.js';
import { offsetOf } from './places/slice-place.js';
import { type Committed, SliceLease } from './slice-lease.js';
import { Slots } from './slots.js';

/** How long a broker waits before it tries again to write what it could not. */
const RETRY_MS = 1_000;

export interface GroupTimes {
  /** A member without connection, or one that does not answer, keeps its slices for this long. */
  readonly memberMs: number;
  /** Events may stay uncommitted for this long. */
  readonly commitMs: number;
  /** What a member gives up can be committed for this long. */
  readonly revokeMs: number;
}

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

export interface GroupParts {
  readonly store: GroupStore;
  readonly times: GroupTimes;
  readonly lag: GroupLag;
  /**
   * Called with cursors that are about to be committed: resolves once their places are as durable as they must be, with
   * what to call when the commit is over.
   */
  readonly parkAhead: (fresh: readonly FreshCommit[]) => Promise<() => void>;
  /** Delivers a slice's events to the stream until the slice is stopped there. */
  readonly deliver: (stream: MemberStream, lease: SliceLease, record: GroupRecord) => void;
  /** Called when the last member has left, and when a first one is there. */
  readonly onAttended: (attended: boolean) => void;
  readonly logger: Logger;
}

export class Group {
  readonly #slots: Slots;
  /** In the order in which they joined. */
  readonly #members = new Map<string, Member>();
  #working = false;
  #again = false;
  #closed = false;
  /** For how many reasons no slices are given. */
  #pauses = 0;
  #retry: NodeJS.Timeout | undefined;
  #gatherMs: number;

  /** @param gatherMs how long members are waited for before the first slices are given out */
  constructor(
    readonly name: string,
    count: number,
    readonly parts: GroupParts,
    gatherMs = 0,
  ) {
    this.#slots = new Slots(count);
    this.#gatherMs = gatherMs;
  }

  get slots(): Slots {
    return this.#slots;
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  /**
   * Throws already_exists when another member has the name, resource_exhausted when there are too many members. The
   * member gets slices later, by its stream.
   */
  join({ member: name }: GroupRequest, stream: MemberStream): Member {
    const known = name === '' ? undefined : this.#members.get(name);
    if (known?.isPresent === true) {
      const message = `member ${name} of group ${this.name} is connected: two cannot have one name`;
      throw new BackplaneError('already_exists', message, { field: 'member' });
    }
    if (known !== undefined) {
      known.returned(stream);
      for (const slice of this.#slots.of(known)) {
        if (this.#slots.isRevoking(slice)) this.#slots.release(slice);
        else this.#slots.reserve(slice);
      }
      this.rebalance();
      return known;
    }
    if (this.#members.size >= GROUP_MEMBERS_MAX) {
      const message = `a group has at most ${GROUP_MEMBERS_MAX} members`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const member = new Member(name, stream);
    this.#members.set(member.id, member);
    if (this.#members.size === 1) this.parts.onAttended(true);
    const gatherMs = this.#gatherMs;
    this.#gatherMs = 0;
    if (gatherMs > 0) this.#gather(gatherMs);
    else this.rebalance();
    return member;
  }

  /** A stream has ended. With `returns` a named member keeps its slices for a while. */
  leave(member: Member, stream: MemberStream, returns: boolean): void {
    if (member.stream !== stream) return;
    for (const slice of this.#slots.of(member)) stream.stop(slice);
    if (returns && member.name !== '' && !this.#closed) {
      member.wentAway(this.parts.times.memberMs, () => this.#drop(member));
      return;
    }
    this.#drop(member);
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
      if (slots.lease(lease.slice) === lease) this.#isFastAgain(slots.owner(lease.slice));
    }
  }

  /** Commits for members that have committed all that they were given, where they stand: so no place grows old. */
  async advance(places: readonly { readonly lease: SliceLease; readonly cursor: string }[]): Promise<void> {
    const settled = places.filter(({ lease, cursor }) => cursor !== '' && lease.isSettled);
    const own = settled.map(({ lease, cursor }) => ({ lease, field: 'slice', committed: lease.ownCommit(cursor) }));
    if (own.length > 0) await this.#write(own);
  }

  /** Takes slices from members that let events uncommitted for too long, as far as others can take them. */
  checkCommits(nowMs: number): void {
    for (const { slice, owner, lease } of this.#slots.held) {
      if (this.#slots.isRevoking(slice) || !lease.isOverdue(nowMs)) continue;
      const isAnother = this.members.some((other) => other !== owner && other.isPresent && !other.isSlow);
      if (!isAnother) continue;
      owner.isSlow = true;
      this.#revoke(slice);
    }
    this.rebalance();
  }

  /** Ends all streams with an error: members that come back find the group as it is then. */
  endStreams(cause: BackplaneError): void {
    for (const { stream } of this.members) stream?.fail(cause);
  }

  /** No slices are given until each pause() has its resume(). */
  pause(): void {
    this.#pauses++;
  }

  resume(): void {
    this.#pauses--;
    this.rebalance();
  }

  /** No more slices are given or taken. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    for (const member of this.members) member.close();
  }

  /** Gives slices that nobody has to members, and takes some where members have more than their share. */
  rebalance(): void {
    this.#again = true;
    if (!this.#working) void this.#work();
  }

  /** Those who come meanwhile get their share at once, instead of what others must give up again. */
  #gather(ms: number): void {
    this.pause();
    setTimeout(() => this.resume(), ms).unref();
  }

  async #work(): Promise<void> {
    this.#working = true;
    try {
      while (this.#again && !this.#closed && this.#pauses === 0) {
        this.#again = false;
        const gives = this.#plan();
        if (gives.size > 0) await this.#give(gives);
      }
    } catch (cause) {
      this.parts.logger.error({ cause: asBackplaneError(cause).message }, `group ${this.name} gives out no slices`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.rebalance(), RETRY_MS).unref();
    } finally {
      this.#working = false;
    }
  }

  /** Begins to take what must be taken, and returns what can be given now. */
  #plan(): ReadonlyMap<number, Member> {
    const slots = this.#slots;
    const present = this.members.filter(({ isPresent }) => isPresent);
    const isAnyFast = present.some(({ isSlow }) => !isSlow);
    const holders = this.members.map((member): Holder => {
      const slices = slots.of(member).filter((slice) => !slots.isRevoking(slice));
      return { id: member.id, slices, takes: member.isPresent && !(isAnyFast && member.isSlow) };
    });
    const { gives, revokes } = planMoves(slots.count, holders, slots.busy);
    for (const slice of revokes) this.#revoke(slice);
    const given = new Map(slots.reserved.filter(([, owner]) => owner.isPresent));
    for (const [slice, id] of gives) given.set(slice, this.#members.get(id)!);
    return given;
  }

  /** Each in a new epoch, which is durable before the member is told. */
  async #give(gives: ReadonlyMap<number, Member>): Promise<void> {
    const { store, times, deliver } = this.parts;
    const record = await store.update(this.name, (before) => ({
      ...before,
      aloneSinceMs: undefined,
      slices: before.slices.map((each, slice) => (gives.has(slice) ? { ...each, epoch: each.epoch + 1 } : each)),
    }));
    // The record may be another by now, and not what is delivered here: see pause().
    if (this.#pauses > 0) return;
    for (const [slice, member] of gives) {
      const { stream } = member;
      const isFree = this.#slots.owner(slice) === undefined || this.#slots.owner(slice) === member;
      if (this.#members.get(member.id) !== member || stream === undefined || stream.isOver || !isFree) {
        this.#again = true;
        continue;
      }
      const { epoch, cursor } = record.slices[slice]!;
      const lease = new SliceLease(slice, epoch, cursor, times.commitMs, this.#slots.count);
      this.#slots.give(slice, member, lease);
      deliver(stream, lease, record);
    }
  }

  #revoke(slice: number): void {
    const slots = this.#slots;
    const lease = slots.lease(slice);
    const owner = slots.owner(slice);
    if (lease === undefined || owner === undefined) {
      slots.release(slice);
      return;
    }
    // Nothing more is given from here on, so that what can be committed does not grow.
    owner.stream?.stop(slice);
    const { revokeMs } = this.parts.times;
    owner.stream?.tell({ group: { revoking: { slice, epoch: lease.epoch, commitWithinMs: revokeMs } } });
    if (lease.isSettled) this.#release(slice);
    else slots.revoke(slice, setTimeout(() => this.#release(slice), revokeMs).unref());
  }

  #release(slice: number): void {
    this.#slots.release(slice);
    this.rebalance();
  }

  #drop(member: Member): void {
    if (this.#members.get(member.id) !== member) return;
    member.close();
    for (const slice of this.#slots.of(member)) this.#slots.release(slice);
    this.#members.delete(member.id);
    if (this.#members.size > 0) this.rebalance();
    else if (!this.#closed) this.parts.onAttended(false);
  }

  async #write(fresh: readonly FreshCommit[]): Promise<void> {
    const over = await this.parts.parkAhead(fresh);
    try {
      await this.#update(fresh);
    } catch (cause) {
      for (const { lease } of fresh) lease.unstage();
      throw cause;
    } finally {
      over();
    }
    for (const { lease, committed } of fresh) this.#committed(lease, committed);
  }

  async #update(fresh: readonly FreshCommit[]): Promise<void> {
    const committedMs = Date.now();
    await this.parts.store.update(this.name, (before) => {
      const slices = [...before.slices];
      // Before any of them is staged, so that another commit is not taken for one that is written with this.
      for (const { lease, field } of fresh) {
        const { slice, epoch } = lease;
        if (slices[slice]?.epoch !== epoch) throw fenced(field, slice, epoch);
      }
      for (const { lease, committed } of fresh) {
        const { slice, epoch } = lease;
        // Another commit, of something later, may be written with this one.
        if (lease.stages(committed)) slices[slice] = { epoch, cursor: committed.cursor, committedMs };
      }
      return { ...before, slices };
    });
  }

  #committed(lease: SliceLease, committed: Committed): void {
    const { slice } = lease;
    const offset = lease.advances(committed) ? offsetOf(committed.cursor, slice) : undefined;
    lease.committed(committed);
    if (offset !== undefined) this.parts.lag.committed(slice, offset);
    if (this.#slots.lease(slice) === lease && this.#slots.isRevoking(slice) && lease.isSettled) this.#release(slice);
  }

  /** Who commits what others have by now is slow no more. */
  #committedLate(slice: number, epoch: number): void {
    const before = this.#slots.before(slice);
    if (before?.epoch === epoch) this.#isFastAgain(before.owner);
  }

  #isFastAgain(member: Member | undefined): void {
    if (member?.isSlow !== true) return;
    member.isSlow = false;
    this.rebalance();
  }
}

function fenced(field: string, slice: number, epoch: number): BackplaneError {
  const message = `${field}: slice ${slice} is no longer this member's in epoch ${epoch}: what it had is given to another, or again`;
  return new BackplaneError('fenced', message, { field });
}
