/**
 * A group as this broker serves it: what it subscribes to, the interest that it has in nodes' events, also for a while
 * without members, and the deliveries of its slices.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import type { Predicate } from '../../subscriptions/predicate.js';
import { keptNodeGlobs, type NodeGlobs } from '../../subscriptions/request/node-globs.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { DeliveryContext } from '../delivery/planned-subscription.js';
import type { Subscription } from '../delivery/subscription.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import { Group, type GroupParts } from './group.js';
import { GroupLag } from './group-lag.js';
import { type GroupRecord, predicateOf } from './group-record.js';
import type { MemberStream } from './member-stream.js';
import { partitionOfSlice, sliceOf } from './slice.js';
import type { SliceLease } from './slice-lease.js';
import { hasExpired, offsetOf, parkedNodes, rebound, type SliceOfGroup, unparked, windowFrom } from './slice-place.js';

/** A slice's delivery that runs. */
interface Run {
  readonly lease: SliceLease;
  readonly subscription: Subscription;
}

export interface LiveGroupParts extends Omit<GroupParts, 'lag' | 'deliver' | 'onAttended'> {
  readonly context: DeliveryContext;
  readonly subscriptions: Subscriptions;
}

export class LiveGroup {
  readonly group: Group;
  readonly lag: GroupLag;
  readonly #count: number;
  readonly nodes: NodeGlobs;
  #predicate: Predicate;
  readonly #runs = new Map<number, Run>();
  #release: (() => void) | undefined;
  #claiming: Promise<void> | undefined;
  /** Since when it has no member, milliseconds since 1970; undefined while it has some. */
  aloneSinceMs: number | undefined;
  /** Cursors that are parked, by slice. */
  readonly #parked = new Map<number, string>();

  readonly #parts: LiveGroupParts;

