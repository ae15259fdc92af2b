/**
 * Every bound of the system in one place, in bytes, counts or milliseconds
 * (the unit comes last in the name), with the relations between them asserted
 * at load.
 */
import assert from 'node:assert/strict';
import { HISTORY_CREDIT_BYTES, HISTORY_FRAME_BYTES, HISTORY_OVERDRAFT_BYTES } from './limits/history.js';
import { DRAIN_MS_MAX, FRAME_LOSSES_MAX, INSTANCE_LOOK_MS, PAGE_BYTES_MAX } from './limits/kernel.js';
import { NODE_RETURN_MS, NODES_PER_PEER_MAX } from './limits/records.js';
import { GiB, KiB, MiB } from './limits/units.js';

export * from './limits/history.js';
export * from './limits/kernel.js';
export * from './limits/records.js';
export * from './limits/units.js';

/** A frame is flushed when its events reach this. */
export const FRAME_FLUSH_BYTES = 64 * KiB;
/** No frame's events exceed this. */
export const FRAME_BYTES_MAX = 256 * KiB;
/** One encoded event; longer ones have their strings cut (see EVENT_STRING_BYTES_MAX). */
export const EVENT_BYTES_MAX = 64 * KiB;
/** Events in one frame. */
export const FRAME_EVENTS_MAX = 8192;
/** Match indices of all predicates in one frame, together: at most two bytes each. */
export const FRAME_MATCH_INDICES_MAX = 65_536;
/** Any gRPC message received, from anyone. Frame metadata costs at most 24 bytes an event. */
export const MESSAGE_BYTES_MAX = 1 * MiB;
/** HTTP/2 receive window per stream on the broker: one frame in flight and one being read. */
export const UPLINK_WINDOW_BYTES = 1 * MiB;
/** HTTP/2 receive window per connection on the broker. */
export const SESSION_WINDOW_BYTES = 4 * MiB;
/** A silent connection is asked for a sign of life this often, and given this long. */
export const KEEPALIVE_MS = 20_000;
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Streams on one connection: an agent has three, a client few. */
export const STREAMS_PER_CONNECTION_MAX = 256;
/** Connections of the gRPC port: every node and subscriber may have one. One without a stream is closed after this. */
export const GRPC_CONNECTIONS_MAX = 8192;
export const CONNECTION_IDLE_MS = 300_000;
/** Messages of one connection of which some is not there yet, each DATA frame counted with what keeping it costs. */
export const INCOMPLETE_BYTES_MAX = 4 * MiB;
export const PIECE_BYTES = 1 * KiB;
/** A call that has not said by then what it asks is refused. */
export const FIRST_MESSAGE_MS = 10_000;

/** Headers of a call that answers repeat, in characters: its path, its encoding, its deadline. */
export const CALL_HEADER_CHARACTERS_MAX = 128;
/** An error's message, in characters: percent-encoded it must fit a gRPC trailer. */
export const ERROR_CHARACTERS_MAX = 1024;

/** Arguments kept of one exec, in all; the rest is cut. */
export const ARGUMENTS_BYTES_MAX = 16 * KiB;
export const ARGUMENTS_MAX = 1024;
/** After events were lost, /proc is read again at most this often, and for this long at a time. */
export const RESCAN_INTERVAL_MS = 10_000;
export const RESCAN_SLICE_MS = 2;
/** What a node may send, live and from its recorder; the burst is so much time of either rate. */
export const LIVE_BYTES_PER_SECOND_DEFAULT = 1 * MiB;
export const LIVE_EVENTS_PER_SECOND_DEFAULT = 5_000;
export const HISTORY_BYTES_PER_SECOND_DEFAULT = 8 * MiB;
export const BUDGET_BURST_MS_DEFAULT = 4_000;
export const BUDGET_BURST_MS_MAX = 3_600_000;
/** What a node may seem to send above its budget before the broker stops reading it. */
export const BUDGET_TOLERANCE = 1.1;
/** Shares of the cluster's ceiling are dealt out this often, and hold without a word for so long. */
export const LEASE_INTERVAL_MS = 2_000;
export const LEASE_MS = 10_000;
/** Of an even share: what a node has that asked for nothing yet, so that what it then has to send does not wait. */
export const LEASE_SHARE_MIN = 0.1;
/** However low the rate: any event fits, beside what classes leave to those above them. */
export const BUDGET_BURST_BYTES_MIN = EVENT_BYTES_MAX + 16 * KiB;
export const BUDGET_BURST_EVENTS_MIN = 16;
/** Behind by less than this for its budget alone, an agent waits and sends what it has later; by more, it sheds. */
export const BUDGET_WAIT_MS_MAX = 30_000;

