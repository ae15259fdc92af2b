/** Bounds of what the brokers of a cluster agree on, and of how they reach each other's nodes. */
import assert from 'node:assert/strict';
import { GiB, KiB, MiB } from './units.js';

/** How long a change is tried before it is refused: longer than an election takes. */
export const STATE_WRITE_MS = 10_000;
/** Between two tries of one change. */
export const STATE_RETRY_MS = 100;
/** Before what a broker tells the others is tried again where it was refused. */
export const STATE_AGAIN_MS = 5_000;
/** Changes of one broker that are under way. */
export const STATE_WRITES_MAX = 16_384;
/** One entry, with room for headers in a message of 1 MiB: the longest is a group's, 64 cursors of 4 KiB. */
export const STATE_ENTRY_BYTES_MAX = 768 * KiB;
/** A key, escaped: subjects are short, as each server keeps them all in memory. */
export const STATE_KEY_BYTES_MAX = 1 * KiB;
/** Entries of a state, deleted ones among them, and their bytes. */
export const STATE_ENTRIES_MAX = 262_144;
export const SHARED_STATE_BYTES_MAX = 256 * MiB;
/** On the servers. Nothing is dropped there: a state that is full takes no more. */
export const STATE_STREAM_BYTES_MAX = 1 * GiB;
/** Changes of one entry that are kept of what nobody could tell again. */
export const STATE_HISTORY = 8;
/** A deletion is remembered so long, for brokers that were away; then any of them forgets it. */
export const STATE_DELETION_KEPT_MS = 600_000;
export const STATE_DELETIONS_FORGOTTEN_MAX = 256;

/** What one message of the audit may have, and the entries that wait while the stream takes nothing. */
export const AUDIT_MESSAGE_BYTES_MAX = 512 * KiB;

/** Parts in which another broker sends a node's answer. */
export const ROUTE_CHUNK_BYTES = 64 * KiB;
/**
 * Windows of all answers that are on their way from other brokers' nodes to this one, and of all that go from its nodes to
 * others: each bound by itself. All nodes that a replay may ask can send their first frames, without which it does not
 * begin, and it is below the 64 MiB that a nats-server keeps for one connection before it cuts it off. While others wait, answers
 * that are not read for HISTORY_PLACE_MS yield their share, and are asked for again once they are read.
 */
export const ROUTE_OUTSTANDING_BYTES_MAX = 40 * MiB;
/** Both sides of an answer say this often that they are there, and take the other for gone after so long. */
export const ROUTE_PING_MS = 5_000;
export const ROUTE_SILENCE_MS = 15_000;
/** How long a broker waits until another has ended the session of a node that moved. */
export const ROUTE_TAKEOVER_MS = 2_000;
/** Answers that one broker gives to others at once. */
export const ROUTE_ANSWERS_MAX = 4_096;

/**
 * From where a node's frames are complete is kept and told in so many steps, whatever the number of predicates; and how many
 * predicates may be named that do not hold, because the node cannot evaluate them.
 */
export const HOLD_STEPS_MAX = 8;
export const HOLDS_REFUSED_MAX = 64;
/** A silent node's coverage is held back for no longer: so much of its recording it may have to read again. */
export const IDLE_HELD_MS_MAX = 30_000;
/** What a broker says of its nodes' silence in one tick; the rest comes with the next one. */
export const TICK_BYTES_MAX = 256 * KiB;
/** What a broker says of its nodes' answers to a new interest it says together. */
export const HOLDS_LINGER_MS = 50;
/** What a broker says of itself holds for so long; it says it three times as often. */
export const BROKER_LEASE_MS = 15_000;
export const BROKER_HEARTBEAT_MS = 5_000;
/** A broker that ends says so, and waits so long at most until that is written. */
export const BROKER_LEAVE_MS = 2_000;
/** Brokers of one cluster; one more is not started. */
export const CLUSTER_BROKERS_MAX = 64;

/** How nodes are that other brokers have: names in one question, bytes of one answer, and for how long it is waited for. */
export const NODE_LIST_NAMES_MAX = 256;
export const NODE_LIST_ANSWER_BYTES = 512 * KiB;
export const NODE_LIST_MS = 1_000;

assert(3 * ROUTE_PING_MS <= ROUTE_SILENCE_MS);
assert(3 * BROKER_HEARTBEAT_MS <= BROKER_LEASE_MS);
assert(BROKER_LEASE_MS < STATE_DELETION_KEPT_MS);
