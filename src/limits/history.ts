/** Bounds of history queries: what agents keep to, and how brokers share them out and wait for them. */
import assert from 'node:assert/strict';
import { KiB, MiB } from './units.js';

/** One history query's credit, and all queries' of one subscription together. */
export const HISTORY_CREDIT_BYTES = 1 * MiB;
export const HISTORY_FRAME_BYTES = 64 * KiB;
/** One of which the last event made it full, with what it says of each: a budget may be overdrawn by so much. */
export const HISTORY_OVERDRAFT_BYTES = 192 * KiB;
/** What an agent runs at once. */
export const HISTORY_QUERIES_PER_AGENT_MAX = 16;
/** Of these, one client's: it never holds all places. */
export const HISTORY_QUERIES_PER_CLIENT_MAX = 12;
/** Queries that wait on an agent for their turn, and what they take: brokers that keep to the bound above never fill it. */
export const HISTORY_QUERIES_QUEUED_MAX = 1024;
export const HISTORY_QUEUE_BYTES_MAX = 4 * MiB;
/** An agent that has not ended a history query so long after it was cancelled loses its session. */
export const HISTORY_CANCEL_MS = 10_000;
/** What a history query reads of the recording in one turn: what it may send beyond its credit is what that yields. */
export const HISTORY_STEP_BYTES = 512 * KiB;
/** The share of one core of all history queries of an agent over time, and what they may use before they are slowed. */
export const HISTORY_CPU_SHARE = 0.25;
export const HISTORY_CPU_BURST_MS = 400;
/** A history query sends what it has at least this often. */
export const HISTORY_LINGER_MS = 20;
/** A history query that finds nothing says this often that it is still at work. */
export const HISTORY_PROGRESS_MS = 10_000;
/** Events that a `last` query holds while it looks further back. */
export const HISTORY_LAST_BYTES_MAX = 8 * MiB;
/** A history query of which nothing is heard for so long has failed. */
export const HISTORY_SILENCE_MS = 60_000;
/**
 * The patience with a node in one query: so long in all, while nothing else can be done. What it sends gives some back, a
 * whole frame all of it: one that trickles comes to the end of it, too.
 */
export const HISTORY_PATIENCE_MS = 120_000;
/** A history query waits so long for its turn on a node that runs as many as it may. */
export const HISTORY_TURN_MS = 60_000;
/** Whoever takes less than a frame of an answer in this time gives its place to those that wait, and asks again later. */
export const HISTORY_PLACE_MS = 10_000;
export const HISTORY_PLACE_CHECK_MS = 1_000;
/** A subscriber that takes nothing of a replay for so long is ended if others wait for the memory that it holds. */
export const HISTORY_STALL_MS = 30_000;

assert(3 * HISTORY_PROGRESS_MS < HISTORY_SILENCE_MS);
assert(HISTORY_SILENCE_MS < HISTORY_PATIENCE_MS);
assert(HISTORY_QUERIES_PER_CLIENT_MAX < HISTORY_QUERIES_PER_AGENT_MAX);
assert(
  HISTORY_PLACE_MS + HISTORY_PLACE_CHECK_MS + HISTORY_CANCEL_MS < HISTORY_TURN_MS,
  'a stalled reader gives up its place well before those that wait give up',
);
