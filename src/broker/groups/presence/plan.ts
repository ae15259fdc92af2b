/**
 * What one broker does next with the slices of a group, by what all brokers can read: who holds which slice in which
 * epoch, and which members are where. Each computes the same assignment of slices to all members, and does of it what
 * concerns its own: it gives to them what is free, and has them give up what is others' share.
 */
import { GROUP_REPLACED_MAX } from '../../../limits.js';
import type { SliceEpoch } from '../../../subscriptions/request/group-request.js';
import { type Holder, planMoves } from '../assignment.js';
import type { GroupRecord, SliceRecord } from '../group-record.js';
import type { Member } from '../member.js';
import type { Slots } from '../slots.js';
import { type HolderId, holderText, type RemoteMember } from './group-presence.js';

export interface Situation {
  /** This broker. */
  readonly broker: string;
  readonly slices: GroupRecord['slices'];
  /** What this broker's members have. */
  readonly slots: Slots;
  /** This broker's members, in the order in which they joined. */
  readonly own: readonly Member[];
  /** Those of other brokers. */
  readonly others: readonly RemoteMember[];
}

export interface Plan {
  /** Who gets which slice, of this broker's members. */
  readonly gives: ReadonlyMap<number, Member>;
  /** Of these, slices that another broker's member had. */
  readonly takesOver: ReadonlySet<number>;
  /** Slices that this broker's members give up. */
  readonly revokes: readonly number[];
  /** Slices that are written down as this broker's, and nobody's here. */
  readonly releases: readonly number[];
}

/** What is written of slices. */
export interface SliceWrites {
  readonly gives: ReadonlyMap<number, Member>;
  /** Nobody's from now on. */
  readonly releases: ReadonlySet<number>;
  /** Likewise, in a new epoch. */
  readonly fallen: ReadonlySet<number>;
}

interface Candidate {
  readonly holder: Holder;
  readonly order: number;
  readonly broker: string;
}

export function planFor(situation: Situation): Plan {
  const { broker, slices, slots, own, others } = situation;
  const claims = claimsOf(situation);
  const remote = remoteSlices(situation, claims);
  const isAnyFast =
    own.some(({ isPresent, isSlow }) => isPresent && !isSlow) || others.some(({ away, slow }) => !away && !slow);
  const ownHolders = own.map((member): Candidate => {
    const held = slots.of(member).filter((slice) => !slots.isRevoking(slice));
    const claimed = [...claims].flatMap(([slice, by]) => (by === member ? [slice] : []));
    const takes = member.isPresent && !(isAnyFast && member.isSlow);
    const holder = { id: holderText({ broker, member: member.id }), slices: [...held, ...claimed], takes };
    return { holder, order: member.order, broker };
  });
  const otherHolders = others.map((member): Candidate => {
    const id = holderText({ broker: member.broker, member: member.id });
    const takes = !member.away && !(isAnyFast && member.slow);
    return { holder: { id, slices: remote.get(id) ?? [], takes }, order: member.order, broker: member.broker };
  });
  const candidates = [...ownHolders, ...otherHolders].sort(byOrder).map(({ holder }) => holder);
  const moves = planMoves(slots.count, candidates, slots.busy);
  const given = new Map(slots.reserved.filter(([, owner]) => owner.isPresent));
  for (const [slice, member] of claims) given.set(slice, member);
  const byId = new Map(own.map((member) => [holderText({ broker, member: member.id }), member]));
  for (const [slice, id] of moves.gives) {
    const member = byId.get(id);
    if (member !== undefined) given.set(slice, member);
  }
  const isOwn = (each: SliceRecord | undefined) => each?.holder?.broker === broker;
  const takesOver = [...given.keys()].filter((slice) => slices[slice]?.holder !== undefined && !isOwn(slices[slice]));
  return {
    gives: given,
    takesOver: new Set(takesOver),
    revokes: moves.revokes.filter((slice) => slots.owner(slice) !== undefined),
    releases:
      others.length === 0
        ? []
        : slices.flatMap((each, slice) => {
            return isOwn(each) && slots.owner(slice) === undefined && !given.has(slice) ? [slice] : [];
          }),
  };
}

/** Slices that members of this broker had at another one before: they get them back, wherever that broker is. */
function claimsOf({ broker, slices, slots, own }: Situation): Map<number, Member> {
  const claims = new Map<number, Member>();
  for (const [slice, { holder }] of slices.entries()) {
    if (holder === undefined || holder.broker === broker || slots.owner(slice) !== undefined) continue;
    const member = own.find((each) => each.isPresent && each.was(holder));
    if (member !== undefined) claims.set(slice, member);
  }
  return claims;
}

/** What members of other brokers have, by holder. */
function remoteSlices(
  { broker, slices, slots, others }: Situation,
  claims: ReadonlyMap<number, Member>,
): ReadonlyMap<string, readonly number[]> {
  const there = new Set(others.map((each) => holderText({ broker: each.broker, member: each.id })));
  const held = new Map<string, number[]>();
  for (const [slice, { holder }] of slices.entries()) {
    if (holder === undefined || holder.broker === broker || slots.owner(slice) !== undefined) continue;
    const id = holderText(holder);
    if (there.has(id) && !claims.has(slice)) held.set(id, [...(held.get(id) ?? []), slice]);
  }
  return held;
}

function byOrder(one: Candidate, other: Candidate): number {
  return one.order - other.order || (one.broker < other.broker ? -1 : 1);
}

/** Members of other brokers that the one who joins was: it has their name, or what they had. */
export function wasBefore(
  name: string,
  had: readonly SliceEpoch[],
  slices: readonly SliceRecord[],
  broker: string,
): HolderId[] {
  const epochs = new Map(had.map(({ slice, epoch }) => [slice, epoch]));
  const found = new Map<string, HolderId>();
  for (const [slice, { epoch, holder }] of slices.entries()) {
    if (holder === undefined || holder.broker === broker) continue;
    const isSame = name === '' ? epochs.get(slice) === epoch : holder.member === name;
    if (isSame) found.set(holderText(holder), holder);
  }
  // It was one of them, or a few where it moved several times while brokers died.
  return [...found.values()].slice(0, GROUP_REPLACED_MAX);
}

/** Whether another broker gave the slice to somebody, or took it. */
export function isOtherwiseHeld(one: SliceRecord, other: SliceRecord | undefined): boolean {
  return (
    one.epoch !== other?.epoch ||
    one.holder?.broker !== other.holder?.broker ||
    one.holder?.member !== other.holder?.member
  );
}
