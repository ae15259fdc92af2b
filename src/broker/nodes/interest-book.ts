/**
 * The union of what all subscriptions ask, as claims: a predicate and the nodes
 * it applies to. A claim stays in force for a grace period after its last
 * subscriber, so that a subscriber that reconnects finds no hole in the log.
 */
import { BackplaneError } from '../../errors.js';
import { INTEREST_BYTES_MAX, INTEREST_GRACE_MS, PREDICATES_MAX } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { type Wanted, WantedByNode } from './asked/wanted.js';
import { claimKey, type SavedClaim, type SavedInterest } from './node-state.js';

/** What nodes are asked for by the subscriptions of one broker, or of all of a cluster. */
export interface Interest {
  /** Grows whenever the set of claims changes. */
  readonly generation: number;
  /** Number of claims. */
  readonly size: number;
  /** @param onChange called after every change of the claims; resolves when nodes have been told */
  listen(onChange: () => Promise<void>): void;
  /**
   * Resolves with a function that releases the claim, once nodes have been told of it. Rejects with resource_exhausted
   * when there would be too many predicates, or more bytes of them than fit in one message.
   */
  claim(predicate: PredicateSpec, globs: readonly string[], matches: (node: string) => boolean): Promise<() => void>;
  /** What this node is asked for: one object for all nodes that are asked the same. */
  forNode(node: string): Wanted;
  /** Drops claims whose grace period has ended. */
  expire(nowMs: number): void;
  /** What this broker has to remember of it by itself. */
  saved(): SavedInterest;
}

interface Claim extends SavedClaim {
  readonly since: number;
  readonly matches: (node: string) => boolean;
  subscribers: number;
  /** End of the grace period in milliseconds since 1970; undefined while the claim has a subscriber. */
  expiresMs: number | undefined;
}

export class InterestBook implements Interest {
  readonly #claims = new Map<string, Claim>();
  /** Of all claims: see claimBytes(). */
  #bytes = 0;
  readonly #wanted = new WantedByNode<Claim>();
  /** Incremented whenever the set of claims changes. */
  generation: number;
  #onChange: () => Promise<void> = async () => undefined;

  constructor(
    saved: SavedInterest,
    compileGlobs: (globs: readonly string[]) => (node: string) => boolean,
    nowMs: number,
  ) {
    this.generation = saved.generation;
    for (const [key, claim] of saved.claims) {
      const restored = {
        ...claim,
        since: claim.since ?? 0,
        matches: compileGlobs(claim.globs),
        subscribers: 0,
        expiresMs: nowMs + INTEREST_GRACE_MS,
      };
      this.#add(key, restored);
    }
  }

  /** @param onChange called after every change of the claims; resolves when nodes have been told */
  listen(onChange: () => Promise<void>): void {
    this.#onChange = onChange;
  }

  /**
   * Resolves with a function that releases the claim, once nodes have been told of it. Rejects with resource_exhausted
   * when there would be too many predicates, or more bytes of them than fit in one message.
   */
  async claim(
    predicate: PredicateSpec,
    globs: readonly string[],
    matches: (node: string) => boolean,
  ): Promise<() => void> {
    const key = claimKey(predicate.id, globs);
    let claim = this.#claims.get(key);
    const isNew = claim === undefined;
    if (claim === undefined) {
      this.#checkRoom(predicate, globs);
      // Told with the next generation, at the earliest.
      claim = { ...predicate, globs, matches, since: this.generation + 1, subscribers: 0, expiresMs: undefined };
      this.#add(key, claim);
    }
    claim.subscribers++;
    claim.expiresMs = undefined;
    if (isNew) await this.#changed();
    const held = claim;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      held.subscribers--;
      if (held.subscribers === 0) held.expiresMs = Date.now() + INTEREST_GRACE_MS;
    };
  }

  /** Number of claims. */
  get size(): number {
    return this.#claims.size;
  }

  forNode(node: string): Wanted {
    return this.#wanted.of(node);
  }

  /** Drops claims whose grace period has ended. */
  expire(nowMs: number): void {
    let dropped = false;
    for (const [key, claim] of this.#claims) {
      const { expiresMs } = claim;
      if (expiresMs === undefined || expiresMs > nowMs) continue;
      this.#claims.delete(key);
      this.#bytes -= claimBytes(claim);
      this.#wanted.remove(key, claim);
      dropped = true;
    }
    if (dropped) void this.#changed();
  }

  saved(): SavedInterest {
    const claims = new Map<string, SavedClaim>();
    for (const [key, { id, topics, filter, includeSelf, fields, globs, since }] of this.#claims) {
      claims.set(key, { id, topics, filter, includeSelf, fields, globs, since });
    }
    return { generation: this.generation, claims };
  }

  #add(key: string, claim: Claim): void {
    this.#claims.set(key, claim);
    this.#bytes += claimBytes(claim);
    this.#wanted.add(key, claim);
  }

  #changed(): Promise<void> {
    this.generation++;
    return this.#onChange();
  }

  #checkRoom(predicate: PredicateSpec, globs: readonly string[]): void {
    const bytes = this.#bytes + claimBytes({ ...predicate, globs });
    if (this.#claims.size >= PREDICATES_MAX || bytes > INTEREST_BYTES_MAX) {
      throw new BackplaneError(
        'resource_exhausted',
        `at most ${PREDICATES_MAX} different predicates of ${INTEREST_BYTES_MAX} bytes together can be in force: ` +
          'share filters between subscriptions, or try again when others have ended',
      );
    }
  }
}

/** What a claim takes of INTEREST_BYTES_MAX. */
export function claimBytes({ filter, topics, fields, globs }: SavedClaim): number {
  let bytes = Buffer.byteLength(filter) + 32;
  for (const text of [...topics, ...fields, ...globs]) bytes += text.length + 2;
  return bytes;
}
