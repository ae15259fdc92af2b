/**
 * A group as this broker serves it: what it subscribes to, the interest that it has in nodes' events, also for a while
 * without members, and the deliveries of its slices.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { OneAtATime } from '../../flow/one-at-a-time.js';
import type { Predicate } from '../../subscriptions/predicate.js';
import { keptNodeGlobs, type NodeGlobs } from '../../subscriptions/request/node-globs.js';
import { type CheckedSubscription, NO_NODES } from '../../subscriptions/request/subscription-request.js';
import type { Sink } from '../delivery/outlet.js';
import type { DeliveryContext } from '../delivery/planned-subscription.js';
import type { Subscription } from '../delivery/subscription.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import { Group, type GroupParts } from './group.js';
import { type GroupRecord, predicateOf } from './group-record.js';
import { GroupLag } from './lag/group-lag.js';
import { countUncommitted, passCommitted } from './lag/uncommitted.js';
import type { MemberStream } from './member-stream.js';
import { ParkedPlaces } from './places/parked-places.js';
import { placeTimeNs, type SliceOfGroup, type SliceStart, unparked, windowFrom } from './places/slice-place.js';
import { partitionOfSlice, sliceOf } from './slice.js';
import type { SliceLease } from './slice-lease.js';

/** A slice's delivery that runs. */
interface Run {
  readonly lease: SliceLease;
  readonly subscription: Subscription;
}

export interface LiveGroupParts extends Omit<GroupParts, 'parkAhead' | 'deliver' | 'onAttended'> {
  readonly context: DeliveryContext;
  readonly subscriptions: Subscriptions;
}

export class LiveGroup {
  readonly group: Group;
  readonly lag: GroupLag;
  readonly #count: number;
  readonly nodes: NodeGlobs;
  #predicate: Predicate;
  /** Where it begins, wall nanoseconds. */
  #sinceNs: bigint;
  readonly #runs = new Map<number, Run>();
  #release: (() => void) | undefined;
  #releasing: Promise<void> | undefined;
  /** Changes of what the group subscribes to and of its interest: each begins with what the one before left. */
  readonly #changes = new OneAtATime();
  #isOver = false;
  /** Since when it has no member, milliseconds since 1970; undefined while it has some. */
  aloneSinceMs: number | undefined;
  readonly places: ParkedPlaces;
  /** Epochs of the record whose filter and beginning are in force here. */
  #applied = '';
  /** The record that was looked at last. */
  #known: GroupRecord;
  /** Number of the last count of what the log has: an earlier one does not go on. */
  #counts = 0;

  readonly #parts: LiveGroupParts;

