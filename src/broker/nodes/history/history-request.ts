/** A query for the past of one node, as a broker asks it and as it travels. */
import { BackplaneError } from '../../../errors.js';
import { HISTORY_CREDIT_BYTES, REFILL_STRETCHES_MAX, SELECTORS_MAX } from '../../../limits.js';
import type { PredicateSpec } from '../../../subscriptions/predicate.js';
import {
  type HistoryQuery,
  type HistoryQuery__Output,
  nsToTimestamp,
  positionFromMessage,
  positionToMessage,
  timestampToNs,
  WALL_NS_MAX,
} from '../../../wire/messages.js';
import type { Position } from '../../../wire/position.js';

export interface HistoryRequest {
  /** The client that asks. The number of places is limited per client. */
  readonly client: string;
  /** At least one, each once. Where there are several, frames say which of them each event matches. */
  readonly predicates: readonly PredicateSpec[];
  /** Wall nanoseconds by the node's clock, inclusive. */
  readonly sinceNs?: bigint | undefined;
  /** Exclusive. */
  readonly untilNs?: bigint | undefined;
  readonly after?: Position | undefined;
  /** Inclusive. */
  readonly upTo?: Position | undefined;
  /** Only the newest N events; 0 for all. */
  readonly last: number;
  /** How many bytes of frames the node may send at first. */
  readonly creditBytes: number;
  /** Whether there is room for so much more; asked when what was granted is read, if the node is here. */
  readonly grow?: ((bytes: number) => boolean) | undefined;
  /** If set, only events within one of these stretches, which are in ascending order. */
  readonly within?: readonly Stretch[] | undefined;
}

/** Positions in (from, to]. */
export interface Stretch {
  readonly from: Position;
  readonly to: Position;
}

export function historyQueryOf(queryId: number, request: HistoryRequest): HistoryQuery {
  const { predicates, sinceNs, untilNs, after, upTo } = request;
  return {
    queryId,
    predicates: predicates.map(({ id, topics, filter, includeSelf, fields }) => {
      return { id: id.toString(), topics: [...topics], filter, includeSelf, fields: [...fields] };
    }),
    since: sinceNs === undefined ? null : nsToTimestamp(inRange(sinceNs)),
    until: untilNs === undefined ? null : nsToTimestamp(inRange(untilNs)),
    after: after === undefined ? null : positionToMessage(after),
    upTo: upTo === undefined ? null : positionToMessage(upTo),
    last: request.last,
    creditBytes: request.creditBytes,
    within: (request.within ?? []).map((stretch) => {
      return { from: positionToMessage(stretch.from), to: positionToMessage(stretch.to) };
    }),
  };
}

/** What another broker asks. Throws invalid_argument for what no broker asks; filters are left to the node. */
export function historyRequestOf(client: string, query: HistoryQuery__Output): HistoryRequest {
  const { predicates, since, until, after, upTo, last, within } = query;
  const creditBytes = Number(query.creditBytes);
  bounded('predicates', predicates.length, 1, SELECTORS_MAX);
  bounded('credit_bytes', creditBytes, 1, HISTORY_CREDIT_BYTES);
  bounded('within', within.length, 0, REFILL_STRETCHES_MAX);
  return {
    client,
    predicates: predicates.map(({ id, topics, filter, includeSelf, fields }) => {
      return { id: BigInt(id), topics, filter, includeSelf, fields };
    }),
    sinceNs: since === null ? undefined : timestampToNs('since', since),
    untilNs: until === null ? undefined : timestampToNs('until', until),
    after: after === null ? undefined : positionFromMessage('after', after),
    upTo: upTo === null ? undefined : positionFromMessage('up_to', upTo),
    last,
    creditBytes,
    // Without any, all is asked for.
    within: within.length === 0 ? undefined : within.map(stretchOf),
  };
}

function stretchOf({ from, to }: HistoryQuery__Output['within'][number]): Stretch {
  if (from === null || to === null) throw new BackplaneError('invalid_argument', 'within: a stretch has two ends');
  return { from: positionFromMessage('within.from', from), to: positionFromMessage('within.to', to) };
}

function bounded(field: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new BackplaneError('invalid_argument', `${field} of a history query must be ${least} to ${most}, got ${value}`);
}

/** Clamps to what the wire format can hold: a node's clock may be so far off that its window lies outside of that. */
function inRange(wallNs: bigint): bigint {
  if (wallNs < 0n) return 0n;
  return wallNs > WALL_NS_MAX ? WALL_NS_MAX : wallNs;
}