/** What an agent gives up for taking too much: over a bound for so long; below so much of it for so long. */
export const GUARD_WINDOW_MS = 10_000;
export const GUARD_CALM_MS = 30_000;
export const GUARD_CALM_SHARE = 0.7;
export const GUARD_INTERVAL_MS = 1_000;
export const GUARD_CPU_PERCENT_DEFAULT = 50;
export const GUARD_MEMORY_BYTES_DEFAULT = 384 * MiB;
/** Matching that is slowed may use this much at once. */
export const SLOW_MATCHING_BURST_MS = 100;

/** Looking up which files were opened: of one core, and how long after the call at most. */
export const FILE_PATHS_CPU_SHARE = 0.05;
export const FILE_PATHS_CPU_BURST_MS = 250;
export const FILE_PATHS_AGE_MS_MAX = 1_000;
/** Paths in the field mask of one subscription. */
export const FIELDS_MAX = 64;
/** Redaction rules of the configuration, and one rule's pattern: as text, compiled, its groups; its hints. */
export const REDACTION_RULES_MAX = 64;
export const REDACTION_PATTERN_BYTES_MAX = 8 * KiB;
export const REDACTION_PATTERN_INSTRUCTIONS_MAX = 4096;
export const REDACTION_GROUPS_MAX = 16;
export const REDACTION_HINTS_MAX = 16;
/** Rules whose masked secrets a broker tells apart, of all its nodes; the others count as one. */
export const REDACTION_NAMES_MAX = 256;
/** Matches of one rule in one text; what is behind the last is masked whole. */
export const REDACTION_MATCHES_MAX = 256;
/** Instructions times characters of one pattern and text; a longer text is masked whole. Time after which its rest is. */
export const REDACTION_PATTERN_STEPS_MAX = 16 * MiB;
export const REDACTION_PATTERN_MS_MAX = 100;
/** Of one core, for looking for secrets in texts that may hold some; beyond it they are masked by their place. */
export const REDACTION_CPU_SHARE = 0.05;
export const REDACTION_CPU_BURST_MS = 250;
/** Paths, cgroup names and the like. */
export const EVENT_STRING_BYTES_MAX = 4 * KiB;

