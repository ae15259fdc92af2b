/**
 * The union of what the subscriptions of all brokers ask, as claims in the shared state: a predicate, the nodes it applies
 * to, and the broker that has the subscribers.
 *
 * claim.ID.GLOBS.BROKER -> SavedClaim with `broker`
 *
 * A claim outlives its last subscriber by a grace period, and so do the claims of a broker its lease: a subscriber that
 * comes back, at whichever broker, finds no hole in the log. Then its own broker deletes it, or any other one.
 */
import * as z from 'zod';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import { INTEREST_BYTES_MAX, INTEREST_GRACE_MS, PREDICATES_MAX } from '../../../limits.js';
import type { PredicateSpec } from '../../../subscriptions/predicate.js';
import { keptNodeGlobs } from '../../../subscriptions/request/node-globs.js';
import type { SharedState, StateChange } from '../../cluster/shared-state.js';
import { type Wanted, WantedByNode } from '../asked/wanted.js';
import { claimBytes, type Interest } from '../interest-book.js';
import { checkNodeState, claimKey, type SavedClaim, type SavedInterest, savedClaim } from '../node-state.js';

const PREFIX = 'claim.';
const brokerSchema = z.object({ broker: z.string().min(1) });
/** Brokers that claim at once do not see each other, so somewhat more than each allows may be in force. */
const EXCESS = 2;

interface Claim extends SavedClaim {
  readonly key: string;
  readonly revision: number;
  /** That revision: claims that ended are not known any more, so it may have been asked for longer. */
  readonly since: number;
  readonly broker: string;
  readonly matches: (node: string) => boolean;
}

/** What this broker's subscribers hold. */
interface Held {
  subscribers: number;
  /** When its grace period ends; undefined while it has subscribers. */
  endsMs: number | undefined;
  /** Resolves when it is in force. */
  made: Promise<void>;
  making: boolean;
  /** Not to be made again before, by the clock; after a try for which there was no room. */
  againMs: number;
  /** Undefined: nobody has claimed it since this broker was started. */
  claim: { readonly predicate: PredicateSpec; readonly globs: readonly string[] } | undefined;
}

export interface ClusterInterestOptions {
  readonly state: SharedState;
  /** This broker's name. */
  readonly broker: string;
  /** Whether a broker has its lease. */
  readonly alive: (broker: string) => boolean;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
  readonly warn: (message: string) => void;
}

/** Throws for what no broker writes. */
export function checkClaim(key: string, value: unknown): void {
  brokerSchema.parse(value);
  checkNodeState(key, value);
}

export class ClusterInterest implements Interest {
  /** Grows with every change of the claims; the state's revision, unless that went back in time. */
  generation = 0;
  readonly #claims = new Map<string, Claim>();
  readonly #wanted = new WantedByNode<Claim>();
  /** What is claimed, by claimKey(), and by how many brokers; and the bytes of that. */
  readonly #distinct = new Map<string, number>();
  #bytes = 0;
  readonly #held = new Map<string, Held>();
  /** Keys of claims that are being deleted. */
  readonly #ending = new Set<string>();
  /** Since when brokers that have claims are gone. */
  readonly #gone = new Map<string, number>();
  #onChange: () => Promise<void> = async () => undefined;
  readonly #options: ClusterInterestOptions;

  constructor(options: ClusterInterestOptions) {
    this.#options = options;
    options.state.watch(PREFIX, (change) => this.#changed(change));
    // What a broker of this name claimed before it was started again, nobody here holds yet.
    const endsMs = options.now() + INTEREST_GRACE_MS;
    for (const { key, broker } of this.#claims.values()) {
      if (broker === options.broker) this.#held.set(key, { ...newlyHeld(), endsMs });
    }
  }

  /** @param onChange called after every change of the claims; resolves when this broker's nodes have been told */
  listen(onChange: () => Promise<void>): void {
    this.#onChange = onChange;
  }

  /**
   * Resolves with a function that releases the claim, once all brokers will read it. Rejects with resource_exhausted when
   * there would be too many predicates, or more bytes of them than fit in one message.
   */
  async claim(predicate: PredicateSpec, globs: readonly string[]): Promise<() => void> {
    const key = this.#keyOf(claimKey(predicate.id, globs));
    const own = this.#held.get(key) ?? newlyHeld();
    this.#held.set(key, own);
    own.claim = { predicate, globs };
    if (!own.making && this.#isLost(key)) this.#begin(key, own);
    own.subscribers++;
    own.endsMs = undefined;
    try {
      await own.made;
    } catch (cause) {
      own.subscribers--;
      if (own.subscribers === 0 && this.#held.get(key) === own) this.#held.delete(key);
      throw cause;
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      own.subscribers--;
      if (own.subscribers === 0) own.endsMs = this.#options.now() + INTEREST_GRACE_MS;
    };
  }

  /** Claims are in the state, which all brokers keep together. */
  saved(): SavedInterest {
    return { generation: this.generation, claims: new Map() };
  }

  /** Number of claims, of all brokers. */
  get size(): number {
    return this.#claims.size;
  }

  forNode(node: string): Wanted {
    return this.#wanted.of(node);
  }

  /**
   * Deletes this broker's claims whose grace period has ended, and those of brokers that are gone for longer than one; makes
   * those again that others deleted when they took this broker for gone, or that a power cut took. Resolves in any case.
   */
  async expire(): Promise<void> {
    const nowMs = this.#options.now();
    for (const [key, held] of this.#held) {
      const { endsMs, making, againMs } = held;
      if (endsMs === undefined && !making && againMs <= nowMs && this.#isLost(key)) this.#makeAgain(key, held, nowMs);
      if (endsMs !== undefined && endsMs <= nowMs) this.#held.delete(key);
    }
    this.#review(nowMs);
    // While NATS is away ending one takes longer than until the next call, and may fail.
    const over = [...this.#claims.values()].filter(
      (claim) => this.#isOver(claim, nowMs) && !this.#ending.has(claim.key),
    );
    await Promise.all(over.map((claim) => this.#end(claim)));
  }

  #isOver({ key, broker }: Claim, nowMs: number): boolean {
    if (broker === this.#options.broker) return !this.#held.has(key);
    const sinceMs = this.#gone.get(broker);
    return sinceMs !== undefined && sinceMs + INTEREST_GRACE_MS <= nowMs;
  }

  async #end({ key, revision }: Claim): Promise<void> {
    this.#ending.add(key);
    // Another broker may have been first, or the claim was made anew.
    await this.#options.state.delete(key, revision).catch(() => undefined);
    this.#ending.delete(key);
  }

  #isLost(key: string): boolean {
    return this.#options.state.get(key) === undefined;
  }

  #begin(key: string, held: Held): void {
    const { predicate, globs } = held.claim!;
    held.making = true;
    held.made = this.#make(key, predicate, globs).finally(() => {
      held.making = false;
    });
  }

  #makeAgain(key: string, held: Held, nowMs: number): void {
    this.#begin(key, held);
    held.made.catch((cause: Error) => {
      // Others have to end first. What NATS could not say is asked again at once.
      if (asBackplaneError(cause).code === 'resource_exhausted') held.againMs = nowMs + INTEREST_GRACE_MS;
      this.#options.warn(`${key} was lost, and cannot be claimed again yet: ${cause.message}`);
    });
  }

