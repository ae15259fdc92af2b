/**
 * The union of what all subscriptions ask, as claims: a predicate and the nodes
 * it is for. A claim outlives its last subscriber by a grace, so that who
 * reconnects finds the log without a hole.
 */
import { BackplaneError } from '../../errors.js';
import { INTEREST_BYTES_MAX, INTEREST_GRACE_MS, PREDICATES_MAX } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';

export interface SavedClaim extends PredicateSpec {
  readonly globs: readonly string[];
}

interface Claim extends SavedClaim {
  readonly matches: (node: string) => boolean;
  subscribers: number;
  /** Milliseconds since 1970; undefined while somebody is subscribed. */
  expiresMs: number | undefined;
}

export class InterestBook {
  private readonly claims = new Map<string, Claim>();
  /** Grows whenever what is asked changes. */
  generation: number;
  private onChange: () => Promise<void> = async () => undefined;

  constructor(
    saved: { readonly generation: number; readonly claims: readonly SavedClaim[] },
    compileGlobs: (globs: readonly string[]) => (node: string) => boolean,
    nowMs: number,
  ) {
    this.generation = saved.generation;
    for (const claim of saved.claims) {
      const restored = {
        ...claim,
        matches: compileGlobs(claim.globs),
        subscribers: 0,
        expiresMs: nowMs + INTEREST_GRACE_MS,
      };
      this.claims.set(claimKey(claim, claim.globs), restored);
    }
  }

  /** @param onChange called after every change of what is asked of nodes; resolves when it is carried out */
  listen(onChange: () => Promise<void>): void {
    this.onChange = onChange;
  }

  /**
   * Resolves with the release of the claim when nodes have been asked. Rejects with resource_exhausted when they would
   * be asked for more than fits a message.
   */
  async claim(
    predicate: PredicateSpec,
    globs: readonly string[],
    matches: (node: string) => boolean,
  ): Promise<() => void> {
    const key = claimKey(predicate, globs);
    let claim = this.claims.get(key);
    const isNew = claim === undefined;
    if (claim === undefined) {
      this.checkRoom(predicate);
      claim = { ...predicate, globs, matches, subscribers: 0, expiresMs: undefined };
      this.claims.set(key, claim);
    }
    claim.subscribers++;
    claim.expiresMs = undefined;
    if (isNew) await this.changed();
    const held = claim;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      held.subscribers--;
      if (held.subscribers === 0) held.expiresMs = Date.now() + INTEREST_GRACE_MS;
    };
  }

  /** What this node is asked, each predicate once, in order of their ids. */
  forNode(node: string): PredicateSpec[] {
    const byId = new Map<bigint, PredicateSpec>();
    for (const claim of this.claims.values()) if (claim.matches(node)) byId.set(claim.id, claim);
    return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Drops claims whose grace is over. */
  expire(nowMs: number): void {
    let dropped = false;
    for (const [key, { expiresMs }] of this.claims) {
      if (expiresMs === undefined || expiresMs > nowMs) continue;
      this.claims.delete(key);
      dropped = true;
    }
    if (dropped) void this.changed();
  }

  saved(): SavedClaim[] {
    return [...this.claims.values()].map(({ id, topics, filter, includeSelf, fields, globs }) => {
      return { id, topics, filter, includeSelf, fields, globs };
    });
  }

  private changed(): Promise<void> {
    this.generation++;
    return this.onChange();
  }

  private checkRoom(predicate: PredicateSpec): void {
    let bytes = specBytes(predicate);
    for (const claim of this.claims.values()) bytes += specBytes(claim);
    if (this.claims.size >= PREDICATES_MAX || bytes > INTEREST_BYTES_MAX) {
      throw new BackplaneError(
        'resource_exhausted',
        `at most ${PREDICATES_MAX} different predicates of ${INTEREST_BYTES_MAX} bytes together can be in force: ` +
          'share filters between subscriptions, or try again when others have ended',
      );
    }
  }
}

function specBytes({ filter, topics, fields }: PredicateSpec): number {
  let bytes = Buffer.byteLength(filter) + 32;
  for (const text of [...topics, ...fields]) bytes += text.length + 2;
  return bytes;
}

function claimKey({ id }: PredicateSpec, globs: readonly string[]): string {
  return `${id}|${[...globs].sort().join(',')}`;
}
