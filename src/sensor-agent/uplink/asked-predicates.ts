/** What a broker asks of this node in one session: told whole at first, then what has changed. */
import { BackplaneError } from '../../errors.js';
import { PREDICATES_TOLD_MAX } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import type { Interest__Output, InterestChange__Output } from '../../wire/messages.js';
import { predicateSpec } from './broker-checks.js';

export interface AskedInterest {
  readonly generation: string;
  /** Each once. */
  readonly predicates: readonly PredicateSpec[];
}

export class AskedPredicates {
  #generation: string | undefined;
  #byId = new Map<bigint, PredicateSpec>();

  /** Throws invalid_argument for more predicates than any broker asks for. */
  whole({ generation, predicates }: Interest__Output): AskedInterest {
    this.#byId = new Map(predicates.map(predicateSpec).map((spec) => [spec.id, spec]));
    return this.#now(generation);
  }

  /** Throws failed_precondition for a change of what this node was not told, invalid_argument as whole() does. */
  change({ generation, base, added, removed }: InterestChange__Output): AskedInterest {
    if (base !== this.#generation) {
      const told = this.#generation ?? 'none';
      throw new BackplaneError('failed_precondition', `interest_change.base must be ${told}, got ${base}`);
    }
    for (const id of removed) this.#byId.delete(BigInt(id));
    for (const spec of added.map(predicateSpec)) this.#byId.set(spec.id, spec);
    return this.#now(generation);
  }

  #now(generation: string): AskedInterest {
    const { size } = this.#byId;
    if (size > PREDICATES_TOLD_MAX) {
      throw new BackplaneError('invalid_argument', `interest: at most ${PREDICATES_TOLD_MAX} predicates, got ${size}`);
    }
    this.#generation = generation;
    return { generation, predicates: [...this.#byId.values()] };
  }
}
