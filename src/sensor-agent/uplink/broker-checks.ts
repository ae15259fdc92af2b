/**
 * What an agent believes of a broker: everything that could make it record, send or hold more than it should is checked
 * here before it is used.
 */
import { BackplaneError } from '../../errors.js';
import { EPOCH_MAX, EPOCHS_BEYOND_MAX, LAST_MAX, REFILL_STRETCHES_MAX, SELECTORS_MAX } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { TOPICS } from '../../wire/event/event.js';
import {
  type HistoryQuery__Output,
  type Interest__Output,
  positionFromMessage,
  type TopicAck__Output,
  timestampToNs,
} from '../../wire/messages.js';
import { comparePositions, type Position } from '../../wire/position.js';
import type { HistoryStretch } from '../history/history-window.js';

/** Throws invalid_argument when the window of a history query is out of bounds. */
export function checkedWindow(query: HistoryQuery__Output) {
  if (query.last > LAST_MAX) {
    throw new BackplaneError('invalid_argument', `history_query.last must be at most ${LAST_MAX}, got ${query.last}`);
  }
  return {
    sinceNs: query.since ? timestampToNs('history_query.since', query.since) : undefined,
    untilNs: query.until ? timestampToNs('history_query.until', query.until) : undefined,
    after: query.after ? positionFromMessage('history_query.after', query.after) : undefined,
    upTo: query.upTo ? positionFromMessage('history_query.up_to', query.upTo) : undefined,
    last: query.last,
    within: query.within.length === 0 ? undefined : stretches(query.within),
  };
}

/** Throws invalid_argument unless a history query has one predicate or several different ones, within the bound. */
export function checkedPredicates({ predicates }: HistoryQuery__Output): readonly PredicateSpec[] {
  if (predicates.length === 0 || predicates.length > SELECTORS_MAX) {
    const bound = `1 to ${SELECTORS_MAX}`;
    throw new BackplaneError('invalid_argument', `history_query.predicates must be ${bound}, got ${predicates.length}`);
  }
  const ids = new Set(predicates.map(({ id }) => id));
  if (ids.size < predicates.length) {
    throw new BackplaneError('invalid_argument', 'history_query.predicates must have different ids');
  }
  return predicates.map(predicateSpec);
}

/** By topic, the position up to which frames are durable. Throws invalid_argument for more topics than there are. */
export function acknowledgedTopics(topics: readonly TopicAck__Output[]): Map<string, Position> {
  const topicsMax = Object.keys(TOPICS).length;
  if (topics.length > topicsMax) {
    throw new BackplaneError('invalid_argument', `frame_ack.topics must be at most ${topicsMax}, got ${topics.length}`);
  }
  const covered = new Map<string, Position>();
  for (const { topic, coveredTo } of topics)
    if (coveredTo) covered.set(topic, positionFromMessage('frame_ack.topics.covered_to', coveredTo));
  return covered;
}

/**
 * Throws invalid_argument for an epoch beyond the bound: an epoch is recorded for good, and a huge one would leave no
 * later number.
 */
export function checkedEpoch(epochMin: string): number {
  const epochMax = EPOCH_MAX + EPOCHS_BEYOND_MAX;
  if (Number(epochMin) <= epochMax) return Number(epochMin);
  throw new BackplaneError('invalid_argument', `welcome.epoch_min must be at most ${epochMax}, got ${epochMin}`);
}

/** Throws invalid_argument unless the stretches ascend and are not too many. */
function stretches(messages: HistoryQuery__Output['within']): HistoryStretch[] {
  if (messages.length > REFILL_STRETCHES_MAX) {
    const bound = `at most ${REFILL_STRETCHES_MAX}`;
    throw new BackplaneError('invalid_argument', `history_query.within must be ${bound}, got ${messages.length}`);
  }
  const within: HistoryStretch[] = [];
  for (const { from, to } of messages) {
    if (!from || !to) throw new BackplaneError('invalid_argument', 'history_query.within: from and to must be set');
    const stretch = {
      from: positionFromMessage('history_query.within.from', from),
      to: positionFromMessage('history_query.within.to', to),
    };
    const last = within.at(-1);
    if (comparePositions(stretch.from, stretch.to) > 0 || (last && comparePositions(stretch.from, last.to) < 0)) {
      throw new BackplaneError('invalid_argument', 'history_query.within must ascend');
    }
    within.push(stretch);
  }
  return within;
}

/** Not checked here: a predicate that does not compile is answered with an error. */
export function predicateSpec(message: Interest__Output['predicates'][number]): PredicateSpec {
  return {
    id: BigInt(message.id),
    topics: message.topics,
    filter: message.filter,
    includeSelf: message.includeSelf,
    fields: message.fields,
  };
}
