/** What people and programs ask of groups, the same for gRPC and HTTP. */
import { BackplaneError, invalid } from '../../errors.js';
import { msToNs, wallNowNs } from '../../nanoseconds.js';
import { compileNamed } from '../../subscriptions/predicate.js';
import { resolveWindow } from '../../subscriptions/request/window.js';
import {
  type CommitRequest__Output,
  type GetGroupResponse,
  type Group as GroupMessage,
  nsToTimestamp,
  type ResetGroupRequest__Output,
  type ResetGroupResponse,
  type SetGroupFilterRequest__Output,
  type SetGroupFilterResponse,
} from '../../wire/messages.js';
import type { AccessControl } from '../access/access-control.js';
import type { Caller } from '../access/gate.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import { allTopics, cursorsUntilMs, type GroupRecord } from './group-record.js';
import type { GroupStore } from './group-store.js';
import type { Groups } from './groups.js';
import type { LiveGroup } from './live-group.js';
import { filterBegins, type PlaceContext, rebound } from './places/slice-place.js';
import type { MemberFacts, RemoteMember } from './presence/group-presence.js';

export class GroupService {
  readonly #groups: Groups;
  readonly #store: GroupStore;
  readonly #context: PlaceContext;
  readonly #trail: AuditTrail;
  readonly #access: AccessControl;

  constructor(groups: Groups, store: GroupStore, context: PlaceContext, trail: AuditTrail, access: AccessControl) {
    this.#groups = groups;
    this.#store = store;
    this.#context = context;
    this.#trail = trail;
    this.#access = access;
  }

