/**
 * Which members of a group are connected to which brokers. A broker knows its own members by their streams, and those of
 * other brokers by what these say of them.
 */

import type { CommitRelay } from './commit-relay.js';

/** What a broker says of one of its members. */
export interface MemberFacts {
  readonly id: string;
  /** Whether the member chose its id, and keeps its slices for a while when it has no connection. */
  readonly named: boolean;
  /** Grows with every member that joins anywhere: of two that have one name, the later one counts. */
  readonly order: number;
  /** Without a connection, for as long as its name keeps its slices. */
  readonly away: boolean;
  /** It let events uncommitted for too long. */
  readonly slow: boolean;
  readonly joinedMs: number;
  readonly client: string;
  readonly peer: string;
  readonly identity: string;
  /** Members of other brokers that it was before: these brokers may not know yet that it has left. */
  readonly replaces: readonly HolderId[];
}

/** A member, over all brokers. */
export interface HolderId {
  readonly broker: string;
  readonly member: string;
}

export interface RemoteMember extends MemberFacts {
  readonly broker: string;
}

export interface GroupPresence {
  /** This broker's name, which no other has and it has not again when it is started again. */
  readonly broker: string;
  /** Whether the other brokers still take this one for alive: else they give its members' slices to theirs. */
  readonly isCurrent: boolean;

  /** Resolves when isCurrent holds, or the signal is aborted. */
  whenCurrent(signal: AbortSignal): Promise<void>;

  /** Members of the other brokers that are alive. */
  others(group: string): readonly RemoteMember[];

  /**
   * Says which members this broker has. Resolves when all brokers read that before they read what is written from then
   * on, and when this broker has read what others had said until now. Undefined where there are no others.
   */
  tell(group: string, members: readonly MemberFacts[]): Promise<void> | undefined;

  /** How other brokers are asked to commit; undefined where there are none. */
  readonly relay: CommitRelay | undefined;

  /** Calls `listener` with each group whose members() changed. */
  listen(listener: (group: string) => void): () => void;
}

/** Of a broker that has its groups for itself. */
export const ALONE: GroupPresence = {
  broker: '',
  isCurrent: true,
  whenCurrent: () => Promise.resolve(),
  others: () => [],
  tell: () => undefined,
  relay: undefined,
  listen: () => () => undefined,
};

/** Members that are there, of those that brokers say they have: not what was somebody else's earlier connection. */
export function withoutReplaced<Member extends MemberFacts & { readonly broker: string }>(
  members: readonly Member[],
): Member[] {
  const replaced = new Set(members.flatMap(({ replaces }) => replaces.map(holderText)));
  const latest = new Map<string, Member>();
  for (const each of members) {
    if (each.named && isLater(each, latest.get(each.id))) latest.set(each.id, each);
  }
  return members.filter((each) => {
    if (each.named) return latest.get(each.id) === each;
    return !replaced.has(holderText({ broker: each.broker, member: each.id }));
  });
}

function isLater(one: RemoteMember, other: RemoteMember | undefined): boolean {
  if (other === undefined || one.order !== other.order) return one.order > (other?.order ?? -1);
  return one.broker > other.broker;
}

export function holderText({ broker, member }: HolderId): string {
  return `${broker}/${member}`;
}
