/** The interest in this node: the predicates of one generation, arranged by event type. */
import { asBackplaneError } from '../../errors.js';
import { PREDICATES_MAX, RAW_TEST_CONDITIONS_MAX } from '../../limits.js';
import { compilePredicate, type Predicate, type PredicateSpec } from '../../subscriptions/predicate.js';
import { PredicateIndex } from '../../subscriptions/predicate-index.js';
import type { RawExpr } from '../../subscriptions/pushdown/raw-expr.js';
import type { BusEvent } from '../../wire/event/event.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';
import type { NamedContext, TimelineInterest } from '../timeline/timeline-sink.js';
import { entryTest } from './entry-test.js';
import { USER_NAMES } from './user-names.js';

export class Interest implements TimelineInterest {
  readonly topics: ReadonlySet<string>;
  readonly named: NamedContext | undefined;
  /** Predicates that this agent cannot evaluate, and why. */
  readonly errors: readonly { id: bigint; message: string }[];
  /** One predicate of each kind: those that differ only in their fields match alike. */
  #predicates: Predicate[] = [];
  /** All predicates of a kind, by the one that stands for them. */
  #alike = new Map<Predicate, Predicate[]>();
  #byType = new Map<string, readonly Predicate[]>();
  #indices = new Map<string, PredicateIndex>();

  constructor(
    readonly generation: bigint,
    requests: readonly PredicateSpec[],
    hostName: string,
    hostLabels: readonly string[] = [],
  ) {
    const errors: { id: bigint; message: string }[] = [];
    const kinds = new Map<string, Predicate[]>();
    // A repeated predicate would have two match lists in a frame, which makes the frame invalid.
    const distinct = [...new Map(requests.map((request) => [request.id, request])).values()];
    for (const request of distinct.slice(0, PREDICATES_MAX)) {
      try {
        const predicate = compilePredicate({ ...request, hostName, hostLabels });
        if (predicate.id !== request.id) throw new Error('this agent reads the filter differently: versions differ');
        const alike = kinds.get(kindOf(predicate));
        if (alike) alike.push(predicate);
        else kinds.set(kindOf(predicate), [predicate]);
      } catch (cause) {
        errors.push({ id: request.id, message: asBackplaneError(cause).message });
      }
    }
    for (const { id } of distinct.slice(PREDICATES_MAX))
      errors.push({ id, message: `over ${PREDICATES_MAX} predicates` });
    for (const alike of kinds.values()) {
      this.#predicates.push(alike[0]!);
      this.#alike.set(alike[0]!, alike);
    }
    this.errors = errors;
    this.topics = new Set(this.#predicates.flatMap((predicate) => predicate.topics));
    const all = [...this.#alike.values()].flat();
    this.named = all.some((predicate) => predicate.namesMore) ? USER_NAMES : undefined;
  }

  get empty(): boolean {
    return this.#predicates.length === 0;
  }

  wants(type: string): boolean {
    return this.#candidates(type).length > 0;
  }

  /** Which entries of a trace event any predicate may match: see TimelineInterest. */
  entryTest(format: EventFormat): EntryTest | boolean {
    return entryTest(format, (type) => this.#candidates(type));
  }

  /**
   * Conditions of which a raw entry of a type must meet at least one to be asked for; undefined when too many
   * predicates ask.
   */
  conditions(type: string): readonly RawExpr[] | undefined {
    const candidates = this.#candidates(type);
    if (candidates.length > RAW_TEST_CONDITIONS_MAX) return undefined;
    return candidates.map((predicate) => predicate.rawForm(type).expr);
  }

  /** Whether a type is asked for by a predicate that `before` did not have. */
  asksMore(type: string, before: Interest | undefined): boolean {
    const known = new Set(before === undefined ? [] : before.#candidates(type).map(kindOf));
    return this.#candidates(type).some((predicate) => !known.has(kindOf(predicate)));
  }

  match(event: BusEvent): readonly Predicate[] {
    let index = this.#indices.get(event.type);
    if (!index) {
      index = new PredicateIndex(this.#candidates(event.type));
      this.#indices.set(event.type, index);
    }
    const matched = index.match(event);
    // Mostly everybody asks alike.
    if (matched.length === 1) return this.#alike.get(matched[0]!)!;
    return matched.flatMap((predicate) => this.#alike.get(predicate)!);
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

function kindOf({ topics, canonical, includeSelf }: Predicate): string {
  return `${includeSelf} ${topics.join()} ${canonical}`;
}