  /** Which of the brokers that have claims are gone, and since when. */
  #review(nowMs: number): void {
    const { alive, broker: own } = this.#options;
    const brokers = new Set(Array.from(this.#claims.values(), ({ broker }) => broker));
    for (const broker of this.#gone.keys()) if (!brokers.has(broker)) this.#gone.delete(broker);
    for (const broker of brokers) {
      if (broker === own || alive(broker)) this.#gone.delete(broker);
      else if (!this.#gone.has(broker)) this.#gone.set(broker, nowMs);
    }
  }

  async #make(key: string, { id, topics, filter, includeSelf, fields }: PredicateSpec, globs: readonly string[]) {
    const { state, broker } = this.#options;
    const claim = { id, topics, filter, includeSelf, fields, globs };
    if (!this.#hasRoom(claim, 1)) {
      throw new BackplaneError(
        'resource_exhausted',
        `at most ${PREDICATES_MAX} different predicates of ${INTEREST_BYTES_MAX} bytes together can be in force: ` +
          'share filters between subscriptions, or try again when others have ended',
      );
    }
    await state.put(key, { ...claim, id: id.toString(), broker });
    await this.#onChange();
  }

  #keyOf(claim: string): string {
    return `${claim}.${this.#options.broker}`;
  }

  /** Of several brokers that claim the same, one counts. */
  #hasRoom(claim: SavedClaim, times: number): boolean {
    const distinct = this.#distinct.has(claimKey(claim.id, claim.globs)) ? 0 : 1;
    const bytes = this.#bytes + distinct * claimBytes(claim);
    return this.#distinct.size + distinct <= PREDICATES_MAX * times && bytes <= INTEREST_BYTES_MAX * times;
  }

  /** @param sign 1 for a claim that comes, -1 for one that goes */
  #count(claim: SavedClaim, sign: 1 | -1): void {
    const key = claimKey(claim.id, claim.globs);
    const brokers = (this.#distinct.get(key) ?? 0) + sign;
    if (brokers === 0) this.#distinct.delete(key);
    else this.#distinct.set(key, brokers);
    if (brokers === 0 || (brokers === 1 && sign === 1)) this.#bytes += sign * claimBytes(claim);
  }

  #changed({ key, value, revision }: StateChange): void {
    const known = this.#claims.get(key);
    if (value === undefined) {
      if (known === undefined) return;
      this.#claims.delete(key);
      this.#wanted.remove(key, known);
    } else {
      const claim = savedClaim(value);
      const { broker } = brokerSchema.parse(value);
      if (known === undefined && !this.#hasRoom(claim, EXCESS)) {
        this.#options.warn(
          `${key} is not in force: there are more than ${EXCESS * PREDICATES_MAX} predicates, or too long ones`,
        );
        return;
      }
      const made = { ...claim, key, revision, since: revision, broker, matches: keptNodeGlobs(claim.globs).matches };
      if (known !== undefined) this.#wanted.remove(key, known);
      this.#claims.set(key, made);
      this.#wanted.add(key, made);
      this.#count(claim, 1);
    }
    if (known !== undefined) this.#count(known, -1);
    this.generation = Math.max(this.generation + 1, revision);
    void this.#onChange();
  }
}

function newlyHeld(): Held {
  return {
    ...{ subscribers: 0, endsMs: undefined, made: Promise.resolve(), making: false },
    ...{ againMs: Number.NEGATIVE_INFINITY, claim: undefined },
  };
}