/** Filter text, nesting (counted before parsing), and look-ups in error messages. */
export const FILTER_BYTES_MAX = 4 * KiB;
export const FILTER_DEPTH_MAX = 32;
/** Names, literals and operators of a filter: bounds the work of checking it and of evaluating it once. */
export const FILTER_TOKENS_MAX = 1024;
/** Text put together with `+`, in characters; longer is an evaluation error. */
export const FILTER_STRING_CHARACTERS_MAX = 8 * KiB;
/** Compiled RE2 instructions of all patterns of one filter; those within exists() and the like count twice. */
export const FILTER_PATTERN_INSTRUCTIONS_MAX = 128;
/** Steps of one comprehension's body over the longest argument list. */
export const FILTER_STEPS_MAX = 128 * KiB;
/** Text of the checked filters that are kept; a tree takes some thirty times its text. */
export const FILTER_CACHE_BYTES_MAX = 256 * KiB;
/** Comparisons in what a filter says about raw entries; beyond that it says nothing. */
export const RAW_FORM_TERMS_MAX = 1024;
/** Predicates of which one test of raw entries is made; where more ask for a type, all of it is decoded. */
export const RAW_TEST_CONDITIONS_MAX = 64;
/** Text of a kernel filter (one page of memory holds it), its comparisons, and how deep they nest. */
export const KERNEL_FILTER_BYTES_MAX = 4000;
export const KERNEL_FILTER_TERMS_MAX = 200;
export const KERNEL_FILTER_DEPTH_MAX = 32;
/** A subscriber's own name, in characters. */
export const CLIENT_NAME_CHARACTERS_MAX = 64;
export const PREDICATES_MAX = 1024;
export const TOPICS_PER_REQUEST_MAX = 64;
export const NODE_GLOBS_MAX = 256;
export const NAME_BYTES_MAX = 253;
/** A request to the public API, encoded. */
export const REQUEST_BYTES_MAX = 128 * KiB;
/** A broker's token, where somebody else than the broker made it; and how often refusals for want of it are logged. */
export const TOKEN_CHARACTERS_MIN = 32;
export const TOKEN_CHARACTERS_MAX = 512;
export const REFUSALS_LOGGED_INTERVAL_MS = 60_000;
/** How often a command that watches may ask a broker. */
export const WATCH_INTERVAL_MS_MIN = 100;
export const WATCH_INTERVAL_MS_MAX = 86_400_000;
export const CURSOR_BYTES_MAX = 4 * KiB;
/** Nodes that one sentence names; of more it says how many. */
export const NODES_NAMED_MAX = 16;
/** Nodes that a cursor names itself; more are named by notes in the log, so many of which follow each other. */
export const CURSOR_NODES_MAX = 32;
export const CURSOR_NOTES_MAX = 64;
export const LAST_MAX = 10_000;
/** What a subscriber gets who says neither from where nor how much. */
export const LAST_DEFAULT = 20;

/** Frames an agent may have sent but not had acknowledged, before it waits. */
export const UNACKNOWLEDGED_BYTES_MAX = 4 * MiB;
/**
 * What an agent has given to a data stream that the socket has not taken, whatever the broker acknowledged or granted:
 * beyond it matching pauses, the recorder is the outbox. And messages on any stream: a broker that leaves more unread
 * loses the session.
 */
export const UPLINK_QUEUE_BYTES_MAX = 2 * MiB;
export const UPLINK_QUEUE_MESSAGES_MAX = 4096;
/** Of a message on a data stream: gRPC's head, HTTP/2's frame heads, the field that holds the frame. */
export const DATA_MESSAGE_OVERHEAD_BYTES = 64;

/** What waits in memory for one subscriber, in front of its stream. */
export const SUBSCRIBER_QUEUE_BYTES_MAX = 1 * MiB;
export const SUBSCRIPTIONS_MAX = 4096;
export const SUBSCRIPTION_FRAME_CACHE_BYTES_MAX = 16 * MiB;

/** Tasks (threads) and sockets whose context an agent remembers. */
export const TASKS_MAX = 65_536;
export const TASKS_BYTES_MAX = 32 * MiB;
export const SOCKETS_MAX = 32_768;
/** Page records and side records that wait in the timeline for their turn. */
export const TIMELINE_PENDING_EVENTS_MAX = 262_144;
/** How long an exec waits for its arguments before it goes on without. */
export const EXEC_CONTEXT_WAIT_MS = 250;
/** How far apart the two instances' times of one exec may be, and how many side records wait for their exec. */
export const EXEC_JOIN_NS_MAX = 20_000_000n;
export const EXEC_JOIN_RECORDS_MAX = 16_384;
/**
 * The recorder writes a checkpoint whenever it has written SHARE times what the last one took, between these two bounds:
 * whoever opens the recording reads from one. Very large ones (tens of thousands of processes) are a RATIO-th apart.
 */
export const CHECKPOINT_INTERVAL_BYTES_MIN = 4 * MiB;
export const CHECKPOINT_INTERVAL_BYTES_MAX = 16 * MiB;
export const CHECKPOINT_INTERVAL_SHARE = 16;
export const CHECKPOINT_INTERVAL_RATIO = 3;
export const CHECKPOINT_PART_BYTES = 2 * MiB;
/** How much recording a publisher reads before others have their turn: a third of a core, which leaves the guard calm. */
export const REPLAY_STEP_BYTES = 128 * KiB;
/** How long, from a checkpoint up to where it left off: that is a second at most, and meanwhile nothing is sent. */
export const REPLAY_RETURN_TURN_MS = 32;