  /** Those that are granted to the caller, in the order of their names. */
  list(caller: Caller): readonly GroupMessage[] {
    const grant = this.#access.enter(caller, { verbs: ['groups'] });
    const granted = this.#groups.all().filter(({ group }) => grant.group(group.name));
    return granted.map((live) => this.#message(live));
  }

  /** Throws not_found; permission_denied, as all below do for a group that is not granted. */
  show(name: string, caller: Caller): GetGroupResponse {
    this.#enter(name, caller);
    const live = this.#groups.get(name);
    const { slots } = live.group;
    const holders = holdersOf(live);
    const slices = live.record.slices.map(({ epoch, cursor, committedMs }, slice) => {
      const uncommittedMs = slots.lease(slice)?.uncommittedSinceMs;
      const { events, sinceMs } = live.lag.of(slice);
      return {
        slice,
        epoch,
        cursor,
        committed: committedMs === 0 ? null : timestamp(committedMs),
        member: holders[slice] ?? '',
        lagEvents: events,
        lagSince: sinceMs === undefined ? null : timestamp(sinceMs),
        uncommittedSince: uncommittedMs === undefined ? null : timestamp(uncommittedMs),
      };
    });
    return { group: this.#message(live), slices };
  }

  /** Resolves when it is durable, all of it or nothing. Throws not_found, fenced, invalid_argument. */
  async commit({ group, slices }: CommitRequest__Output, caller: Caller): Promise<void> {
    this.#enter(group, caller);
    const commits = slices.map(({ slice, epoch, cursor }) => ({ slice, epoch: Number(epoch), cursor }));
    await this.#groups.commit(group, commits);
  }

  /** Throws not_found, failed_precondition when the group has members. */
  async delete(name: string, caller: Caller): Promise<void> {
    this.#enter(name, caller);
    const live = this.#withoutMembers(name, 'deleted');
    await this.#trail.record({ action: 'delete_group', peer: caller.peer, identity: caller.identity, group: name });
    this.#withoutMembers(name, 'deleted');
    await this.#groups.delete(live);
  }

  /** Throws not_found, failed_precondition when the group has members, invalid_argument for a time. */
  async reset({ group: name, to }: ResetGroupRequest__Output, caller: Caller): Promise<ResetGroupResponse> {
    this.#enter(name, caller);
    const nowNs = wallNowNs();
    const sinceNs = resetTime(to, nowNs);
    const live = this.#withoutMembers(name, 'reset');
    const since = nsToTimestamp(sinceNs);
    const entry = { action: 'reset_group', peer: caller.peer, identity: caller.identity, group: name, to } as const;
    await this.#trail.record({ ...entry, since: sinceNs.toString() });
    this.#withoutMembers(name, 'reset');
    const aloneSinceMs = Date.now();
    await live.restart(() =>
      this.#store.update(name, (record) => ({
        ...record,
        sinceNs,
        aloneSinceMs,
        slices: live.group.inNewEpochs(record.slices).map(({ epoch }) => ({ epoch, cursor: '', committedMs: 0 })),
      })),
    );
    live.aloneSinceMs = aloneSinceMs;
    await this.#store.unpark(name);
    return { since };
  }

  /**
   * The cursors stay, and members must subscribe again: what follows the committed cursors is matched anew. Throws
   * not_found, filter_invalid, invalid_argument; permission_denied for more than the caller may have.
   */
  async setFilter(request: SetGroupFilterRequest__Output, caller: Caller): Promise<SetGroupFilterResponse> {
    const { group: name, filter } = request;
    this.#enter(name, caller);
    const live = this.#groups.get(name);
    const { topics, fields, includeSelf } = live.record;
    const predicate = compileNamed({
      filter,
      includeSelf,
      topics: request.topics.length > 0 ? request.topics : topics,
      fields: request.fields.length > 0 ? request.fields : fields,
      refuseImpossible: true,
    });
    const { spec } = predicate;
    const all = allTopics(predicate);
    const sinceNs = await live.standsNs();
    this.#access.group(caller, [], { ...live.record, sinceNs, topics: all, filter: spec.filter });
    const change = { group: name, filter: spec.filter, topics: all, fields: spec.fields };
    const entry = { action: 'set_group_filter', peer: caller.peer, identity: caller.identity } as const;
    await this.#trail.record({ ...entry, ...change });
    const record = await live.change(() =>
      this.#store.update(name, (before) => ({
        ...before,
        topics: all,
        filter: spec.filter,
        fields: spec.fields,
        // Nothing that was given by the old filter can be committed any more: it is given again, as far as it matches.
        slices: live.group.inNewEpochs(before.slices).map((slice) => {
          return { ...slice, cursor: rebound(slice.cursor, predicate) };
        }),
      })),
    );
    const slices = record.slices.map(async ({ cursor, committedMs }, slice) => ({
      slice,
      cursor,
      committed: committedMs === 0 ? null : timestamp(committedMs),
      from: await filterBegins(this.#context, live.slice(slice), cursor),
    }));
    return { filter: spec.filter, slices: await Promise.all(slices) };
  }

  #enter(group: string, caller: Caller): void {
    this.#access.enter(caller, { verbs: ['groups'], group });
  }

  #withoutMembers(name: string, what: string): LiveGroup {
    const live = this.#groups.get(name);
    const { size } = live.group;
    if (size === 0) return live;
    const count = size === 1 ? 'a member' : `${size} members`;
    throw new BackplaneError('failed_precondition', `group ${name} has ${count}: it can be ${what} when all have left`);
  }

  #message(live: LiveGroup): GroupMessage {
    const { record, group, lag, aloneSinceMs } = live;
    const untilMs = group.size > 0 ? undefined : cursorsUntilMs({ ...record, aloneSinceMs });
    const isUnattended = aloneSinceMs !== undefined && live.isInForce;
    return {
      name: record.name,
      owner: record.owner,
      filter: record.filter,
      topics: [...record.topics],
      nodes: [...record.globs],
      fields: [...record.fields],
      includeSelf: record.includeSelf,
      slices: record.slices.length,
      created: timestamp(record.createdMs),
      since: nsToTimestamp(record.sinceNs),
      members: [
        ...group.members.map((member) => {
          const slices = group.slots.of(member);
          return memberMessage(member.facts, slices);
        }),
        ...group.others.map((member) => memberMessage(member, slicesOf(record, member))),
      ],
      lagEvents: lag.events,
      lagSince: lag.sinceMs === undefined ? null : timestamp(lag.sinceMs),
      interestUntil: isUnattended ? timestamp(aloneSinceMs + record.interestMs) : null,
      cursorsUntil: untilMs === undefined ? null : timestamp(untilMs),
      expired: this.#groups.isExpired(live),
      unattendedBytes: aloneSinceMs === undefined ? 0 : lag.unattendedBytes,
    };
  }
}

function memberMessage({ id, named, away, slow, client, peer, identity, joinedMs }: MemberFacts, slices: number[]) {
  const idle = slow ? 'slow' : 'standby';
  const state = away ? 'away' : slices.length > 0 && !slow ? 'active' : idle;
  return { member: id, named, client, peer, identity, state, slices, joined: timestamp(joinedMs) };
}

function slicesOf({ slices }: GroupRecord, { id, broker }: RemoteMember): number[] {
  return slices.flatMap(({ holder }, slice) => (holder?.broker === broker && holder.member === id ? [slice] : []));
}

/** By slice, the member that has it. */
function holdersOf({ record, group }: LiveGroup): readonly string[] {
  return record.slices.map(({ holder }, slice) => {
    const other = group.others.find(({ broker, id }) => broker === holder?.broker && id === holder.member);
    return group.slots.owner(slice)?.id ?? other?.id ?? '';
  });
}

function resetTime(to: string, nowNs: bigint): bigint {
  if (to === '') throw invalid('to', 'must be "oldest", "now", a duration back from now ("5m") or a time');
  if (to === 'oldest') return 0n;
  if (to === 'now') return nowNs;
  try {
    return resolveWindow({ since: to, follow: true }, nowNs).sinceNs ?? nowNs;
  } catch (cause) {
    if (!(cause instanceof BackplaneError)) throw cause;
    throw invalid('to', cause.message.replace(/^since: /, ''));
  }
}

function timestamp(ms: number) {
  return nsToTimestamp(msToNs(ms));
}
