/** Bounds of groups: subscribers that share the nodes of one subscription. */
import assert from 'node:assert/strict';
import { STATE_ENTRY_BYTES_MAX, STATE_HISTORY, STATE_STREAM_BYTES_MAX } from './state.js';
import { KiB, MiB } from './units.js';

/** Group and member names, in characters: they are labels of metrics and stand in tables. */
export const GROUP_NAME_CHARACTERS_MAX = 64;
/** Numbers of slices: multiples of the log's partitions, so that each slice lies in one of them. */
export const GROUP_SLICES = [8, 16, 32, 64] as const;
export const GROUP_SLICES_DEFAULT = 16;
export const GROUP_SLICES_MAX = 64;
/** What a member may say of its last epochs: there are later ones as long as slices move less than 2^52 times. */
export const GROUP_EPOCH_MAX = 2 ** 52;
/**
 * Of what a member says of its epochs, those further than that ahead of what is known do not count: a power cut takes
 * back the moves of minutes, and nobody may use up the epochs.
 */
export const GROUP_EPOCHS_AHEAD_MAX = 2 ** 20;
/** Groups of a broker, or of the brokers of a cluster together: each has at most GROUP_SLICES_MAX cursors of 4 KiB in the state. */
export const GROUPS_MAX = 128;
/** Members of one group, active or standing by. */
export const GROUP_MEMBERS_MAX = 256;
/** What brokers tell each other of a member's client, address and identity, in bytes of JSON each. */
export const GROUP_MEMBER_TEXT_MAX = 256;
/** Members of other brokers that one member says it was before. */
export const GROUP_REPLACED_MAX = 4;
/** What brokers tell each other of one member: its texts, its name, those whom it replaces, and numbers. */
const GROUP_MEMBER_BYTES_MAX =
  3 * GROUP_MEMBER_TEXT_MAX + (1 + 2 * GROUP_REPLACED_MAX) * (GROUP_NAME_CHARACTERS_MAX + 24) + 256;
/** A member that did not answer, or a named one without connection, keeps its slices for so long. */
export const GROUP_MEMBER_TIMEOUT_MS_DEFAULT = 10_000;
/** Events that a member was given and has not committed for so long go to others. */
export const GROUP_COMMIT_TIMEOUT_MS_DEFAULT = 300_000;
/** How long a member may still commit a slice that it gives up. */
export const GROUP_REVOKE_TIMEOUT_MS_DEFAULT = 2_000;
/** How long nodes are asked for the events of a group without members. */
export const GROUP_INTEREST_MS_DEFAULT = 600_000;
/** How long its cursors are kept. */
export const GROUP_CURSORS_MS_DEFAULT = 7 * 86_400_000;
/** Groups of one identity for which nodes are asked though they have no members; the longest left go first. */
export const GROUPS_UNATTENDED_MAX = 16;
/** A connection with members is asked for a sign of life this often, or five times within the member's timeout. */
export const GROUP_PING_INTERVAL_MS = 2_000;
/** Commits that come within this time are made durable together: a sync each would keep the broker from its work. */
export const GROUP_COMMIT_LINGER_MS = 5;
/** A cursor of a group with its mark (see slice-lease.ts). */
export const GROUP_CURSOR_MARK_CHARACTERS_MAX = 64;
/** A commit for another broker's member is given up after so long: longer than that broker tries to write it. */
export const GROUP_RELAY_MS = 15_000;
/** Commits that one broker makes at once for others, of 64 cursors at most each. */
export const GROUP_RELAYED_MAX = 256;
/** Where events matched the log, per slice: neighbours are added up beyond it. */
export const GROUP_LAG_ENTRIES_MAX = 256;
/** How often `observe --group` commits what it has printed. */
export const OBSERVE_COMMIT_INTERVAL_MS = 1_000;
/** Groups that have metrics of their own. */
export const GROUPS_MEASURED_MAX = 64;
/**
 * While the log takes its bound once, places of groups are looked at so often. Those that lie in its older half are then
 * written down, which reads a segment each.
 */
export const GROUP_UPKEEPS_PER_LOG = 16;
/** Positions that the answer to a changed filter lists per slice. */
export const GROUP_POSITIONS_SHOWN_MAX = 256;
/** Places of nodes of one slice's parked cursor, encoded: some hundred bytes a node. */
export const GROUP_PARKED_BYTES_MAX = 512 * KiB;
/** Of all groups together: what commits are written into must not be full of them, nor a broker's file of them too long. */
export const GROUPS_PARKED_BYTES_MAX = 48 * MiB;
/**
 * Places of nodes that a broker remembers of one group's cursors which are not committed, some 250 bytes each, its slices
 * together. Of what is more it remembers every second, fourth ... cursor.
 */
export const GROUP_GIVEN_PLACES_MAX = 8_192;
/** Commits of one slice at a time whose places are kept written down, besides the one that is in force. */
export const GROUP_PLACES_KEPT_MAX = 8;

assert(GROUP_MEMBERS_MAX * GROUP_MEMBER_BYTES_MAX < STATE_ENTRY_BYTES_MAX);
// With the cursors of all groups, and their changes before.
assert(STATE_HISTORY * (GROUPS_PARKED_BYTES_MAX + GROUPS_MAX * GROUP_SLICES_MAX * 4 * KiB) < STATE_STREAM_BYTES_MAX);
