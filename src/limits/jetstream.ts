/** Bounds of a broker whose log is on NATS JetStream. */
import assert from 'node:assert/strict';
import { KiB, MiB } from './units.js';

/** Addresses of nats-servers that a setting may name. */
export const NATS_SERVERS_MAX = 16;
/** Servers that may introduce themselves, again and again, until one of them takes a new connection. */
export const NATS_INTRODUCTIONS_MAX = 2 * NATS_SERVERS_MAX;
/** The client's own time of 5 s would make the loss of a leader take 10 s. */
export const NATS_REQUEST_MS = 1_000;
/** Servers that have just started are asked again for so long before a cluster counts as one that cannot be made. */
export const NATS_PATIENCE_MS = 15_000;
/** The client waits so long between two tries to reach a server again, with half as much at random besides. */
export const NATS_RECONNECT_MS = 250;
/** A server that says nothing is taken for gone after two pings. */
export const NATS_PING_MS = 5_000;
/** What a server must take in one message, which is its default: a full frame with its headers fits. */
export const NATS_PAYLOAD_BYTES_MIN = 1 * MiB;
/** Of a frame: its positions, and what it follows. */
export const APPEND_HEADER_BYTES_MAX = 512;
/** After this an append gives up. The frame is then held, and its sender is not read. */
export const APPEND_MS_MAX = 10_000;
/** Between two tries of an append, the more the longer it lasts. */
export const APPEND_RETRY_MS_MIN = 50;
export const APPEND_RETRY_MS_MAX = 1_000;
/** Frames that were sent to NATS and are not acknowledged: the client buffers without a bound of its own. */
export const APPEND_WINDOW_BYTES_MAX = 16 * MiB;
/** Frames of all agents that wait for NATS. What comes beyond them is held one by one, and its senders are not read. */
export const APPEND_PENDING_BYTES_MAX = 64 * MiB;
/** Each broker writes a tick into each stream this often, so that silence means that a consumer is dead. */
export const TICK_MS = 1_000;
export const TICK_SILENCE_MS = 3_000;
/** Before a reader makes a new consumer, doubling while it fails; thousands of them at once have brought clusters down. */
export const READER_RETRY_MS_MIN = 1_000;
export const READER_RETRY_MS_MAX = 30_000;
/**
 * What a reader asks for at once, and it has up to two such requests: the server cuts off a connection that has 64 MiB
 * before it, and a broker reads some ten streams by one.
 */
export const READER_BATCH = 64;
export const READER_BYTES_MAX = 2 * MiB;
/** A stream is believed to be gone when it was not found so many times in a row: a server that just started knows none. */
export const READER_LOOKS = 3;
/**
 * NATS makes a consumer on any of a stream's servers, by chance. So often another one is made until it is where the stream
 * is led: of three servers one in a hundred readers has to begin again.
 */
export const CONSUMER_TRIES = 12;
/** How often a reader asks whether its consumer still is where the stream is led. */
export const READER_LEADER_MS = 10_000;
/**
 * A tail whose consumer says nothing for so long asks the stream's leader for messages, so many at once: sooner where one is
 * awaited, else when a tick is late.
 */
export const LEADER_READ_AFTER_MS = 500;
export const LEADER_READ_LATE_MS = 2 * TICK_MS;
export const LEADER_READ_BATCH = 16;
/** While a leader is away it is asked for so often: servers take 4 s or more to elect one. */
export const LEADER_ASK_MS = 250;
/** A leader that has heard of most servers within this time is the only one: others are elected after 4 s of silence, at the earliest. */
export const LEADER_HEARD_MS = 3_000;
/** Where the last subscriber has left, frames are read with their bodies for so long. */
export const LOG_BODIES_LINGER_MS = 30_000;
/** A consumer that nobody asks ends by itself after this. */
export const LOG_CONSUMER_IDLE_MS = 60_000;
/** Readers behind the tails, over all partitions, that have a consumer at a time; more take turns. */
export const LOG_CATCH_UPS_MAX = 32;
/** What one of them has read ahead. */
export const LOG_CATCH_UP_BYTES_MAX = 2 * MiB;
export const LOG_CATCH_UP_BATCH = 256;
/** How far nodes reach is written after so many bytes, or after an eighth of what the partition may hold. */
export const LOG_CHECKPOINT_BYTES = 16 * MiB;
/** Of one message of it: six topics of a node with the longest name take less than 512 bytes. */
export const LOG_CHECKPOINT_NODES_MAX = 1_000;
/** Messages of a partition whose marks are in memory: 4 bytes each. */
export const LOG_MARKS_MAX = 65_536;
/**
 * Frames of a partition of which it is known in memory how far they reach, in chunks that each begin with what all nodes
 * reach: some 10 MiB over all partitions of a busy cluster. At 1,000 agents of a frame a second they are the last minute.
 */
export const LOG_RECENT_CHUNK = 1_024;
export const LOG_RECENT_CHUNKS_MAX = 8;
/** Offsets of a partition that one reads for all who come from another broker, which had them about there. */
export const LOG_FILL_OFFSETS_MAX = 8_192;
/** Ends of a partition that machines lost, and that are remembered: who stood there goes on from where it had got. */
export const LOG_LOST_ENDS_MAX = 4;
/** Stretches known as damaged, of a partition; the oldest is forgotten first. */
export const LOG_DAMAGES_MAX = 256;
/** Brokers say in one message, and within this time, what they know of the end that a log has lost; beyond that it is not known. */
export const LOST_PLACE_BYTES_MAX = 768 * KiB;
export const LOST_PLACE_MS = 1_000;
/** Within that it is asked this often. */
export const LOST_PLACE_AGAIN_MS = 300;
/** How often a broker asks what a stream holds, and whether it is still the one that it was. */
export const LOG_STREAM_LOOK_MS = 5_000;
/** How often a broker compares all streams of its cluster with what they must be: a request for each of them. */
export const NATS_STREAMS_LOOK_MS = 15_000;
/** How often the monitoring of nats-servers is asked when they write to their disks: it changes when one is restarted. */
export const NATS_MONITOR_LOOK_MS = 30_000;
export const NATS_MONITOR_ANSWER_MS = 5_000;
/** Without details of streams it is some KiB. */
export const NATS_MONITOR_ANSWER_BYTES_MAX = MiB;
/** Of its store a server may promise so much to streams: their files take more than what counts for max_bytes. */
export const NATS_STORE_PERCENT_MAX = 70;
/** A broker that reads nothing of NATS for so long sends its agents to others: longer than a leader's election takes. */
export const CUT_OFF_MS = 10_000;

assert(3 * TICK_MS <= TICK_SILENCE_MS);