  /** @param gatherMs how long members are waited for before the first slices are given out */
  constructor(record: GroupRecord, parts: LiveGroupParts, gatherMs = 0) {
    this.#parts = parts;
    this.#count = record.slices.length;
    this.nodes = keptNodeGlobs(record.globs);
    this.#predicate = predicateOf(record);
    this.aloneSinceMs = record.aloneSinceMs ?? Date.now();
    this.#sinceNs = record.sinceNs;
    this.lag = new GroupLag(this.#count, this.#predicate, (node, wallNs) => this.#includes(node, wallNs));
    const { store, context } = parts;
    const { name } = record;
    const isOthers = (slice: number) => this.group.isOthers(slice);
    this.places = new ParkedPlaces({ name, store, context, slice: (slice) => this.slice(slice), isOthers });
    this.#known = record;
    const own: GroupParts = {
      ...parts,
      parkAhead: (fresh) => this.places.ahead(fresh),
      deliver: (stream, lease, now) => void this.#deliver(stream, lease, now),
      onAttended: (attended, isOwn) => this.#attended(attended, isOwn),
    };
    this.group = new Group(name, this.#count, own, gatherMs);
    if (this.group.size > 0) this.aloneSinceMs = undefined;
  }

  get predicate(): Predicate {
    return this.#predicate;
  }

  get record(): GroupRecord {
    const { name } = this.group;
    const record = this.#parts.store.get(name);
    if (record === undefined) throw new BackplaneError('not_found', `there is no group ${name}`);
    return record;
  }

  /** Whether nodes are asked for the group's events. */
  get isInForce(): boolean {
    return this.#release !== undefined;
  }

  /** Asks nodes for the group's events, until release(). */
  claim(): Promise<void> {
    return this.#changes.run(() => this.#claim());
  }

  /**
   * Nodes are no longer asked; cursors resume from their recorders. Resolves in any case. Call it every second while
   * isInForce: where a try takes longer, others do not line up behind it.
   */
  release(): Promise<void> {
    this.#releasing ??= this.#changes
      .run(() => this.#giveUp())
      .catch((cause) => this.#parts.logger.error(`group ${this.group.name}: ${cause}`))
      .finally(() => {
        this.#releasing = undefined;
      });
    return this.#releasing;
  }

  async #giveUp(): Promise<void> {
    if (this.#release === undefined) return;
    await this.places.park('all');
    // A member may have come meanwhile.
    if (this.aloneSinceMs === undefined) return;
    this.#release();
    this.#release = undefined;
  }

  /** Has `write` change what the group subscribes to. Members must subscribe again. */
  change(write: () => Promise<GroupRecord>): Promise<GroupRecord> {
    return this.#changes.run(() => this.#change(write));
  }

  /** Whether a record is of this group, and not of a later one of its name. */
  isOf({ createdMs, slices, globs }: GroupRecord): boolean {
    const known = this.#known;
    return createdMs === known.createdMs && slices.length === this.#count && globs.join() === known.globs.join();
  }

  /** The state has another record of the group, written by whichever broker. */
  changed(record: GroupRecord): void {
    const known = this.#known;
    this.#known = record;
    for (const [slice, { cursor }] of record.slices.entries()) {
      if (cursor !== known.slices[slice]?.cursor) passCommitted(this.lag, slice, cursor);
    }
    if (isOtherFilter(record, known)) this.#follow(record, (write) => this.#change(write));
    else if (isReset(record, known)) this.#follow(record, (write) => this.#restart(write));
    // It was reset at another broker, whose clock may be another.
    const isAloneAnew = record.aloneSinceMs !== undefined && record.aloneSinceMs !== known.aloneSinceMs;
    if (isAloneAnew && this.group.size === 0 && this.aloneSinceMs !== record.aloneSinceMs)
      this.aloneSinceMs = Date.now();
    // Another broker's last member left, while it did not know of this one's.
    const isNotAlone = record.aloneSinceMs !== undefined && known.aloneSinceMs === undefined;
    if (isNotAlone && this.group.members.length > 0) this.#note((now) => ({ ...now, aloneSinceMs: undefined }));
    this.group.changed(record);
  }

  /** Does what another broker decided; what this one decides it does by itself, before anything that follows. */
  #follow(record: GroupRecord, change: (write: () => Promise<GroupRecord>) => Promise<unknown>): void {
    this.group.pause();
    const { logger } = this.#parts;
    const followed = this.#changes.run(async () => {
      if (!this.#isOver && epochsOf(record) !== this.#applied) await change(async () => this.record);
    });
    followed
      .catch((cause) => logger.error(`group ${record.name} is not as another broker changed it: ${cause}`))
      .finally(() => this.group.resume());
  }

  async #claim(): Promise<void> {
    if (this.#release !== undefined || this.#isOver) return;
    const { spec } = this.#predicate;
    // Documents are in the broker: no node is asked for them.
    if (spec.topics.length === 0) return;
    const release = await this.#parts.context.book.claim(spec, this.nodes.globs, this.nodes.matches);
    this.#release = release;
    if (this.#isOver) release();
  }

  async #change(write: () => Promise<GroupRecord>): Promise<GroupRecord> {
    this.group.pause();
    try {
      const record = await write();
      this.#applied = epochsOf(record);
      const released = this.#release;
      this.#release = undefined;
      this.#predicate = predicateOf(record);
      this.lag.reset(this.#predicate);
      this.countLogged();
      const message = `the filter of group ${record.name} was changed: subscribe again`;
      this.group.endStreams(new BackplaneError('unavailable', message));
      try {
        if (released !== undefined) await this.#claim();
      } finally {
        released?.();
      }
      return record;
    } finally {
      this.group.resume();
    }
  }

  /** Has `write` change where the group begins. Who joined meanwhile must subscribe again, as it may have less. */
  restart(write: () => Promise<GroupRecord>): Promise<void> {
    return this.#changes.run(() => this.#restart(write));
  }

  async #restart(write: () => Promise<GroupRecord>): Promise<void> {
    this.group.pause();
    try {
      const record = await write();
      const { name, sinceNs } = record;
      this.#applied = epochsOf(record);
      this.#sinceNs = sinceNs;
      this.lag.reset(this.#predicate);
      this.countLogged();
      this.group.endStreams(new BackplaneError('unavailable', `group ${name} was reset: subscribe again`));
    } finally {
      this.group.resume();
    }
  }

  close(): void {
    this.group.close();
  }

  /** There is no such group any more. */
  end(): void {
    this.#isOver = true;
    this.close();
    this.#release?.();
    const { presence, logger } = this.#parts;
    const { name } = this.group;
    // Else a later group of the name would keep slices for members that were here, and nobody would take them back.
    presence
      .tell(name, [])
      ?.catch((cause) => logger.warn(`other brokers still see members of group ${name}: ${cause}`));
  }

  /** Commits where members stand that have nothing open, in slices of which nothing was committed since this time. */
  async advance(beforeMs: number): Promise<void> {
    const { slots } = this.group;
    const { slices } = this.record;
    const places = [...this.#runs.values()].flatMap(({ lease, subscription: { cursor, phase, outlet } }) => {
      const { slice } = lease;
      const record = slices[slice]!;
      const isHeld = slots.lease(slice) === lease && !slots.isRevoking(slice);
      const isOld = record.committedMs <= beforeMs && cursor !== record.cursor;
      return isHeld && isOld && phase === 'live' && !outlet.owesGaps ? [{ lease, cursor }] : [];
    });
    await this.group.advance(places);
  }

  /** When the oldest came that a member may still be given, wall nanoseconds. */
  async standsNs(): Promise<bigint> {
    const { slices, sinceNs } = this.record;
    const { context } = this.#parts;
    const times = slices.map(({ cursor }, slice) => placeTimeNs(context, this.slice(slice), cursor, sinceNs));
    return (await Promise.all(times)).reduce((least, each) => (each < least ? each : least));
  }

  /** Counts what the logs have at this moment and is not committed. What comes later is counted as it comes. */
  countLogged(): void {
    const { context, logger } = this.#parts;
    const own = ++this.#counts;
    const goesOn = () => own === this.#counts;
    countUncommitted(this.lag, context, this.#predicate, this.record, goesOn)
      .then(() => this.#passCommitted())
      .catch((cause) => logger.warn(`the lag of group ${this.group.name} is not known: ${cause}`));
  }

  /** Of what was counted some was committed meanwhile. */
  #passCommitted(): void {
    for (const [slice, { cursor }] of this.record.slices.entries()) passCommitted(this.lag, slice, cursor);
  }

  #includes(node: string, wallNs: bigint): boolean {
    const offsetNs = this.#parts.context.registry.record(node)?.clockOffsetNs ?? 0n;
    return this.nodes.matches(node) && wallNs >= this.#sinceNs + offsetNs;
  }

  slice(slice: number): SliceOfGroup {
    const matches = (node: string) => sliceOf(node, this.#count) === slice && this.nodes.matches(node);
    return { slice, predicate: this.#predicate, matches };
  }

  /** @param isOwn the member that came or left is this broker's */
  #attended(attended: boolean, isOwn: boolean): void {
    this.aloneSinceMs = attended ? undefined : Date.now();
    this.lag.unattendedBytes = 0;
    if (attended) {
      void this.claim().catch(() => undefined);
      return;
    }
    const { aloneSinceMs } = this;
    // Who had the last member notes it, unless that broker died.
    this.#note((record) => (isOwn || record.aloneSinceMs === undefined ? { ...record, aloneSinceMs } : record));
  }

  #note(change: (record: GroupRecord) => GroupRecord): void {
    const { store, logger } = this.#parts;
    store.update(this.group.name, change).catch((cause) => {
      const { code, message } = asBackplaneError(cause);
      // It was deleted at the same time.
      if (code !== 'not_found')
        logger.error({ cause: message }, `group ${this.group.name}: cannot note since when it has members`);
    });
  }

  async #deliver(stream: MemberStream, lease: SliceLease, record: GroupRecord): Promise<void> {
    const { slice, epoch } = lease;
    const sink = stream.begin(lease);
    stream.tell({ group: { assigned: { slice, epoch, cursor: lease.markedStart } } });
    try {
      const begun = await this.#run(stream, lease, sink, lease.start, record);
      if (begun) return;
      const start = await this.#withoutLog(slice, record);
      for (const message of start.gaps) await sink.write({ kind: 'message', message });
      await this.#run(stream, lease, sink, start.cursor, record);
    } catch (cause) {
      if (!sink.closed.aborted) stream.fail(ofSlice(slice, record.name, asBackplaneError(cause)));
    } finally {
      if (this.#runs.get(slice)?.lease === lease) this.#runs.delete(slice);
    }
  }

  /** Delivers the slice from behind a cursor. Resolves with false, having given nothing, when the log has forgotten it. */
  async #run(stream: MemberStream, lease: SliceLease, sink: Sink, cursor: string, record: GroupRecord) {
    const { slice } = lease;
    const checked = this.#checked(stream.asked, this.slice(slice), cursor, record);
    const { subscription, done } = this.#parts.subscriptions.runSlice(checked, sink, stream.caller);
    this.#runs.set(slice, { lease, subscription });
    lease.follow(() => subscription.takeMoved());
    const end = stream.counts(subscription.outlet);
    try {
      await done;
      return true;
    } catch (cause) {
      const { code } = asBackplaneError(cause);
      if (code === 'cursor_expired' && cursor === lease.start && subscription.cursor === '') return false;
      throw cause;
    } finally {
      end();
    }
  }

  /** Where a slice begins whose committed cursor the log has forgotten. */
  #withoutLog(slice: number, { name, slices }: GroupRecord): Promise<SliceStart> {
    const { context, logger } = this.#parts;
    const own = this.slice(slice);
    const place = slices[slice]!;
    const parked = this.places.of(slice, place.cursor);
    const how = parked === undefined ? 'it was not written down' : 'it was written down';
    logger.warn(`the log has forgotten the place of slice ${slice} of group ${name}; ${how}`);
    return unparked(context, own, place, parked);
  }

