/** What frames of an agent say of events, and of the predicates that they match. */
import type { Predicate } from '../../../src/subscriptions/predicate.js';
import type { Match, Shed } from '../../../src/wire/frame/frame.js';
import { encodeHistoryFrame } from '../../../src/wire/frame/history-frame.js';
import type { Recorded } from './test-agent.js';

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

type AskedPredicate = { readonly id: bigint; readonly predicate: Predicate };

function matchesOf(recorded: readonly Recorded[], asked: readonly AskedPredicate[]): Match[] {
  return asked.flatMap(({ id, predicate }) => {
    const indices = recorded.flatMap(({ event }, index) => (predicate.matches(event) ? [index] : []));
    if (indices.length === 0) return [];
    const all = indices.length === recorded.length;
    return [{ predicateId: id, all, indices: all ? [] : indices }];
  });
}

/** An encoded frame of history of events of one topic. `asked`: the predicates of a query that has several. */
export function historyFrameOf(
  topic: string,
  epoch: number,
  recorded: readonly Recorded[],
  asked: readonly AskedPredicate[] = [],
): Buffer {
  return encodeHistoryFrame({
    topic,
    epoch,
    wallNs: BigUint64Array.from(recorded, ({ event }) => event.wallNs),
    matches: matchesOf(recorded, asked),
    incomplete: false,
    ...columns(recorded),
  });
}

export function columns(recorded: readonly Recorded[]) {
  return {
    eventSizes: recorded.map(({ run }) => run.length),
    timesNs: BigUint64Array.from(recorded, ({ event }) => event.position.timeNs),
    lanes: recorded.map(({ event }) => event.position.lane),
    ties: recorded.map(({ event }) => event.position.tie),
    events: Buffer.concat(recorded.map(({ run }) => run)),
  };
}
