/**
 * One group in this broker: its members here, and which of them have which slices. What changes is in the shared state
 * before anybody is told. Members of other brokers take part by what these say of them and by what the state has.
 */
import type { Logger } from 'pino';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { GROUP_MEMBERS_MAX, RETRY_AFTER_MS } from '../../limits.js';
import type { GroupRequest } from '../../subscriptions/request/group-request.js';
import type { GroupRecord, SliceRecord } from './group-record.js';
import { Member } from './member.js';
import type { MemberStream } from './member-stream.js';
import { type GroupPresence, type RemoteMember, withoutReplaced } from './presence/group-presence.js';
import { isOtherwiseHeld, type Plan, planFor, type SliceWrites, wasBefore } from './presence/plan.js';
import { SliceEpochs } from './presence/slice-epochs.js';
import { type SliceCommit, SliceCommits, type SliceCommitsParts } from './slice-commits.js';
import { SliceLease } from './slice-lease.js';
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

export interface GroupParts extends SliceCommitsParts {
  readonly presence: GroupPresence;
  readonly times: GroupTimes;
  /** Delivers a slice's events to the stream until the slice is stopped there. */
  readonly deliver: (stream: MemberStream, lease: SliceLease, record: GroupRecord) => void;
  /**
   * Called when the last member of all brokers has left, and when a first one is there; `isOwn`: it is, or was, this
   * broker's.
   */
  readonly onAttended: (attended: boolean, isOwn: boolean) => void;
  readonly logger: Logger;
}

