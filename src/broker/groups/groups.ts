/** All groups of a broker: members join them, slices are committed, and what nobody uses any more ends. */
import type { Logger } from 'pino';
import { BackplaneError, invalid } from '../../errors.js';
import { GROUP_SLICES_DEFAULT, GROUPS_MAX, GROUPS_UNATTENDED_MAX, RETRY_AFTER_MS } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import type { GroupRequest } from '../../subscriptions/request/group-request.js';
import { nodeGlobsText } from '../../subscriptions/request/node-globs.js';
import { type CheckedSubscription, NO_NODES } from '../../subscriptions/request/subscription-request.js';
import { nsToTimestamp } from '../../wire/messages.js';
import type { AccessControl } from '../access/access-control.js';
import type { Caller } from '../access/gate.js';
import { explain } from '../delivery/explanation.js';
import type { Sink } from '../delivery/outlet.js';
import type { DeliveryContext } from '../delivery/planned-subscription.js';
import { checkProfiles } from '../delivery/profiles.js';
import type { MemberReading, Subscriptions } from '../delivery/subscriptions.js';
import type { GroupTimes } from './group.js';
import { allTopics, cursorsUntilMs, type GroupRecord } from './group-record.js';
import type { GroupStore } from './group-store.js';
import { LagFeed } from './lag/lag-feed.js';
import { LiveGroup } from './live-group.js';
import { MemberStream } from './member-stream.js';
import { windowFrom } from './places/slice-place.js';
import type { GroupPresence } from './presence/group-presence.js';
import type { SliceCommit } from './slice-commits.js';
import { Upkeep } from './upkeep.js';

const SWEEP_INTERVAL_MS_MAX = 1_000;
/** After a broker was started again, before slices are given to those who have come back. */
const GATHER_MS = 700;
/** A broker that the others take for dead sends its members to them after so long. */
const CUT_OFF_MS = 5_000;
/** After the end of a stream, the connection's own end is known at the latest by then. */
const CONNECTION_END_MS = 50;

export interface GroupRetention {
  /** How long nodes are asked for the events of a group without members. */
  readonly interestMs: number;
  /** How long its cursors are kept. */
  readonly cursorsMs: number;
}

export interface GroupsOptions {
  readonly store: GroupStore;
  readonly presence: GroupPresence;
  readonly context: DeliveryContext;
  readonly subscriptions: Subscriptions;
  readonly access: Pick<AccessControl, 'group' | 'mayHaveGroup'>;
  readonly times: GroupTimes;
  readonly retention: GroupRetention;
  readonly logger: Logger;
}

export class Groups {
  readonly #options: GroupsOptions;
  readonly #live = new Map<string, LiveGroup>();
  /** The latest epoch of groups that were deleted: other brokers have other clocks. */
  #endedEpoch = 0;
  /** Groups that are being written down, by their names. */
  readonly #creating = new Map<string, Promise<LiveGroup>>();
  readonly #sweep: NodeJS.Timeout;
  readonly #upkeep: Upkeep;
  readonly #ends: readonly (() => void)[];
  /** Since when others take this broker for dead, of a clock that is never set; undefined: they do not. */
  #cutOffMs: number | undefined;
  readonly #lagFeed: LagFeed;

  /** Call it before anything is appended to the logs. */
  constructor(options: GroupsOptions) {
    this.#options = options;
    this.#lagFeed = new LagFeed(options.context.store.all(), options.context.documents.all(), () => {
      return [...this.#live.values()].map(({ lag }) => lag);
    });
    for (const record of options.store.all()) this.#restore(record);
    const { commitMs } = options.times;
    const sweepMs = Math.min(SWEEP_INTERVAL_MS_MAX, Math.max(20, Math.floor(commitMs / 10)));
    this.#sweep = setInterval(() => this.#sweepAll(Date.now()), sweepMs).unref();
    this.#upkeep = new Upkeep(options.context.store, () => [...this.#live.values()], options.logger);
    options.presence.relay?.serve((name, commits) => this.get(name).group.commit(commits));
    this.#ends = [
      options.store.watch((name, record) => this.#changed(name, record)),
      options.presence.listen((name) => this.#live.get(name)?.group.othersChanged()),
    ];
  }