  /** @param gatherMs how long members are waited for before the first slices are given out */
  constructor(record: GroupRecord, parts: LiveGroupParts, gatherMs = 0) {
    this.#parts = parts;
    this.#count = record.slices.length;
    this.nodes = keptNodeGlobs(record.globs);
    this.#predicate = predicateOf(record);
    this.aloneSinceMs = record.aloneSinceMs ?? Date.now();
    this.lag = new GroupLag(this.#count, this.#predicate.id, this.nodes.matches);
    const own: GroupParts = {
      ...parts,
      lag: this.lag,
      deliver: (stream, lease, now) => void this.#deliver(stream, lease, now),
      onAttended: (attended) => this.#attended(attended),
    };
    this.group = new Group(record.name, this.#count, own, gatherMs);
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
    if (this.#release !== undefined) return Promise.resolve();
    const { spec } = this.#predicate;
    this.#claiming ??= this.#parts.context.book
      .claim(spec, this.nodes.globs, this.nodes.matches)
      .then((release) => {
        this.#release = release;
      })
      .finally(() => {
        this.#claiming = undefined;
      });
    return this.#claiming;
  }

  /** Nodes are no longer asked; cursors resume from their recorders. */
  async release(): Promise<void> {
    await this.park(Date.now());
    // A member may have come meanwhile.
    if (this.aloneSinceMs === undefined) return;
    this.#release?.();
    this.#release = undefined;
  }

  /** Has `write` change what the group subscribes to. Members must subscribe again. */
  async change(write: () => Promise<GroupRecord>): Promise<GroupRecord> {
    this.group.pause();
    try {
      const record = await write();
      const released = this.#release;
      this.#release = undefined;
      this.#predicate = predicateOf(record);
      this.lag.predicateId = this.#predicate.id;
      this.lag.reset();
      const message = `the filter of group ${record.name} was changed: subscribe again`;
      this.group.endStreams(new BackplaneError('unavailable', message));
      if (released !== undefined) await this.claim();
      released?.();
      return record;
    } finally {
      this.group.resume();
    }
  }

  /** Has `write` change where the group begins. Who joined meanwhile must subscribe again, as it may have less. */
  async restart(write: () => Promise<GroupRecord>): Promise<void> {
    this.group.pause();
    try {
      await write();
      const { name } = this.group;
      this.group.endStreams(new BackplaneError('unavailable', `group ${name} was reset: subscribe again`));
    } finally {
      this.group.resume();
    }
  }

  close(): void {
    this.group.close();
  }

  end(): void {
    this.close();
    this.#release?.();
  }

  /**
   * Writes down the positions of cursors that were committed before this time: the log may forget them. Each is written
   * down once.
   */
  async park(beforeMs: number): Promise<void> {
    const { context, store } = this.#parts;
    const record = this.record;
    for (const [slice, { cursor, committedMs }] of record.slices.entries()) {
      if (cursor === '' || committedMs > beforeMs || this.#parked.get(slice) === cursor) continue;
      const nodes = await parkedNodes(context, this.slice(slice), cursor).catch(() => undefined);
      if (nodes === undefined) continue;
      await store.park(record.name, slice, { cursor, nodes });
      this.#parked.set(slice, cursor);
    }
  }

  /** Commits where members stand that have nothing open, in slices of which nothing was committed since this time. */
  async advance(beforeMs: number): Promise<void> {
    const { slots } = this.group;
    const { slices } = this.record;
    const places = [...this.#runs.values()].flatMap(({ lease, subscription: { cursor, phase } }) => {
      const { slice } = lease;
      const record = slices[slice]!;
      const isHeld = slots.lease(slice) === lease && !slots.isRevoking(slice);
      const isOld = record.committedMs <= beforeMs && cursor !== record.cursor;
      return isHeld && isOld && phase === 'live' ? [{ lease, cursor }] : [];
    });
    await this.group.advance(places);
  }

  /** Counts what the log had before it was followed, as far as cursors have offsets. */
  async countBefore(): Promise<void> {
    const { store } = this.#parts.context;
    const { slices } = this.record;
    const topics = new Set(this.#predicate.topics);
    for (const log of store.all()) {
      const offsets = slices.flatMap(({ cursor }, slice) =>
        partitionOfSlice(slice) === log.partition ? (offsetOf(cursor, slice) ?? []) : [],
      );
      if (offsets.length === 0) continue;
      const end = log.deliverableOffset;
      const reader = log.reader(Math.max(log.firstOffset, Math.min(...offsets)), topics);
      try {
        for (let item = await reader.next(); item !== undefined; item = await reader.next()) {
          if (item.kind !== 'frame') continue;
          if (item.offset >= end) break;
          this.lag.frame('before', item);
        }
      } finally {
        reader.close();
      }
    }
    for (const [slice, { cursor }] of slices.entries()) {
      const offset = offsetOf(cursor, slice);
      if (offset !== undefined) this.lag.committed(slice, offset);
    }
    this.lag.unattendedBytes = 0;
  }

  slice(slice: number): SliceOfGroup {
    const matches = (node: string) => sliceOf(node, this.#count) === slice && this.nodes.matches(node);
    return { slice, predicate: this.#predicate, matches };
  }

  #attended(attended: boolean): void {
    this.aloneSinceMs = attended ? undefined : Date.now();
    this.lag.unattendedBytes = 0;
    if (attended) {
      void this.claim().catch(() => undefined);
      return;
    }
    const { store, logger } = this.#parts;
    const { aloneSinceMs } = this;
    store
      .update(this.group.name, (record) => ({ ...record, aloneSinceMs }))
      .catch((cause) => {
        const { code, message } = asBackplaneError(cause);
        // It was deleted at the same time.
        if (code !== 'not_found')
          logger.error({ cause: message }, `group ${this.group.name}: cannot note that all left`);
      });
  }

  async #deliver(stream: MemberStream, lease: SliceLease, record: GroupRecord): Promise<void> {
    const { slice, epoch } = lease;
    const sink = stream.begin(lease);
    stream.tell({ group: { assigned: { slice, epoch, cursor: lease.markedStart } } });
    try {
      const { context, store, subscriptions } = this.#parts;
      const own = this.slice(slice);
      let cursor = lease.start;
      if (cursor !== '' && hasExpired(context, own, cursor)) {
        const parked = store.parked(record.name, slice);
        // It may have been written down for a filter before: see rebound().
        const isOf = parked !== undefined && rebound(parked.cursor, own.predicate) === cursor;
        const nodes = isOf ? parked.nodes : undefined;
        const start = await unparked(context, own, record.slices[slice]!, nodes);
        for (const message of start.gaps) await sink.write({ kind: 'message', message });
        cursor = start.cursor;
      }
      const { subscription, done } = subscriptions.runSlice(
        this.#checked(stream.asked, own, cursor, record),
        sink,
        stream.caller,
      );
      this.#runs.set(slice, { lease, subscription });
      await done;
    } catch (cause) {
      if (!sink.closed.aborted) stream.fail(ofSlice(slice, record.name, asBackplaneError(cause)));
    } finally {
      if (this.#runs.get(slice)?.lease === lease) this.#runs.delete(slice);
    }
  }

  /** The slice as a subscription: what the group asks for, delivered as the member asked. */
  #checked(
    asked: CheckedSubscription,
    { slice, predicate, matches }: SliceOfGroup,
    cursor: string,
    { sinceNs, includeSelf }: GroupRecord,
  ): CheckedSubscription {
    const { topics } = predicate;
    const nodes = { globs: this.nodes.globs, matches };
    const window = cursor === '' ? windowFrom(sinceNs) : windowFrom(0n);
    const own = { groupNodes: this.nodes, partition: partitionOfSlice(slice) };
    const selectors = [{ id: '', predicate }];
    // What bounds the member was compared with what the group has when it joined.
    return { ...asked, topics, nodes, selectors, includeSelf, window, cursor, slice: own, scope: undefined };
  }
}

/** A place that cannot be resumed is for people to decide. */
function ofSlice(slice: number, name: string, { code, message, details }: BackplaneError): BackplaneError {
  if (code !== 'cursor_expired' && code !== 'cursor_invalid') return new BackplaneError(code, message, details);
  const remedy = `backplane groups reset ${name} --to oldest|now|TIME`;
  return new BackplaneError('cursor_expired', `slice ${slice} of group ${name} cannot go on: ${message}; "${remedy}"`);
}
