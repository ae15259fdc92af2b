/**
 * What each node is asked, by the claims that concern it. Most claims concern the same nodes, so nodes are told apart only
 * by the sets of globs that match them: all that match the same have one `Wanted`, and a change is worked out once for all
 * of them.
 */
import { NODES_MAX } from '../../../limits.js';
import type { PredicateSpec } from '../../../subscriptions/predicate.js';

/** What differs between two of them. */
export interface WantedChange {
  readonly added: readonly PredicateSpec[];
  readonly removed: readonly bigint[];
}

/** The predicates that a node is asked for. Never changes. */
export class Wanted {
  readonly #since: ReadonlyMap<bigint, number>;
  #last: { readonly before: Wanted; readonly change: WantedChange } | undefined;
  #bySince: readonly (readonly [id: bigint, since: number])[] | undefined;

  /**
   * @param predicates each once, in order of their ids
   * @param since by id, the change of the claims since which it has been asked for without a break, as far as is known
   */
  constructor(
    readonly predicates: readonly PredicateSpec[],
    since: ReadonlyMap<bigint, number>,
  ) {
    this.#since = since;
  }

  has(id: bigint): boolean {
    return this.#since.has(id);
  }

  /** The change of the claims since which it has been asked for without a break; undefined: it is not. */
  since(id: bigint): number | undefined {
    return this.#since.get(id);
  }

  /** The longest asked for first. */
  get bySince(): readonly (readonly [id: bigint, since: number])[] {
    this.#bySince ??= [...this.#since].sort(([, a], [, b]) => a - b);
    return this.#bySince;
  }

  /** What has changed since `before`. Nodes mostly come from the same one, so the last answer is kept. */
  changeFrom(before: Wanted): WantedChange {
    if (this.#last?.before !== before) {
      const added = this.predicates.filter(({ id }) => !before.has(id));
      const removed = before.predicates.flatMap(({ id }) => (this.has(id) ? [] : [id]));
      this.#last = { before, change: { added, removed } };
    }
    return this.#last.change;
  }
}

/** What a node is asked of which nothing is known. */
export const NOTHING_WANTED = new Wanted([], new Map());

interface Claimed extends PredicateSpec {
  readonly globs: readonly string[];
  /** The change of the claims by which it was made. */
  readonly since: number;
  readonly matches: (node: string) => boolean;
}

/** The claims with the same globs. */
interface Group<Claim> {
  /** Grows from group to group. */
  readonly number: number;
  readonly matches: (node: string) => boolean;
  readonly claims: Map<string, Claim>;
  readonly byId: Map<bigint, Set<Claim>>;
}

/** The groups that concern one node, of those up to a number. */
interface Concerned<Claim> {
  groups: readonly Group<Claim>[];
  testedTo: number;
  /** As of which number of changes of the groups. */
  asOf: number;
  /** Of the groups: nodes with the same are asked the same. */
  key: string;
}

export class WantedByNode<Claim extends Claimed> {
  readonly #groups = new Map<string, Group<Claim>>();
  #lastNumber = 0;
  /** Groups that came and went. */
  #changes = 0;
  readonly #nodes = new Map<string, Concerned<Claim>>();
  /** By key. */
  readonly #wanted = new Map<string, { readonly groups: readonly Group<Claim>[]; readonly wanted: Wanted }>();

  /** @param key of the claim, under which another one must have been removed before */
  add(key: string, claim: Claim): void {
    const globs = globsKey(claim);
    let group = this.#groups.get(globs);
    if (group === undefined) {
      group = { number: ++this.#lastNumber, matches: claim.matches, claims: new Map(), byId: new Map() };
      this.#groups.set(globs, group);
      this.#changes++;
    }
    group.claims.set(key, claim);
    const same = group.byId.get(claim.id);
    if (same) same.add(claim);
    else group.byId.set(claim.id, new Set([claim]));
    this.#changed(group);
  }

  remove(key: string, claim: Claim): void {
    const globs = globsKey(claim);
    const group = this.#groups.get(globs);
    if (group === undefined || !group.claims.delete(key)) return;
    const same = group.byId.get(claim.id)!;
    same.delete(claim);
    if (same.size === 0) group.byId.delete(claim.id);
    if (group.claims.size === 0) {
      this.#groups.delete(globs);
      this.#changes++;
    }
    this.#changed(group);
  }

  /** The same object as for any other node that is asked the same, as long as nothing that it is asked changes. */
  of(node: string): Wanted {
    const { groups, key } = this.#concerned(node);
    let known = this.#wanted.get(key);
    if (known === undefined) {
      known = { groups, wanted: wantedOf(groups) };
      this.#wanted.set(key, known);
    }
    return known.wanted;
  }

  #changed(group: Group<Claim>): void {
    for (const [key, { groups }] of this.#wanted) if (groups.includes(group)) this.#wanted.delete(key);
  }

  #concerned(node: string): Concerned<Claim> {
    let known = this.#nodes.get(node);
    if (known === undefined) {
      // Of nodes that were forgotten nobody says so here.
      if (this.#nodes.size >= 2 * NODES_MAX) this.#nodes.clear();
      known = { groups: [], testedTo: 0, asOf: -1, key: '' };
      this.#nodes.set(node, known);
    }
    if (known.asOf === this.#changes) return known;
    const { testedTo } = known;
    const left = known.groups.filter(({ claims }) => claims.size > 0);
    const later = [...this.#groups.values()].filter(({ number, matches }) => number > testedTo && matches(node));
    known.groups = [...left, ...later];
    known.testedTo = this.#lastNumber;
    known.asOf = this.#changes;
    known.key = known.groups.map(({ number }) => number).join();
    return known;
  }
}

function wantedOf<Claim extends Claimed>(groups: readonly Group<Claim>[]): Wanted {
  const byId = new Map<bigint, PredicateSpec>();
  const since = new Map<bigint, number>();
  for (const group of groups) {
    for (const [id, claims] of group.byId) {
      for (const claim of claims) {
        byId.set(id, claim);
        since.set(id, Math.min(since.get(id) ?? claim.since, claim.since));
      }
    }
  }
  return new Wanted(
    [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
    since,
  );
}

function globsKey({ globs }: Claimed): string {
  return [...globs].sort().join('\n');
}