/** One record of a segment log. */
export const RECORD_BYTES_MAX = 8 * MiB;
export const SEGMENT_BYTES = 64 * MiB;
export const SEGMENT_BYTES_MIN = 256;
export const SEGMENT_BYTES_MAX = 1 * GiB;
/** The records that a segment opens with, together: less than a segment, or nothing else would fit. */
export const SEGMENT_HEAD_BYTES_MAX = 32 * MiB;
export const SEGMENT_HEAD_RECORDS_MAX = 1024;
/** The index of a segment: an entry per so many bytes, and so many anchors (24 bytes each; thinned out beyond). */
export const SEGMENT_MARK_BYTES = 256 * KiB;
export const SEGMENT_ANCHORS_MAX = 4096;
/** Segments of one log; the oldest go first, as over its bytes. */
export const LOG_SEGMENTS_MAX = 4096;
/** Records that a log may have been given since its bounds were written down: by so many its ordinals go on further. */
export const LOG_UNMARKED_RECORDS_MAX = 2 ** 20;
/** What was found damaged when a log was opened; the rest is counted. */
export const LOG_NOTES_MAX = 256;
/** A log reader's buffer; it grows for as long as records do not fit, to 1 MiB or the longest record. */
export const READER_BUFFER_BYTES = 64 * KiB;
export const READER_BUFFER_BYTES_MAX = 1 * MiB;

export const RECORDER_BYTES_DEFAULT = 1 * GiB;
export const RECORDER_AGE_MS_DEFAULT = 24 * 3600 * 1000;
export const LOG_BYTES_DEFAULT = 4 * GiB;
export const LOG_AGE_MS_DEFAULT = 24 * 3600 * 1000;
export const PARTITIONS = 8;
/** Segments of a partition log: a start, and a cursor that comes back, read one of them. */
export const LOG_SEGMENT_BYTES = 16 * MiB;
/** Nodes whose place a partition log remembers; the longest silent are forgotten first. */
export const NODES_PER_PARTITION_MAX = 4096;
/** How many segments the bound on the whole log makes at least: it is kept in steps of one. */
export const LOG_SEGMENTS_MIN = 16;
export const LOG_RETENTION_INTERVAL_MS = 30_000;
/** A log that could not take a frame is tried again this often. */
export const LOG_RETRY_MS = 1_000;
/** Whether the broker's files are still where they were is looked at this often. */
export const DATA_WATCH_INTERVAL_MS = 1_000;
/** How often the log is synced where frames are not acknowledged by their sync. */
export const LOG_SYNC_INTERVAL_MS = 1_000;

/** Reconnects back off between these, with jitter. */
export const RECONNECT_MS_MIN = 100;
export const RECONNECT_MS_MAX = 2_000;
/** For the first attempts, some ten seconds. */
export const RECONNECT_SOON_MS_MAX = 500;
export const RECONNECT_SOON_ATTEMPTS = 32;
/** A broker that has not answered a Hello by then is tried again. */
export const UPLINK_SILENCE_MS = 10_000;