export class Group {
  readonly #slots: Slots;
  /** Of this broker, in the order in which they joined. */
  readonly #members = new Map<string, Member>();
  /** Of the others. */
  #others: readonly RemoteMember[] = [];
  readonly #commits: SliceCommits;
  readonly #epochs: SliceEpochs;
  /** The slices of the record that was looked at last. */
  #known: readonly SliceRecord[] | undefined;
  /** Other brokers do not know all of this one's members. */
  #untold = false;
  #isAttended = false;
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
    this.#epochs = new SliceEpochs(count);
    this.#gatherMs = gatherMs;
    this.#commits = new SliceCommits(name, this.#slots, parts, {
      settled: (slice) => {
        if (this.#slots.isRevoking(slice)) this.#release(slice);
      },
      committed: (member) => this.#isFastAgain(member),
    });
    this.#readOthers();
    this.#isAttended = this.#others.length > 0;
  }

  get slots(): Slots {
    return this.#slots;
  }

  /** Of this broker. */
  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  /** Of the other brokers. */
  get others(): readonly RemoteMember[] {
    return this.#others;
  }

  /** Whether a member of another broker has the slice. */
  isOthers(slice: number): boolean {
    const holder = this.#slices[slice]?.holder;
    return this.#others.some(({ broker, id }) => broker === holder?.broker && id === holder.member);
  }

  /** The latest epoch of any slice. */
  get epochMax(): number {
    return this.#epochs.max;
  }

  /** Members of all brokers. */
  get size(): number {
    return this.#members.size + this.#others.length;
  }

  /**
   * Throws already_exists when another member of this broker has the name, resource_exhausted when there are too many
   * members. The member gets slices later, by its stream. A member of that name at another broker is there no more.
   */
  join({ member: name, had }: GroupRequest, stream: MemberStream): Member {
    const known = name === '' ? undefined : this.#members.get(name);
    if (known?.isPresent === true) {
      const message = `member ${name} of group ${this.name} is connected: two cannot have one name`;
      throw new BackplaneError('already_exists', message, { field: 'member' });
    }
    this.#epochs.had(had, this.#slices);
    if (known !== undefined) {
      known.returned(stream);
      for (const slice of this.#slots.of(known)) {
        if (this.#slots.isRevoking(slice)) this.#slots.release(slice);
        else this.#slots.reserve(slice);
      }
      this.#membersChanged();
      return known;
    }
    if (this.size >= GROUP_MEMBERS_MAX) {
      const message = `a group has at most ${GROUP_MEMBERS_MAX} members`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const orders = [...this.#members.values(), ...this.#others].map(({ order }) => order);
    const member = new Member(name, stream, Math.min(Number.MAX_SAFE_INTEGER, 1 + Math.max(0, ...orders)));
    member.replaces(wasBefore(name, had, this.#slices, this.parts.presence.broker));
    this.#members.set(member.id, member);
    const gatherMs = this.#gatherMs;
    this.#gatherMs = 0;
    if (gatherMs > 0) this.#gather(gatherMs);
    this.#membersChanged();
    return member;
  }

  /** A stream has ended. With `returns` a named member keeps its slices for a while. */
  leave(member: Member, stream: MemberStream, returns: boolean): void {
    if (member.stream !== stream) return;
    for (const slice of this.#slots.of(member)) stream.stop(slice);
    if (returns && member.name !== '' && !this.#closed) {
      member.wentAway(this.parts.times.memberMs, () => this.#drop(member));
      if (this.#others.length > 0) this.#membersChanged();
      else this.#untold = true;
      return;
    }
    this.#drop(member);
  }

  /**
   * The other broker that gave these slices, as far as they are in these epochs still: it says which of them are not.
   * Undefined where it is none, or several. Whether it is alive, and which members it has, may not have been read yet.
   */
  brokerOf(commits: readonly SliceCommit[]): string | undefined {
    const slices = this.#slices;
    const brokers = commits.flatMap(({ slice, epoch }) => {
      const { epoch: latest, holder } = slices[slice] ?? {};
      return latest === epoch && holder !== undefined ? [holder.broker] : [];
    });
    const [broker] = brokers;
    const isOne = brokers.every((each) => each === broker);
    return isOne && broker !== this.parts.presence.broker ? broker : undefined;
  }

  /** Whether any of it is of an epoch that this broker has not read of yet. */
  isAhead(commits: readonly SliceCommit[]): boolean {
    return this.#epochs.isAhead(commits, this.#slices);
  }

  /** See SliceCommits. */
  commit(commits: readonly SliceCommit[]): Promise<void> {
    return this.#commits.commit(commits);
  }

  /** Commits for members that have committed all that they were given, where they stand: so no place grows old. */
  advance(places: readonly { readonly lease: SliceLease; readonly cursor: string }[]): Promise<void> {
    return this.#commits.advance(places);
  }

  /** The state has another record of the group, written by whichever broker. */
  changed({ slices }: GroupRecord): void {
    this.#epochs.read(slices);
    const known = this.#known;
    this.#known = slices;
    for (const { slice, owner, lease } of this.#slots.held) {
      // Taking one from its member may give up others in the same step.
      if (slices[slice]?.epoch === lease.epoch || this.#slots.lease(slice) !== lease) continue;
      // While the group is being changed its streams are about to end; others may have the slice already.
      if (this.#pauses > 0) owner.stream?.stop(slice);
      else this.#lose(slice);
    }
    if (this.#pauses > 0) return;
    if (known === undefined || slices.some((each, slice) => isOtherwiseHeld(each, known[slice]))) {
      if (this.#members.size > 0 || this.#fallen.size > 0) this.rebalance();
    }
  }

  /** Members of other brokers have come, gone, or say something else of themselves. */
  othersChanged(): void {
    this.#readOthers();
    this.#reviewAttended(false);
    this.rebalance();
  }

  /** Takes slices from members that let events uncommitted for too long, as far as others can take them. */
  checkCommits(nowMs: number): void {
    for (const { slice, owner, lease } of this.#slots.held) {
      if (this.#slots.isRevoking(slice) || !lease.isOverdue(nowMs)) continue;
      const isAnother =
        this.members.some((other) => other !== owner && other.isPresent && !other.isSlow) ||
        this.#others.some(({ away, slow }) => !away && !slow);
      if (!isAnother) continue;
      owner.isSlow = true;
      this.#untold = true;
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
    const record = this.#pauses === 0 ? this.parts.store.get(this.name) : undefined;
    if (record !== undefined) this.changed(record);
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
        await this.#step();
      }
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      // It was deleted meanwhile.
      if (code !== 'not_found') this.parts.logger.error({ cause: message }, `group ${this.name} gives out no slices`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.rebalance(), RETRY_MS).unref();
    } finally {
      this.#working = false;
    }
  }

  /** Begins to take what must be taken, and gives what can be given now. */
  async #step(): Promise<void> {
    const { presence } = this.parts;
    const before = this.#slices;
    if (this.#untold || this.#plan().takesOver.size > 0) {
      this.#untold = false;
      const told = presence.tell(
        this.name,
        this.members.map(({ facts }) => facts),
      );
      if (told !== undefined) await this.#hasTold(told);
    }
    // Who has lost touch with the others may not give what may be theirs.
    if (this.#closed || this.#pauses > 0 || !presence.isCurrent) return;
    const plan = this.#plan();
    for (const slice of plan.revokes) this.#revoke(slice);
    const slices = this.#slices;
    // What another broker wrote since may be of a member that it told of since.
    const unsure = [...plan.takesOver].filter((slice) => before[slice]?.epoch !== slices[slice]?.epoch);
    const gives = new Map([...plan.gives].filter(([slice]) => !unsure.includes(slice)));
    if (unsure.length > 0) this.#again = true;
    const releases = new Set(plan.releases);
    const fallen = this.#fallen;
    if (gives.size + releases.size + fallen.size > 0) await this.#give({ gives, releases, fallen }, slices);
  }

  async #hasTold(told: Promise<void>): Promise<void> {
    try {
      await told;
    } catch (cause) {
      this.#untold = true;
      throw cause;
    }
  }

  get #slices(): readonly SliceRecord[] {
    return this.parts.store.get(this.name)?.slices ?? [];
  }

  get #fallen(): ReadonlySet<number> {
    return this.#epochs.fallen(this.#slices, this.#slots);
  }

  #plan(): Plan {
    const { broker } = this.parts.presence;
    return planFor({ broker, slices: this.#slices, slots: this.#slots, own: this.members, others: this.#others });
  }

  /**
   * Each in a new epoch, which is durable before the member is told.
   * @param planned the slices as they were when that was decided
   */
  async #give({ gives, releases, fallen }: SliceWrites, planned: readonly SliceRecord[]): Promise<void> {
    const { store, times, deliver, presence } = this.parts;
    const { broker } = presence;
    const record = await store.update(this.name, (before) => {
      const slices = before.slices.map((each, slice): SliceRecord => {
        const member = gives.get(slice);
        if (isOtherwiseHeld(each, planned[slice])) return each;
        const { holder, ...free } = each;
        // A commit of this epoch may still be under way, and must not go back: only the next one counts anew.
        const { ordinal, ...rest } = free;
        if (member === undefined) {
          if (fallen.has(slice)) return { ...rest, epoch: this.#next(slice, each) };
          return releases.has(slice) ? free : each;
        }
        return { ...rest, epoch: this.#next(slice, each), holder: { broker, member: member.id } };
      });
      if (slices.every((each, slice) => each === before.slices[slice])) return before;
      return { ...before, aloneSinceMs: gives.size > 0 ? undefined : before.aloneSinceMs, slices };
    });
    // The record may be another by now, and not what is delivered here: see pause().
    if (this.#pauses > 0) return;
    for (const [slice, member] of gives) {
      const { stream } = member;
      const { epoch, cursor, holder } = record.slices[slice]!;
      const isGiven = holder?.broker === broker && holder.member === member.id && epoch > planned[slice]!.epoch;
      const isFree = this.#slots.owner(slice) === undefined || this.#slots.owner(slice) === member;
      const isThere = this.#members.get(member.id) === member && stream !== undefined && !stream.isOver;
      if (!isGiven || !isFree || !isThere) {
        this.#again = true;
        continue;
      }
      const lease = new SliceLease(slice, epoch, cursor, times.commitMs, this.#slots.count);
      this.#slots.give(slice, member, lease);
      deliver(stream, lease, record);
    }
    // Another broker may have read of this one's end meanwhile.
    const now = store.get(this.name);
    if (now !== undefined) this.changed(now);
  }

  /** The same places, of which nothing that was given can be committed any more. */
  inNewEpochs(slices: readonly SliceRecord[]): SliceRecord[] {
    return slices.map(({ ordinal, holder, ...rest }, slice) => ({ ...rest, epoch: this.#next(slice, rest) }));
  }

  #next(slice: number, { epoch }: SliceRecord): number {
    return this.#epochs.next(slice, epoch, this.parts.store.seconds);
  }

  #membersChanged(): void {
    this.#untold = true;
    this.#readOthers();
    this.#reviewAttended(true);
    this.rebalance();
  }

  /** Whose connection moved to another broker is there no more, here or there. */
  #readOthers(): void {
    const { presence } = this.parts;
    const others = presence.others(this.name);
    if (others.length + this.#others.length === 0) return;
    const own = this.members.map((member) => ({ ...member.facts, broker: presence.broker }));
    const there = withoutReplaced([...own, ...others]);
    this.#others = there.filter(({ broker }) => broker !== presence.broker);
    const left = new Set(there.filter(({ broker }) => broker === presence.broker).map(({ id }) => id));
    for (const member of this.members) {
      if (left.has(member.id)) continue;
      const message = `member ${member.id} of group ${this.name} connected to another broker`;
      member.stream?.fail(new BackplaneError('fenced', message));
      this.#drop(member);
    }
  }

  #reviewAttended(isOwn: boolean): void {
    const isAttended = this.size > 0;
    if (isAttended === this.#isAttended || this.#closed) return;
    this.#isAttended = isAttended;
    this.parts.onAttended(isAttended, isOwn);
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

  /** Another broker has given the slice away: it took its member for gone. Nothing of it can be committed any more. */
  #lose(slice: number): void {
    const { epoch } = this.#slots.lease(slice)!;
    const stream = this.#slots.owner(slice)?.stream;
    stream?.stop(slice);
    if (stream?.isOver === false) stream.tell({ group: { revoking: { slice, epoch, commitWithinMs: 0 } } });
    this.#release(slice);
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
    this.#untold = true;
    this.#reviewAttended(true);
    if (!this.#closed) this.rebalance();
  }

  #isFastAgain(member: Member | undefined): void {
    if (member?.isSlow !== true) return;
    member.isSlow = false;
    this.#untold = true;
    this.rebalance();
  }
}
