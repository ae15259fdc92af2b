/** What is asked of this node: the predicates of one generation, arranged by event type. */
import { asBackplaneError } from '../errors.js';
import { PREDICATES_MAX, RAW_TEST_CONDITIONS_MAX } from '../limits.js';
import { compilePredicate, type Predicate } from '../subscriptions/predicate.js';
import { PredicateIndex } from '../subscriptions/predicate-index.js';
import type { RawExpr } from '../subscriptions/pushdown/raw-expr.js';
import type { BusEvent } from '../wire/event.js';
import { entryTest } from './match/entry-test.js';
import type { EventFormat } from './source/tracefs/format.js';
import type { EntryTest } from './source/tracefs/page.js';

/** A predicate as the broker sends it. */
export interface PredicateRequest {
  readonly id: bigint;
  readonly topics: readonly string[];
  readonly filter: string;
  readonly includeSelf: boolean;
}

export class Interest {
  readonly topics: ReadonlySet<string>;
  /** Predicates that this agent cannot evaluate, and why. */
  readonly errors: readonly { id: bigint; message: string }[];
  #predicates: Predicate[] = [];
  #byType = new Map<string, readonly Predicate[]>();
  #indices = new Map<string, PredicateIndex>();

  constructor(
    readonly generation: bigint,
    requests: readonly PredicateRequest[],
    hostName: string,
  ) {
    const errors: { id: bigint; message: string }[] = [];
    for (const request of requests.slice(0, PREDICATES_MAX)) {
      try {
        const predicate = compilePredicate({ ...request, hostName });
        if (predicate.id !== request.id) throw new Error('this agent reads the filter differently: versions differ');
        this.#predicates.push(predicate);
      } catch (cause) {
        errors.push({ id: request.id, message: asBackplaneError(cause).message });
      }
    }
    for (const { id } of requests.slice(PREDICATES_MAX))
      errors.push({ id, message: `over ${PREDICATES_MAX} predicates` });
    this.errors = errors;
    this.topics = new Set(this.#predicates.flatMap((predicate) => predicate.topics));
  }

  get empty(): boolean {
    return this.#predicates.length === 0;
  }

  wants(type: string): boolean {
    return this.#candidates(type).length > 0;
  }

  /** Which entries of a trace event any predicate may match: see TimelineSink. */
  entryTest(format: EventFormat): EntryTest | boolean {
    return entryTest(format, (type) => this.#candidates(type));
  }

  /** What raw entries of a type must hold to be asked for, any of them; undefined where too many ask. */
  conditions(type: string): readonly RawExpr[] | undefined {
    const candidates = this.#candidates(type);
    if (candidates.length > RAW_TEST_CONDITIONS_MAX) return undefined;
    return candidates.map((predicate) => predicate.rawForm(type).expr);
  }

  /** Whether a type is asked for by a predicate that `before` did not have. */
  asksMore(type: string, before: Interest | undefined): boolean {
    const known = new Set(before === undefined ? [] : before.#candidates(type).map(({ id }) => id));
    return this.#candidates(type).some(({ id }) => !known.has(id));
  }

  match(event: BusEvent): Predicate[] {
    let index = this.#indices.get(event.type);
    if (!index) {
      index = new PredicateIndex(this.#candidates(event.type));
      this.#indices.set(event.type, index);
    }
    return index.match(event);
  }

  #candidates(type: string): readonly Predicate[] {
    let candidates = this.#byType.get(type);
    if (!candidates) {
      candidates = this.#predicates.filter((predicate) => predicate.mayMatchType(type));
      this.#byType.set(type, candidates);
    }
    return candidates;
  }
}
