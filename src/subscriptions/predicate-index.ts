/**
 * Matches many predicates against one event: predicates that differ only in a constant are found by one look-up of the
 * event's value, and only those are evaluated.
 */
import type { BusEvent } from '../wire/event/event.js';
import type { FieldConstant, RequiredEquality } from './equality.js';
import type { Predicate } from './predicate.js';

const NONE: readonly Predicate[] = [];
/** A smaller group is as quick to evaluate directly. */
const GROUP_MIN = 4;
/** Events are sorted by type before they come here, so these fields distinguish nothing. */
const OF_TYPE: ReadonlySet<string> = new Set(['event.type', 'event.topic']);

/** The constants that predicates compare a field with. */
interface Constants {
  predicates: number;
  /** Number of predicates of each. */
  readonly byValue: Map<FieldConstant, number>;
}

interface Group {
  readonly read: (event: BusEvent) => FieldConstant;
  readonly byValue: ReadonlyMap<FieldConstant, readonly Predicate[]>;
}

export class PredicateIndex {
  readonly #groups: readonly Group[];
  readonly #others: readonly Predicate[];
  readonly #all: readonly Predicate[];

  constructor(predicates: readonly Predicate[]) {
    this.#all = predicates;
    const fields = new Map<string, Constants>();
    for (const predicate of predicates) {
      for (const { field, values } of equalitiesOf(predicate)) {
        const constants = fields.get(field.name) ?? { predicates: 0, byValue: new Map() };
        fields.set(field.name, constants);
        constants.predicates++;
        for (const value of values) constants.byValue.set(value, (constants.byValue.get(value) ?? 0) + 1);
      }
    }
    const members = new Map<string, { readonly equality: RequiredEquality; readonly predicate: Predicate }[]>();
    const others: Predicate[] = [];
    for (const predicate of predicates) {
      const equality = mostTelling(equalitiesOf(predicate), fields);
      if (!equality) others.push(predicate);
      else members.set(equality.field.name, [...(members.get(equality.field.name) ?? []), { equality, predicate }]);
    }
    this.#others = others;
    this.#groups = [...members.values()].map((each) => groupOf(each));
  }

  /** The predicates that match the event. For each event that is told: mostly there is one, and one array is made. */
  match(event: BusEvent): readonly Predicate[] {
    // Names that are not known may be equal to any.
    if (event.container?.unresolved) return this.#all.filter((predicate) => predicate.matches(event));
    let matched: Predicate[] | undefined;
    const take = (predicate: Predicate) => {
      if (!predicate.matches(event)) return;
      if (matched === undefined) matched = [predicate];
      else matched.push(predicate);
    };
    for (const predicate of this.#others) take(predicate);
    for (const { read, byValue } of this.#groups)
      for (const predicate of byValue.get(read(event)) ?? NONE) take(predicate);
    return matched ?? NONE;
  }
}

function equalitiesOf(predicate: Predicate): readonly RequiredEquality[] {
  return predicate.equalities.filter(({ field }) => !OF_TYPE.has(field.name));
}

/**
 * Of those whose fields enough predicates ask for, the one of whose constants the fewest predicates ask for: many filters
 * may differ in a path and agree in a user.
 */
function mostTelling(
  equalities: readonly RequiredEquality[],
  fields: ReadonlyMap<string, Constants>,
): RequiredEquality | undefined {
  let best: RequiredEquality | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const equality of equalities) {
    const { predicates, byValue } = fields.get(equality.field.name)!;
    const together = Math.max(...equality.values.map((value) => byValue.get(value)!));
    if (predicates < GROUP_MIN || together >= fewest) continue;
    best = equality;
    fewest = together;
  }
  return best;
}

function groupOf(members: readonly { readonly equality: RequiredEquality; readonly predicate: Predicate }[]): Group {
  const byValue = new Map<FieldConstant, Predicate[]>();
  for (const { equality, predicate } of members) {
    for (const value of equality.values) {
      const known = byValue.get(value);
      if (known) known.push(predicate);
      else byValue.set(value, [predicate]);
    }
  }
  return { read: members[0]!.equality.field.read as Group['read'], byValue };
}
