/** Bounds of history queries, which agents keep to and by which brokers share queries out and wait for them. */
import assert from 'node:assert/strict';
import { KiB, MiB } from './units.js';

/** Credit of one history query, and of all queries of one subscription together. */
export const HISTORY_CREDIT_BYTES = 1 * MiB;
export const HISTORY_FRAME_BYTES = 64 * KiB;
/**
 * The least first credit of a query, and the least that a node gathers into a frame. A replay begins when each node has
 * sent its first frame: of 10,000 nodes these are 40 MiB.
 */
export const HISTORY_FRAME_BYTES_MIN = 4 * KiB;
/** Match indices of all predicates of a query in one frame, together: at most two bytes each. */
export const HISTORY_MATCH_INDICES_MAX = 8_192;
/** A frame that its last event overfilled, with its columns: a budget may be overdrawn by this much. */
export const HISTORY_OVERDRAFT_BYTES = 192 * KiB;
/** History queries that an agent runs at once. */
export const HISTORY_QUERIES_PER_AGENT_MAX = 16;
/**
 * Fewer where memory is bounded: an agent that may take little more than it takes without them runs these, beside those
 * whose readers do not read. What one takes, and what an agent takes that listens and answers none.
 */
export const HISTORY_QUERIES_AT_ONCE_MIN = 2;
export const HISTORY_QUERY_BYTES = 4 * MiB;
export const HISTORY_BESIDE_BYTES = 96 * MiB;
/** How often it is looked whether more may run. */
export const HISTORY_REVIEW_MS = 1_000;
/** Of these, the queries of one client, so that it never holds all places. */
export const HISTORY_QUERIES_PER_CLIENT_MAX = 12;
/** Queries that wait on an agent, and their bytes: brokers that keep to the bound above never fill the queue. */
export const HISTORY_QUERIES_QUEUED_MAX = 1024;
export const HISTORY_QUEUE_BYTES_MAX = 4 * MiB;
/** An agent that has not ended a history query so long after it was cancelled loses its session. */
export const HISTORY_CANCEL_MS = 10_000;
/** A history query reads on for this long in one turn, unless it has found much. */
export const HISTORY_STEP_MS = 4;
/** Share of one core for all history queries of an agent over time, unless settings say otherwise, and the burst before. */
export const HISTORY_CPU_SHARE = 0.25;
export const HISTORY_CPU_BURST_MS = 400;
/** Less where it finds much: a turn ends when its matches take so many bytes. Its credit may be exceeded by them. */
export const HISTORY_STEP_MATCHED_BYTES = 256 * KiB;
/** Recorded bytes between two looks at what a turn has taken and found. */
export const HISTORY_SLICE_BYTES = 32 * KiB;
/** A history query sends what it has at least this often. */
export const HISTORY_LINGER_MS = 20;
/** A history query without matches reports this often that it is still at work. */
export const HISTORY_PROGRESS_MS = 10_000;
/** Events that a `last` query holds while it looks further back. */
export const HISTORY_LAST_BYTES_MAX = 8 * MiB;
/**
 * Of them, what each may hold at any time. So many of an agent's queries at once may hold more; others wait, and look
 * this often whether they may.
 */
export const HISTORY_HELD_BYTES_FREE = 256 * KiB;
export const HISTORY_HOLDERS_MAX = 3;
export const HISTORY_HOLD_RETRY_MS = 100;
/** A history query that was silent for this long has failed. */
export const HISTORY_SILENCE_MS = 60_000;
/**
 * The total time that a query waits for one node while nothing else can be done. Received data gives some of it back, a
 * whole frame all of it, so that a node that trickles still runs out of it.
 */
export const HISTORY_PATIENCE_MS = 120_000;
/** How long a history query waits for its turn on a node that already runs its maximum. */
export const HISTORY_TURN_MS = 60_000;
/**
 * A query that takes less than a frame of its answer in this time yields its place to waiting ones, and asks again
 * later; so does one of the few that hold much.
 */
export const HISTORY_PLACE_MS = 10_000;
export const HISTORY_PLACE_CHECK_MS = 1_000;
/** A subscriber that takes nothing of a replay for this long is ended if others wait for its memory. */
export const HISTORY_STALL_MS = 30_000;

assert(3 * HISTORY_PROGRESS_MS < HISTORY_SILENCE_MS);
assert(HISTORY_SILENCE_MS < HISTORY_PATIENCE_MS);
assert(HISTORY_QUERIES_PER_CLIENT_MAX < HISTORY_QUERIES_PER_AGENT_MAX);
assert(
  HISTORY_PLACE_MS + HISTORY_PLACE_CHECK_MS + HISTORY_CANCEL_MS < HISTORY_TURN_MS,
  'a stalled reader gives up its place well before those that wait give up',
);
