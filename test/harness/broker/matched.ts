/** What a frame of an agent says of the events that predicates match, each of them matched once. */
import type { Predicate } from '../../../src/subscriptions/predicate.js';
import type { Match, Shed } from '../../../src/wire/frame/frame.js';

/** Of an event, the predicates that it matches. */
export interface Matched {
  readonly predicates: readonly Predicate[];
}

/** The events by the set of predicates that each matches. */
export function shedOf(due: readonly Matched[]): Shed[] {
  const sets = new Map<string, { predicateIds: bigint[]; events: number }>();
  for (const { predicates } of due) {
    const predicateIds = predicates.map(({ id }) => id);
    const set = sets.get(predicateIds.join()) ?? { predicateIds, events: 0 };
    set.events++;
    sets.set(predicateIds.join(), set);
  }
  return [...sets.values()];
}

export function matchesIn(sent: readonly Matched[]): Match[] {
  const byId = new Map<bigint, number[]>();
  for (const [index, { predicates }] of sent.entries()) {
    for (const { id } of predicates) {
      const indices = byId.get(id);
      if (indices) indices.push(index);
      else byId.set(id, [index]);
    }
  }
  return Array.from(byId, ([predicateId, indices]) => {
    const all = indices.length === sent.length;
    return { predicateId, all, indices: all ? [] : indices };
  });
}