/** Nodes that a broker knows, connected or not: of those that are gone, the ones that never delivered go first. */
export const NODES_MAX = 4096;
/** What a node may say it allows: those of later versions too. */
export const PROFILES_PER_NODE_MAX = 16;
/** What a node, or its answer to a query, says of itself in a sentence. */
export const NODE_MESSAGE_CHARACTERS_MAX = 1024;
/** The epoch that an agent may begin with: seconds since 1970, and then some. Brokers may go on counting from there. */
export const EPOCH_MAX = 2 ** 48;
export const EPOCHS_BEYOND_MAX = 2 ** 20;
/** All that is asked of one node, encoded: it must fit a message. */
export const INTEREST_BYTES_MAX = 512 * KiB;
/** A control message waits in memory for its agent; one that does not read loses its session. */
export const CONTROL_QUEUE_BYTES_MAX = 2 * MiB;
/** A control stream that does not say Hello by then is closed. */
export const HELLO_MS = 5_000;
/** How long a broker that shuts down waits for its streams to end. */
export const DRAIN_MS = 5_000;
/** Credit of all history queries of a broker together. */
export const HISTORY_POOL_BYTES_MAX = 256 * MiB;
/** What a broker holds to find the last N events over all nodes. */
export const LAST_BYTES_MAX = 32 * MiB;
/** Watermarks and gaps of one subscription: at most one per node and reason in this time. */
export const NOTICE_INTERVAL_MS = 1_000;
/** Nodes of which one subscription is told a watermark in one interval; the others have their turn next. */
export const WATERMARKS_PER_INTERVAL_MAX = 32;
/** A subscriber that skips does so when it is behind the log by this, where it does not say. */
export const LAG_MS_DEFAULT = 30_000;
export const LAG_MS_MIN = 1_000;
/** Throttling: the longest interval, and the delivered events that one subscription remembers, the newest. */
export const THROTTLE_NS_MAX = 86_400_000_000_000n;
export const THROTTLE_EVENTS_MAX = 8192;
/** Refill: how often it looks what is owed, so that one query covers much of it; on how many nodes at once. */
export const REFILL_INTERVAL_MS = 3_000;
export const REFILL_NODES_MAX = 4;
/** Of one query: stretches, frames of the log that are read to find them, and the time between two of them. */
export const REFILL_STRETCHES_MAX = 256;
export const REFILL_FRAMES_MAX = 4096;
export const REFILL_APART_NS_MAX = 60_000_000_000n;
/** A connected node that failed so often in a row is given up. */
export const REFILL_TRIES_MAX = 5;
/** Ranges of the log that are owed of one node and topic: one more with every skip and every resumption meanwhile. */
export const OWED_RANGES_MAX = 8;
/** How long a live subscription with an end waits for nodes that are behind it. */
export const UNTIL_GRACE_MS = 10_000;

/** HTTP API: request line and headers, connections, and how long a request may take to arrive. */
export const HTTP_HEADER_BYTES_MAX = 32 * KiB;
export const HTTP_CONNECTIONS_MAX = 1024;
export const HTTP_REQUEST_MS = 10_000;
/** Of the connections, those with a stream of events; the others are left for health, metrics and lists. */
export const HTTP_STREAMS_MAX = 960;
/** Requests of one connection that wait for their turn or are being answered. */
export const HTTP_PIPELINED_MAX = 16;
/** How long what follows a refused request is read and dropped, so that the answer arrives. */
export const HTTP_LINGER_MS = 1_000;

/** Interest outlives a lost subscriber by this. */
export const INTEREST_GRACE_MS = 30_000;
/** How long a subscriber waits for nodes to acknowledge its interest. */
export const INTEREST_DEADLINE_MS = 2_000;
/** An idle topic that somebody asked for states its coverage this often. */
export const COVERAGE_INTERVAL_MS = 1_000;
export const NODE_REPORT_INTERVAL_MS = 5_000;
/** Of a node's wall clock, one in each report: so many are compared, of which the most timely counts. */
export const CLOCK_MEASUREMENTS_MAX = 12;
/** A node's wall clock that is no further from the broker's is taken for the same. */
export const CLOCK_TOLERANCE_MS = 500;
/** How often the kernel's buffers are read while nobody listens, and while somebody does. */
export const DRAIN_IDLE_MS = 100;
export const DRAIN_LIVE_MS = 8;
/** Loss is stated at most this often. */
export const LOSS_INTERVAL_MS = 1_000;
/** Wall clock and trace clock are compared this often. */
export const CLOCK_INTERVAL_MS = 10_000;
export const RECORDER_SYNC_INTERVAL_MS = 1_000;