  all(): readonly LiveGroup[] {
    return [...this.#live.values()].sort((a, b) => (a.group.name < b.group.name ? -1 : 1));
  }

  /** Throws not_found. */
  get(name: string): LiveGroup {
    const live = this.#live.get(name);
    if (live !== undefined) return live;
    this.#options.store.checkReadable(name);
    throw new BackplaneError('not_found', `there is no group ${name}`, { field: 'group' });
  }

  /**
   * Has a member in its group until it went or the broker drains. Throws failed_precondition for another subscription
   * than the group's, cursor_expired for a group that must be reset, already_exists for a name that is in use,
   * unavailable when the member must come back, permission_denied for one that may not have all that the group has.
   */
  async join(
    checked: CheckedSubscription,
    sink: Sink,
    caller: Caller,
    signal: AbortSignal,
    reading: MemberReading,
  ): Promise<void> {
    const request = checked.group!;
    const live = await this.#entered(checked, request, caller, signal);
    const record = live.record;
    checkSame(record, live, checked, request);
    if (isExpired(record, live, Date.now())) throw expired(record);
    const { topics, documents } = live.predicate;
    const asked = {
      ...checked,
      ...{ selectors: [{ id: '', predicate: live.predicate }], topics, documents },
      nodes: topics.length === 0 ? NO_NODES : live.nodes,
    };
    checkProfiles(asked, this.#options.context.registry);
    await reading.begins({ ...asked, publishers: live.nodes, window: windowFrom(record.sinceNs) });
    await live.claim();
    if (signal.aborted) return;
    // It may have been reset, or its filter changed, since the member was admitted to it.
    const isSame = this.#live.get(record.name) === live && live.predicate === asked.selectors[0]?.predicate;
    if (!isSame || live.record.sinceNs !== record.sinceNs) {
      throw new BackplaneError('unavailable', `group ${record.name} was changed meanwhile: subscribe again`);
    }
    const stream = new MemberStream(sink, caller, checked, signal, this.#options.presence);
    const member = live.group.join(request, stream);
    const { memberMs } = this.#options.times;
    let isSilent = false;
    const unwatch = sink.connection?.watch(memberMs, () => {
      isSilent = true;
      const message = `no sign of life from member ${member.id} for ${memberMs} ms: its slices go to others`;
      stream.fail(new BackplaneError('unavailable', message));
    });
    try {
      const { registry } = this.#options.context;
      const { slices, sinceNs, filter } = live.record;
      await stream.write({
        kind: 'message',
        message: {
          accepted: {
            subscriptionId: member.id,
            plan: explain(asked, registry),
            nodes: registry.connected(live.nodes.matches),
            nodesMissing: [],
            since: nsToTimestamp(sinceNs),
            group: { name: record.name, member: member.id, slices: slices.length, filter },
          },
        },
      });
      await Promise.race([stream.ended, aborted(signal)]);
    } finally {
      unwatch?.();
      reading.ended(member.id, stream.given);
      // Before anything is awaited, so that nothing more is given to somebody who is not there.
      const isNamed = request.member !== '' && !isSilent;
      if (!isNamed) live.group.leave(member, stream, false);
      else live.group.leave(member, stream, !(await isOpen(sink)));
    }
  }

  /** Resolves when all of it is durable. Throws not_found, fenced, invalid_argument. */
  async commit(name: string, commits: readonly SliceCommit[]): Promise<void> {
    const seen = new Set(commits.map(({ slice }) => slice));
    if (commits.length === 0) throw invalid('slices', 'must have at least one');
    if (seen.size < commits.length) throw invalid('slices', 'must have each slice once');
    const { group } = this.get(name);
    const { relay } = this.#options.presence;
    const broker = relay && group.brokerOf(commits);
    // It is not fenced for that: whoever is told so drops what it has, and is not given it again.
    if (relay && group.isAhead(commits)) throw notReadYet(name);
    if (broker === undefined) await group.commit(commits);
    else await relay!.send(broker, name, commits);
  }

  /** Forgets a group that has no members. */
  async delete(live: LiveGroup): Promise<void> {
    const { store } = this.#options;
    const { name } = live.group;
    try {
      await store.delete(name);
    } finally {
      // The group may be gone although what was parked of it is not: what runs must not outlive its record.
      if (store.get(name) === undefined) this.#forget(live);
    }
  }

  #forget(live: LiveGroup): void {
    if (!this.#live.delete(live.group.name)) return;
    this.#endedEpoch = Math.max(this.#endedEpoch, live.group.epochMax);
    if (this.#live.size === 0) this.#lagFeed.end();
    // Who came in while it was written down would wait for slices for ever.
    const { name } = live.group;
    const deleted = new BackplaneError('not_found', `the group ${name} was deleted`);
    live.group.endStreams(this.#options.store.unreadable(name) ?? deleted);
    live.end();
  }

  /** Whether the group's cursors have ended. */
  isExpired(live: LiveGroup): boolean {
    return isExpired(live.record, live, Date.now());
  }

  /** No more slices are given out: the broker drains. */
  drain(): void {
    for (const live of this.#live.values()) live.close();
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const end of this.#ends) end();
    this.#upkeep.close();
    this.drain();
  }

  /**
   * Groups that had members when the broker ended count as left now.
   * @param isNew another broker has just made it, or this one
   */
  #restore(record: GroupRecord, isNew = false): void {
    // Members that had slices come back within a second, each on its own.
    const live = this.#liveOf(record, record.aloneSinceMs === undefined ? GATHER_MS : 0);
    const { logger } = this.#options;
    if (!isNew || record.slices.some(({ cursor }) => cursor !== '')) live.countLogged();
    if (record.aloneSinceMs !== undefined && record.aloneSinceMs + record.interestMs < Date.now()) return;
    live
      .claim()
      .catch((cause) => logger.warn(`nodes are not asked for group ${record.name} until it has members: ${cause}`));
  }

  #liveOf(record: GroupRecord, gatherMs = 0): LiveGroup {
    this.#lagFeed.begin();
    const live = new LiveGroup(record, this.#options, gatherMs);
    this.#live.set(record.name, live);
    return live;
  }

  /** The group, which is made where there is none, if the caller may have all of it. */
  async #entered(
    checked: CheckedSubscription,
    request: GroupRequest,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<LiveGroup> {
    const { presence } = this.#options;
    // Also a broker that has just begun, and of which nobody has read yet.
    if (!presence.isCurrent) await presence.whenCurrent(AbortSignal.any([signal, AbortSignal.timeout(CUT_OFF_MS)]));
    if (!presence.isCurrent) throw cutOff();
    const creating = this.#creating.get(request.name);
    const known = creating === undefined ? this.#live.get(request.name) : await creating;
    let isMadeHere = false;
    const onMade = () => {
      isMadeHere = true;
    };
    const live = known ?? (await this.#create(checked, request, caller, onMade));
    // Also where another broker made it at the same time.
    if (!isMadeHere) await this.#checkAccess(live, caller);
    return live;
  }

  /** @param onMade called when it was made, and not by another broker at the same time */
  async #create(
    checked: CheckedSubscription,
    request: GroupRequest,
    caller: Caller,
    onMade: () => void,
  ): Promise<LiveGroup> {
    const { store } = this.#options;
    store.checkReadable(request.name);
    // A name that was mistyped makes no group of everything.
    if (request.whatItHas) {
      const message = `there is no group ${request.name}: who makes it says what it subscribes to (topics, or a filter)`;
      throw new BackplaneError('not_found', message, { field: 'group' });
    }
    if (new Set([...this.#live.keys(), ...this.#creating.keys()]).size >= GROUPS_MAX) {
      const message = `a broker has at most ${GROUPS_MAX} groups: delete some (backplane groups delete NAME)`;
      throw new BackplaneError('resource_exhausted', message);
    }
    const record = this.#newRecord(checked, request, caller, Date.now());
    const creating = store
      .create(record)
      .then(onMade, (cause) => {
        if (!this.#live.has(record.name)) throw cause;
      })
      .then(() => this.#live.get(record.name) ?? this.#liveOf(record));
    this.#creating.set(record.name, creating);
    try {
      return await creating;
    } finally {
      this.#creating.delete(record.name);
    }
  }

  #newRecord(checked: CheckedSubscription, request: GroupRequest, caller: Caller, nowMs: number): GroupRecord {
    const { retention, store } = this.#options;
    const { predicate } = checked.selectors[0]!;
    const { spec } = predicate;
    const { window } = checked;
    // A later group of the same name has later epochs, so that nobody can commit what was another's.
    const epoch = Math.max(store.seconds, this.#endedEpoch + 1);
    return {
      name: request.name,
      owner: caller.identity.name,
      topics: allTopics(predicate),
      filter: spec.filter,
      includeSelf: spec.includeSelf,
      fields: spec.fields,
      globs: checked.nodes.globs,
      createdMs: nowMs,
      sinceNs: window.sinceNs ?? msToNs(nowMs),
      interestMs: retention.interestMs,
      cursorsMs: retention.cursorsMs,
      aloneSinceMs: nowMs,
      slices: Array.from({ length: request.slices || GROUP_SLICES_DEFAULT }, () => ({
        ...{ epoch, cursor: '', committedMs: 0 },
      })),
    };
  }

  /** A member shares all that its group has, from where it stands. */
  async #checkAccess(live: LiveGroup, caller: Caller): Promise<void> {
    const { record } = live;
    const { access } = this.#options;
    // Who may have it from its beginning may have it from anywhere. Else the logs are read for where it stands.
    if (access.mayHaveGroup(caller, ['subscribe', 'history'], record)) return;
    const sinceNs = await live.standsNs();
    const readsPast = sinceNs < msToNs(record.createdMs);
    const verbs = ['subscribe', ...(readsPast ? (['history'] as const) : [])] as const;
    access.group(caller, verbs, { ...record, sinceNs });
  }

  /** A group was made, changed or deleted, by whichever broker. */
  #changed(name: string, record: GroupRecord | undefined): void {
    const live = this.#live.get(name);
    if (record === undefined) {
      if (live !== undefined) this.#forget(live);
    } else if (live?.isOf(record)) live.changed(record);
    else {
      // Deleted and made anew: what was between may not be told.
      if (live !== undefined) this.#forget(live);
      this.#restore(record, true);
    }
  }

  /** Members of a broker that cannot reach the others get nothing here any more: they may find another one. */
  #reviewCutOff(): void {
    const { presence, logger } = this.#options;
    if (presence.isCurrent) {
      this.#cutOffMs = undefined;
      return;
    }
    this.#cutOffMs ??= performance.now();
    if (performance.now() - this.#cutOffMs < CUT_OFF_MS) return;
    const attended = [...this.#live.values()].filter(({ group }) => group.members.some(({ isPresent }) => isPresent));
    if (attended.length > 0) logger.warn(`members of ${attended.length} groups are sent away: ${cutOff().message}`);
    for (const { group } of attended) group.endStreams(cutOff());
  }

  #sweepAll(nowMs: number): void {
    this.#reviewCutOff();
    const unattended: LiveGroup[] = [];
    for (const live of this.#live.values()) {
      live.group.checkCommits(nowMs);
      if (live.aloneSinceMs === undefined || !live.isInForce) continue;
      if (live.aloneSinceMs + live.record.interestMs <= nowMs) void live.release();
      else unattended.push(live);
    }
    this.#boundUnattended(unattended);
  }

  /** Each identity has interest without members for a bounded number of groups: nodes pay for it. */
  #boundUnattended(unattended: LiveGroup[]): void {
    if (unattended.length <= GROUPS_UNATTENDED_MAX) return;
    const byOwner = new Map<string, number>();
    for (const live of unattended.sort((a, b) => b.aloneSinceMs! - a.aloneSinceMs!)) {
      const { owner } = live.record;
      const count = (byOwner.get(owner) ?? 0) + 1;
      byOwner.set(owner, count);
      if (count > GROUPS_UNATTENDED_MAX) void live.release();
    }
  }
}

/** Throws failed_precondition where a request states something else than the group has. */
function checkSame(record: GroupRecord, live: LiveGroup, checked: CheckedSubscription, request: GroupRequest): void {
  if (request.slices !== 0 && request.slices !== record.slices.length) {
    throw other(
      'slices',
      `group ${record.name} has ${record.slices.length} slices, got ${request.slices}: that is fixed`,
    );
  }
  if (request.whatItHas) return;
  if (checked.selectors[0]!.predicate.cursorId !== live.predicate.cursorId) {
    const remedy = `backplane groups set-filter ${record.name}`;
    const has = `group ${record.name} has the filter ${record.filter}, topics ${record.topics.join(', ')}`;
    throw other('filter', `${has}: ask for the same, or for nothing but the group, or change it ("${remedy}")`);
  }
  // What bounds the member is not what it asks for.
  const asked = checked.scope?.asked.nodes ?? checked.nodes;
  if (![checked.nodes, asked].some(({ globs }) => globs.join() === record.globs.join())) {
    const nodes = record.globs.length === 0 ? 'every node' : nodeGlobsText(record.globs);
    throw other('node', `group ${record.name} is of ${nodes}: ask for the same, or for nothing but the group`);
  }
}

function other(field: string, message: string): BackplaneError {
  return new BackplaneError('failed_precondition', message, { field });
}

function notReadYet(name: string): BackplaneError {
  const message = `this broker has not read yet who has these slices of group ${name}: commit again`;
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}

function cutOff(): BackplaneError {
  const message = 'this broker cannot reach the others of its cluster: subscribe at another one';
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}

function isExpired(record: GroupRecord, { aloneSinceMs, group }: LiveGroup, nowMs: number): boolean {
  if (group.size > 0) return false;
  const untilMs = cursorsUntilMs({ ...record, aloneSinceMs });
  return untilMs !== undefined && untilMs <= nowMs;
}

function expired({ name, cursorsMs }: GroupRecord): BackplaneError {
  const kept = `group ${name} had no members for longer than its cursors are kept (${cursorsMs / 1000} s)`;
  return new BackplaneError('cursor_expired', `${kept}: "backplane groups reset ${name} --to oldest|now|TIME"`, {
    field: 'group',
  });
}

/** Whether the member's connection outlives its stream: then it has left of its own will. */
async function isOpen({ connection }: Sink): Promise<boolean> {
  if (connection === undefined) return false;
  await new Promise((resolve) => setTimeout(resolve, CONNECTION_END_MS));
  return connection.isOpen;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