  /** The slice as a subscription: what the group asks for, delivered as the member asked. */
  #checked(
    asked: CheckedSubscription,
    { slice, predicate, matches }: SliceOfGroup,
    cursor: string,
    { sinceNs, includeSelf }: GroupRecord,
  ): CheckedSubscription {
    const { topics, documents } = predicate;
    const nodes = topics.length === 0 ? NO_NODES : { globs: this.nodes.globs, matches };
    const window = cursor === '' ? windowFrom(sinceNs) : windowFrom(0n);
    const { floorNs } = asked.scope ?? {};
    const takes = (key: string) => sliceOf(key, this.#count) === slice;
    const own = { groupNodes: this.nodes, partition: partitionOfSlice(slice), floorNs, takes };
    const selectors = [{ id: '', predicate }];
    const wanted = { topics, documents, nodes, publishers: this.nodes, selectors, includeSelf };
    // All else that bounds the member was compared with what the group has when it joined.
    return { ...asked, ...wanted, window, cursor, slice: own, scope: undefined };
  }
}

/** A place that cannot be resumed is for people to decide. */
function ofSlice(slice: number, name: string, { code, message, details }: BackplaneError): BackplaneError {
  if (code !== 'cursor_expired' && code !== 'cursor_invalid') return new BackplaneError(code, message, details);
  const remedy = `backplane groups reset ${name} --to oldest|now|TIME`;
  return new BackplaneError('cursor_expired', `slice ${slice} of group ${name} cannot go on: ${message}; "${remedy}"`);
}

function isOtherFilter(one: GroupRecord, other: GroupRecord): boolean {
  const parts = ({ filter, topics, fields }: GroupRecord) => JSON.stringify([filter, topics, fields]);
  return one.slices !== other.slices && parts(one) !== parts(other);
}

/** Only a reset goes back to where nothing was committed. */
function isReset(one: GroupRecord, other: GroupRecord): boolean {
  if (one.sinceNs !== other.sinceNs) return true;
  return one.slices.every(({ cursor }) => cursor === '') && other.slices.some(({ cursor }) => cursor !== '');
}

function epochsOf({ slices }: GroupRecord): string {
  return slices.map(({ epoch }) => epoch).join();
}