/** The configuration file, and how many brokers a client tries in turn. */
export const CONFIG_BYTES_MAX = 256 * KiB;
export const BROKERS_MAX = 16;
/** A state file of a broker: interest and nodes, budgets. */
export const STATE_BYTES_MAX = 64 * MiB;
/** How long a client waits for a broker's first answer. */
export const CLIENT_ANSWER_MS = 10_000;
/** How long `observe` holds live lines to tell a node's topics in the order of time, and of how many events at most. */
export const LINE_ORDER_MS = 10;
export const LINE_ORDER_EVENTS_MAX = 1_000;
/** Log lines that wait where stderr takes none. */
export const LOG_WAITING_BYTES_MAX = 1 * MiB;
/** Notices of gaps that a client holds back until their cursor. */
export const HELD_GAPS_MAX = 10_000;
/** Processes whose names the command line remembers, and an event's arguments on one of its lines, in characters. */
export const SHOWN_PROCESSES_MAX = 4096;
export const NODES_SHOWN_MAX = 4096;
export const SHOWN_ARGUMENTS_CHARACTERS_MAX = 1024;
/** How long `up` waits for its agent to end before it kills it: with the broker's streams, within ten seconds. */
export const AGENT_STOP_MS = 4_000;
/** A dead agent is started again after this, doubling while it keeps dying. */
export const AGENT_RESTART_MS_MIN = 250;
export const AGENT_RESTART_MS_MAX = 30_000;

assert(FRAME_FLUSH_BYTES <= FRAME_BYTES_MAX);
assert(EVENT_BYTES_MAX <= FRAME_BYTES_MAX);
assert(
  FRAME_BYTES_MAX +
    FRAME_EVENTS_MAX * 24 +
    FRAME_MATCH_INDICES_MAX * 2 +
    PREDICATES_MAX * 24 +
    FRAME_LOSSES_MAX * 4096 <=
    MESSAGE_BYTES_MAX,
  'a full frame must fit a message',
);
assert(INSTANCE_LOOK_MS + DRAIN_IDLE_MS + DRAIN_MS_MAX < 2_000, 'a changed trace instance is noticed within 2 s');
assert(FRAME_BYTES_MAX < UPLINK_WINDOW_BYTES);
assert(UPLINK_WINDOW_BYTES <= SESSION_WINDOW_BYTES);
assert(
  3 * (MESSAGE_BYTES_MAX + PIECE_BYTES * (MESSAGE_BYTES_MAX / (16 * KiB))) < INCOMPLETE_BYTES_MAX,
  'an agent has three',
);
assert(HELLO_MS < FIRST_MESSAGE_MS);
assert(2 * NODES_PER_PEER_MAX <= NODES_MAX);
assert(RECONNECT_MS_MAX < NODE_RETURN_MS);
assert(NODES_MAX + SUBSCRIPTIONS_MAX <= GRPC_CONNECTIONS_MAX);
assert(HISTORY_FRAME_BYTES <= HISTORY_CREDIT_BYTES / 4);
assert(HISTORY_FRAME_BYTES + EVENT_BYTES_MAX < HISTORY_OVERDRAFT_BYTES);
assert(ARGUMENTS_BYTES_MAX + 4 * EVENT_STRING_BYTES_MAX < EVENT_BYTES_MAX);
assert(MESSAGE_BYTES_MAX < RECORD_BYTES_MAX);
assert(PAGE_BYTES_MAX < RECORD_BYTES_MAX);
assert(INTEREST_BYTES_MAX < MESSAGE_BYTES_MAX && MESSAGE_BYTES_MAX < CONTROL_QUEUE_BYTES_MAX);
assert(NODES_PER_PARTITION_MAX * 512 < RECORD_BYTES_MAX, 'a checkpoint must fit a record');
assert(HISTORY_CREDIT_BYTES < HISTORY_POOL_BYTES_MAX);
assert(RECORD_BYTES_MAX < SEGMENT_BYTES);
assert(HTTP_STREAMS_MAX + 32 < HTTP_CONNECTIONS_MAX, 'health checks find a place');
assert(AGENT_STOP_MS + DRAIN_MS < 10_000, 'SIGTERM ends a process within ten seconds');
assert(SEGMENT_HEAD_BYTES_MAX < SEGMENT_BYTES);
assert(SEGMENT_BYTES_MAX + SEGMENT_HEAD_BYTES_MAX + RECORD_BYTES_MAX < 2 ** 31, 'the index holds offsets in 31 bits');

/** Upper bound of what one agent's connection can hold in a broker's memory. */
export const CONNECTION_BYTES_MAX = SESSION_WINDOW_BYTES + INCOMPLETE_BYTES_MAX;
