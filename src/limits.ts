/**
 * Every bound of the system in one place, in bytes, counts or milliseconds
 * (the unit comes last in the name), with the relations between them asserted
 * at load.
 */
import assert from 'node:assert/strict';
import {
  CLIENT_ANSWER_MS,
  CLUSTER_CURSOR_CHARACTERS_MAX,
  CLUSTERS_MAX,
  RECONNECT_MS_MAX,
  STREAM_SILENCE_MS_MAX,
} from './limits/client.js';
import { CONTAINER_EVENT_BYTES_MAX } from './limits/containers.js';
import {
  HISTORY_CREDIT_BYTES,
  HISTORY_FRAME_BYTES,
  HISTORY_FRAME_BYTES_MIN,
  HISTORY_MATCH_INDICES_MAX,
  HISTORY_OVERDRAFT_BYTES,
} from './limits/history.js';
import { APPEND_HEADER_BYTES_MAX, APPEND_MS_MAX, NATS_PAYLOAD_BYTES_MIN } from './limits/jetstream.js';
import { DRAIN_MS_MAX, FRAME_LOSSES_MAX, INSTANCE_LOOK_MS, PAGE_BYTES_MAX } from './limits/kernel.js';
import { NODE_RETURN_MS, NODES_PER_PEER_MAX } from './limits/records.js';
import { ROUTE_OUTSTANDING_BYTES_MAX, STATE_WRITE_MS } from './limits/state.js';
import { SUBSCRIPTIONS_MAX } from './limits/subscribers.js';
import { GiB, KiB, MiB } from './limits/units.js';

export * from './limits/access.js';
export * from './limits/app.js';
export * from './limits/client.js';
export * from './limits/groups.js';
export * from './limits/guard.js';
export * from './limits/history.js';
export * from './limits/intake.js';
export * from './limits/jetstream.js';
export * from './limits/kernel.js';
export * from './limits/records.js';
export * from './limits/state.js';
export * from './limits/subscribers.js';
export * from './limits/tls.js';
export * from './limits/units.js';

/** A frame is flushed when its events reach this size. */
export const FRAME_FLUSH_BYTES = 64 * KiB;
/** The events of one frame never exceed this size. */
export const FRAME_BYTES_MAX = 256 * KiB;
/** One encoded event; longer ones have their strings cut (see EVENT_STRING_BYTES_MAX). */
export const EVENT_BYTES_MAX = 64 * KiB;
/** Events in one frame. */
export const FRAME_EVENTS_MAX = 8192;
/** Match indices of all predicates in one frame, together: at most two bytes each. */
export const FRAME_MATCH_INDICES_MAX = 65_536;
/** Ids of predicates in what one frame says was shed, over all sets of them. */
export const FRAME_SHED_IDS_MAX = 8_192;
/** Any received gRPC message. Frame metadata costs at most 24 bytes an event. */
export const MESSAGE_BYTES_MAX = 1 * MiB;
/** HTTP/2 receive window per stream on the broker: one frame in flight and one being read. */
export const UPLINK_WINDOW_BYTES = 1 * MiB;
/**
 * What all connections together may have sent that was not read, about: where there are more of them each stream of a new
 * one has its part, yet enough for a full frame in a few milliseconds.
 */
export const UPLINK_WINDOWS_BYTES_MAX = 256 * MiB;
export const UPLINK_WINDOW_BYTES_MIN = 64 * KiB;
/** HTTP/2 receive window per connection on the broker. */
export const SESSION_WINDOW_BYTES = 4 * MiB;
/**
 * A silent connection is asked for a sign of life this often, and given this long: within the minute after which proxies
 * close what is idle, and no oftener, as thousands of connections are; those of a group's members have a time of their
 * own. An overloaded machine can keep a process from running for more than ten seconds; if that closed its connections,
 * all of them would come back at once.
 */
export const KEEPALIVE_MS = 30_000;
export const KEEPALIVE_TIMEOUT_MS = 30_000;
/** Streams on one connection: an agent has three, a client few. */
export const STREAMS_PER_CONNECTION_MAX = 256;
/**
 * Connections of the gRPC port: every node and subscriber may have one. A connection without a stream is closed after
 * CONNECTION_IDLE_MS.
 */
export const GRPC_CONNECTIONS_MAX = 20_480;
export const CONNECTION_IDLE_MS = 300_000;
/**
 * Bytes of incomplete messages on one connection. Each DATA frame counts PIECE_BYTES more, as keeping it costs memory.
 */
export const INCOMPLETE_BYTES_MAX = 4 * MiB;
export const PIECE_BYTES = 1 * KiB;
/** A call whose request has not arrived by then is refused. */
export const FIRST_MESSAGE_MS = 10_000;

/** The path, encoding and deadline headers of a call, in characters: answers repeat them. */
export const CALL_HEADER_CHARACTERS_MAX = 128;

/** The arguments kept of one exec, all together; the rest is cut. */
export const ARGUMENTS_BYTES_MAX = 16 * KiB;
export const ARGUMENTS_MAX = 1024;
/** After events were lost, /proc is read again at most this often, and for this long at a time. */
export const RESCAN_INTERVAL_MS = 10_000;
export const RESCAN_SLICE_MS = 2;
/** A process is looked at again this long after it was forked or started a program, for this long at a time. */
export const PROCESS_LOOK_MS = 1_000;
export const PROCESS_LOOK_SLICE_MS = 2;
/** Looking takes this share of a core in the long run, as anybody may start processes, with such a burst. */
export const PROCESS_LOOK_CPU_SHARE = 0.02;
export const PROCESS_LOOK_CPU_BURST_MS = 500;
/** Processes that wait for that; others are not looked at again. */
export const PROCESS_LOOKS_MAX = 4_096;
/** Rates at which a node may send, live and from its recorder. The burst is this much time at either rate. */
export const LIVE_BYTES_PER_SECOND_DEFAULT = 1 * MiB;
export const LIVE_EVENTS_PER_SECOND_DEFAULT = 5_000;
export const HISTORY_BYTES_PER_SECOND_DEFAULT = 8 * MiB;
export const BUDGET_BURST_MS_DEFAULT = 4_000;
/** Time for which work that never waits keeps a process to itself; a little more than one record or frame takes. */
export const TURN_MS = 10;
/** Of the time that everything else took, if that is more: all such work together gets two fifths more than this at most. */
export const TURN_SHARE = 0.25;
/** The longest, also after a process stood still: nothing else is done in it. */
export const TURN_MS_MAX = 1_000;
export const BUDGET_BURST_MS_MAX = 3_600_000;
/** A node may seem to exceed its budget by this factor before the broker stops reading from it. */
export const BUDGET_TOLERANCE = 1.1;
/** Shares of the cluster's ceiling are dealt out this often, and stay valid for LEASE_MS without renewal. */
export const LEASE_INTERVAL_MS = 2_000;
export const LEASE_MS = 10_000;
/** Lease of a node without demand, as a fraction of an even share, so that its first events need not wait. */
export const LEASE_SHARE_MIN = 0.1;
/** Of the ceiling, what nodes that connect may be granted beyond it before all shares are dealt out again at once. */
export const LEASE_EXCESS_MAX = 0.05;
/** Smallest burst at any rate: every event fits, besides the part that classes leave to those above them. */
export const BUDGET_BURST_BYTES_MIN = EVENT_BYTES_MAX + 16 * KiB;
export const BUDGET_BURST_EVENTS_MIN = 16;
/** An agent that its budget alone puts behind by less than this waits and sends later; one further behind sheds. */
export const BUDGET_WAIT_MS_MAX = 30_000;

/** Looking up the paths of opened files: its share of one core, its burst, and the latest time after the call. */
export const FILE_PATHS_CPU_SHARE = 0.05;
export const FILE_PATHS_CPU_BURST_MS = 250;
export const FILE_PATHS_AGE_MS_MAX = 1_000;
/** Paths in the field mask of one subscription. */
export const FIELDS_MAX = 64;
/** Redaction rules of the configuration. One rule's pattern: its text, its compiled size, its groups and its hints. */
export const REDACTION_RULES_MAX = 64;
export const REDACTION_PATTERN_BYTES_MAX = 8 * KiB;
export const REDACTION_PATTERN_INSTRUCTIONS_MAX = 4096;
export const REDACTION_GROUPS_MAX = 16;
export const REDACTION_HINTS_MAX = 16;
/** Event types of which a node says what it cannot see of them, and one such sentence. */
export const BLIND_SPOTS_MAX = 64;
export const BLIND_SPOT_CHARACTERS_MAX = 256;
/** Rules whose masked secrets a broker counts apart, over all its nodes; all further rules are counted as one. */
export const REDACTION_NAMES_MAX = 256;
/** Matches of one rule in one text; the text behind the last one is masked whole. */
export const REDACTION_MATCHES_MAX = 256;
/**
 * Instructions of one pattern times characters of one text: a longer text is masked whole. After the time, the rest of
 * a text is masked whole.
 */
export const REDACTION_PATTERN_STEPS_MAX = 16 * MiB;
export const REDACTION_PATTERN_MS_MAX = 100;
/** Share of one core for searching texts that may hold secrets; beyond it, texts are masked by where they stand. */
export const REDACTION_CPU_SHARE = 0.05;
export const REDACTION_CPU_BURST_MS = 250;
/** Paths, cgroup names and the like. */
export const EVENT_STRING_BYTES_MAX = 4 * KiB;
/** Arguments in an event: what is no UTF-8 takes three times its bytes there, and is cut. */
export const EVENT_ARGUMENTS_BYTES_MAX = 2 * ARGUMENTS_BYTES_MAX;
/** A program's name: longer ones are of a FUSE filesystem only. */
export const EXECUTABLE_NAME_BYTES_MAX = 1 * KiB;
/** What stands in an event behind its process: container, network and the like. */
export const EVENT_BESIDE_BYTES_MAX = 13 * KiB;
/** The program, its parent's, working directory, cgroup; and the names of the two programs. */
const EVENT_PATHS_BYTES_MAX = 4 * EVENT_STRING_BYTES_MAX + 2 * EXECUTABLE_NAME_BYTES_MAX;
/** Both paths of a rename or link; of longer ones the second is not told. */
export const FILE_PATHS_BYTES_MAX = 7 * KiB;
/** Threads that are in a call with a path. */
export const PATH_JOIN_THREADS_MAX = 1024;
/** Threads that are in a call that names something else; each has a record or two of its names. */
export const CALL_JOIN_THREADS_MAX = 256;
/** What is shown of other programs, and a second time of this one, where an event has room. */
export const PARENT_ARGUMENTS_BYTES_MAX = 4 * KiB;
export const COMMAND_LINE_BYTES_MAX = 8 * KiB;
/** What is read of the node's list of users. */
export const PASSWD_BYTES_MAX = 1 * MiB;
export const ANCESTORS_MAX = 8;
export const ANCESTOR_BYTES_MAX = 256;

/** Filter text, and its nesting, which is counted before parsing. */
export const FILTER_BYTES_MAX = 4 * KiB;
export const FILTER_DEPTH_MAX = 32;
/** Names, literals and operators of a filter: bounds the work of checking it and of evaluating it once. */
export const FILTER_TOKENS_MAX = 1024;
/** Text joined with `+`, in characters; a longer one is an evaluation error. */
export const FILTER_STRING_CHARACTERS_MAX = 8 * KiB;
/** Compiled RE2 instructions of all patterns of one filter; those within exists() and the like count twice. */
export const FILTER_PATTERN_INSTRUCTIONS_MAX = 128;
/** Steps of one comprehension's body over the longest argument list. */
export const FILTER_STEPS_MAX = 128 * KiB;
/** Text of the checked filters that are kept; a checked tree takes some thirty times its text. */
export const FILTER_CACHE_BYTES_MAX = 256 * KiB;
/** Comparisons in the condition that a filter puts on raw entries; a larger condition is dropped. */
export const RAW_FORM_TERMS_MAX = 1024;
/** Predicates that one test of raw entries combines; if more ask for a type, every entry of it is decoded. */
export const RAW_TEST_CONDITIONS_MAX = 64;
/** Text of a kernel filter (one page of memory holds it), its comparisons, and how deep they nest. */
export const KERNEL_FILTER_BYTES_MAX = 4000;
export const KERNEL_FILTER_TERMS_MAX = 200;
export const KERNEL_FILTER_DEPTH_MAX = 32;
/** A subscriber's own name, in characters. */
export const CLIENT_NAME_CHARACTERS_MAX = 64;
export const PREDICATES_MAX = 1024;
/** What an agent keeps of what it is asked: brokers that claim at once may ask for more than each allows. */
export const PREDICATES_TOLD_MAX = 4 * PREDICATES_MAX;
/** Selectors of one subscription, and so predicates of one history query: no more than one test of raw entries combines. */
export const SELECTORS_MAX = 64;
export const SELECTOR_ID_CHARACTERS_MAX = 64;
/** Unions of the field masks of predicates that match the same events. */
export const MASK_UNIONS_MAX = 64;
export const TOPICS_PER_REQUEST_MAX = 64;
export const NODE_GLOBS_MAX = 256;
export const NAME_BYTES_MAX = 253;
/** A request to the public API, encoded. */
export const REQUEST_BYTES_MAX = 128 * KiB;
/**
 * A token in a header or a file. One that a broker makes has 43 characters, signed web tokens with groups take some KiB.
 * And how often refusals for lack of a token are logged.
 */
export const TOKEN_CHARACTERS_MIN = 32;
export const TOKEN_CHARACTERS_MAX = 8 * KiB;
export const REFUSALS_LOGGED_INTERVAL_MS = 60_000;
/** The interval at which a watching command may ask a broker. */
export const WATCH_INTERVAL_MS_MIN = 100;
export const WATCH_INTERVAL_MS_MAX = 86_400_000;
export const CURSOR_BYTES_MAX = 4 * KiB;
/** Nodes that one sentence names; the others are only counted. */
export const NODES_NAMED_MAX = 16;
/** Nodes that a cursor names itself; further ones are named by a chain of notes in the log, at most this long. */
export const CURSOR_NODES_MAX = 32;
export const CURSOR_NOTES_MAX = 64;
/** A read of a partition's log that takes longer than this holds up the other partitions no more. */
export const PLACE_PATIENCE_MS = 100;
/** One that cannot be read is tried again after this, */
export const PLACE_REST_MS = 250;
/** and ends its subscribers' streams when it could not be read for so long: another broker may read it. */
export const PLACE_TROUBLE_MS_MAX = 30_000;
/** After a log that took no note: events wait for the attempt. */
export const CURSOR_NOTES_RETRY_MS = 1_000;

/** An agent waits once this much of its sent frames is unacknowledged. */
export const UNACKNOWLEDGED_BYTES_MAX = 4 * MiB;
/**
 * Frames are acknowledged when so many bytes of them are durable, and this often, as nobody waits for it and each
 * acknowledgement wakes the agent: with the first frame that is durable after that time, or a little later.
 */
export const ACKNOWLEDGED_BYTES = UNACKNOWLEDGED_BYTES_MAX / 8;
export const ACKNOWLEDGED_INTERVAL_MS = 1_000;
export const ACKNOWLEDGED_MS_MAX = 1_250;
/**
 * Bytes that an agent has written to a data stream and the socket has not taken, whatever the broker acknowledged or
 * granted. Beyond it matching pauses, and the recorder serves as the outbox. The bound on messages holds for any
 * stream: a broker that leaves more unread loses the session.
 */
export const UPLINK_QUEUE_BYTES_MAX = 2 * MiB;
export const UPLINK_QUEUE_MESSAGES_MAX = 4096;
/** What a frame of history counts at least: when the queue has no room for bytes, it still has some for ends. */
export const UPLINK_MESSAGE_BYTES_MIN = UPLINK_QUEUE_BYTES_MAX / (UPLINK_QUEUE_MESSAGES_MAX / 2);
/** Frames that an agent sends together: mostly one of each topic. */
export const LIVE_MESSAGE_FRAMES_MAX = 64;
/** Overhead of a message on a data stream: gRPC's head, HTTP/2's frame heads, and the field that holds the frame. */
export const DATA_MESSAGE_OVERHEAD_BYTES = 64;

/** Bytes that wait in memory in front of one subscriber's stream. */
export const SUBSCRIBER_QUEUE_BYTES_MAX = 1 * MiB;
/**
 * The newest frames, for all subscribers that are hardly behind. What came in the last 10 s stays for longer where many nodes
 * send, by their number: 1,000 of them with 20 events a second are 4 MiB a second, and reading the log for each of them anew
 * takes longer than they take to send.
 */
export const SUBSCRIPTION_FRAME_CACHE = {
  ...{ bytesMax: 1 * MiB, newestMs: 10_000, newestBytesMax: 16 * MiB },
  newestBytesPerNode: 32 * KiB,
} as const;

/** Tasks (threads) and sockets whose context an agent remembers. */
export const TASKS_MAX = 65_536;
/** Paths of programs of which what events say is kept, in each table of processes. */
export const EXECUTABLES_MAX = 512;
export const TASKS_BYTES_MAX = 32 * MiB;
export const SOCKETS_MAX = 32_768;
/** Page records and side records that wait in the timeline until they can be put in order. */
export const TIMELINE_PENDING_EVENTS_MAX = 262_144;
/** How long an exec waits for its arguments before it is passed on without them. */
export const EXEC_CONTEXT_WAIT_MS = 250;
/** How far apart the two instances' times of one exec may be, and how many side records wait for their exec. */
export const EXEC_JOIN_NS_MAX = 20_000_000n;
export const EXEC_JOIN_RECORDS_MAX = 16_384;
/**
 * The recorder writes a checkpoint after every SHARE times the bytes of the last checkpoint, but within these two
 * bounds, because every reader of the recording starts at one. Very large checkpoints (tens of thousands of processes)
 * come after RATIO times their own bytes.
 */
export const CHECKPOINT_INTERVAL_BYTES_MIN = 4 * MiB;
export const CHECKPOINT_INTERVAL_BYTES_MAX = 16 * MiB;
export const CHECKPOINT_INTERVAL_SHARE = 16;
export const CHECKPOINT_INTERVAL_RATIO = 3;
export const CHECKPOINT_PART_BYTES = 2 * MiB;
/**
 * Recorded bytes that a publisher reads before others get their turn: a third of a core, less than the guard allows.
 */
export const REPLAY_STEP_BYTES = 128 * KiB;
/**
 * Turn of a publisher that returns from a checkpoint to where it left off: that takes a second at most, and sends
 * nothing.
 */
export const REPLAY_RETURN_TURN_MS = 32;

/**
 * Filesystems keep times in steps, of up to so long (FAT; ext4 with small inodes 1 s, Linux before 6.13 its tick of 4 or
 * 10 ms): two changes within one step leave the same time.
 */
export const FILE_TIME_STEP_MS = 2_000;
/** One record of a segment log. */
export const RECORD_BYTES_MAX = 8 * MiB;
export const SEGMENT_BYTES = 64 * MiB;
export const SEGMENT_BYTES_MIN = 256;
export const SEGMENT_BYTES_MAX = 1 * GiB;
/** The records that a segment begins with, together: less than a segment, or no other record would fit. */
export const SEGMENT_HEAD_BYTES_MAX = 32 * MiB;
export const SEGMENT_HEAD_RECORDS_MAX = 1024;
/**
 * The index of a segment has an entry per this many bytes, and at most this many anchors (24 bytes each), thinned out
 * beyond.
 */
export const SEGMENT_MARK_BYTES = 256 * KiB;
export const SEGMENT_ANCHORS_MAX = 4096;
/** Segments of one log; beyond it the oldest are deleted, as they are beyond its bytes. */
export const LOG_SEGMENTS_MAX = 4096;
/**
 * Records that a log may have received since its bounds were written down: after a loss its ordinals skip this many.
 */
export const LOG_UNMARKED_RECORDS_MAX = 2 ** 20;
/** Damage that is reported in detail when a log is opened; further damage is only counted. */
export const LOG_NOTES_MAX = 256;
/** A log reader's buffer; it grows while records do not fit, to 1 MiB or the longest record. */
export const READER_BUFFER_BYTES = 64 * KiB;
export const READER_BUFFER_BYTES_MAX = 1 * MiB;

export const RECORDER_BYTES_DEFAULT = 1 * GiB;
export const RECORDER_AGE_MS_DEFAULT = 24 * 3600 * 1000;
export const LOG_BYTES_DEFAULT = 4 * GiB;
export const LOG_AGE_MS_DEFAULT = 24 * 3600 * 1000;
export const PARTITIONS = 8;
/** Segments of a partition log: a start, or a cursor that resumes, reads one of them. */
export const LOG_SEGMENT_BYTES = 16 * MiB;
/** Nodes whose place a partition log remembers; those silent for longest are forgotten first. */
export const NODES_PER_PARTITION_MAX = 4096;
/** The bound on the whole log holds at least this many segments, because deletion goes segment by segment. */
export const LOG_SEGMENTS_MIN = 16;
export const LOG_RETENTION_INTERVAL_MS = 30_000;
/** The whole log may exceed its bound by so much for as long as somebody notes what is about to be forgotten. */
export const LOG_EXCESS_BYTES_MAX = 32 * MiB;
/** A log that could not store a frame is tried again this often. */
export const LOG_RETRY_MS = 1_000;
/** How often the log is synced where frames are not acknowledged by their sync. */
export const LOG_SYNC_INTERVAL_MS = 1_000;

/** An agent whose Hello is not answered by then connects again. */
export const UPLINK_SILENCE_MS = 10_000;

/** Nodes that a broker knows, connected or not: of the disconnected, those that never delivered are dropped first. */
export const NODES_MAX = 10_240;
/** Profiles that a node may state as allowed, including those of later versions. */
export const PROFILES_PER_NODE_MAX = 16;
/** A sentence that a node states about itself, or in its answer to a query. */
export const NODE_MESSAGE_CHARACTERS_MAX = 1024;
/** The highest epoch that an agent may begin with: seconds since 1970 fit easily. Brokers may count on from there. */
export const EPOCH_MAX = 2 ** 48;
export const EPOCHS_BEYOND_MAX = 2 ** 20;
/** The whole interest, as a node is told it when it connects, encoded: it must fit a message. */
export const INTEREST_BYTES_MAX = 512 * KiB;
/** Control messages that wait in memory for an agent; an agent that does not read them loses its session. */
export const CONTROL_QUEUE_BYTES_MAX = 2 * MiB;
/** A control stream without a Hello by then is closed. */
export const HELLO_MS = 5_000;
/**
 * A broker that retires has so many agents and subscribers on their way to others at a time. Each is away the longer the more
 * they are, and more than these do not come sooner: they are what the others are busy with. One that is not known to have
 * arrived counts as on its way for so long, all that one has the less the more they are: all have been sent within
 * RETIRE_MS_MAX. That is a last resort, as who is sent before others have arrived makes all of them slower.
 */
export const RETIRE_AT_ONCE = 4;
export const RETIRE_ARRIVAL_MS = 1_000;
/** A node that another broker has, and of which nothing comes, has nothing to tell after this. */
export const RETIRE_SETTLE_MS = 300;
/** Of one of which no broker says that it has it, as of subscribers: each takes the next some 50 ms of a core. */
export const RETIRE_UNKNOWN_MS = 250;
export const RETIRE_MS_MAX = 40_000;
/** Between two looks whether some have arrived; and how long that takes where the process is late. */
export const RETIRE_LEAST_MS = 5;
export const RETIRE_LATE_MS = 30;
/** How often the command looks whether they are gone. */
export const RETIRE_LOOK_MS = 200;
/**
 * A broker that for so long has more nodes than the mean of its cluster's times BALANCE_RATIO and BALANCE_SLACK more sends one a
 * second to the others, until it has no more than the mean. As long as a lease lasts, as brokers that died count until then.
 */
export const BALANCE_PATIENCE_MS = 20_000;
export const BALANCE_RATIO = 1.2;
export const BALANCE_SLACK = 4;
/** None that came only now. */
export const BALANCE_AGE_MS_MIN = 60_000;
/** One that no other broker has by then is taken for gone. */
export const BALANCE_ARRIVAL_MS = 10_000;
/**
 * None is sent for as long where so many in a row came back, as they know no other broker; or where so many times more were sent
 * than were too many, as those who get them have too many themselves.
 */
export const BALANCE_PAUSE_MS = 3_600_000;
export const BALANCE_RETURNS_MAX = 16;
export const BALANCE_EXCESS_MAX = 3;
/** How long a broker that shuts down waits for its streams to end. */
export const DRAIN_MS = 5_000;
/** Credit of all history queries of a broker together. */
export const HISTORY_POOL_BYTES_MAX = 256 * MiB;
/** Memory of a broker for finding the last N events over all nodes. */
export const LAST_BYTES_MAX = 32 * MiB;
/** A subscriber with lag policy `skip` skips when it is behind the log by this, unless it states another time. */
export const LAG_MS_DEFAULT = 30_000;
export const LAG_MS_MIN = 1_000;
/** Throttling: the longest interval, and how many of the newest delivered events one subscription remembers. */
export const THROTTLE_NS_MAX = 86_400_000_000_000n;
export const THROTTLE_EVENTS_MAX = 8192;
/** Refill: how often owed events are looked for, so that one query covers many; and on how many nodes at once. */
export const REFILL_INTERVAL_MS = 3_000;
export const REFILL_NODES_MAX = 4;
/** Bounds of one refill query: its stretches, the log frames read to find them, and the time between two stretches. */
export const REFILL_STRETCHES_MAX = 256;
export const REFILL_FRAMES_MAX = 4096;
export const REFILL_APART_NS_MAX = 60_000_000_000n;
/** Log frames read to count what is owed because of frames that the log has lost; beyond, the count is unknown. */
export const REFILL_COUNTED_FRAMES_MAX = 65_536;
/** Refill gives up a connected node after this many failures in a row. */
export const REFILL_TRIES_MAX = 5;
/** Log ranges that are owed of one node and topic: each skip, and each resumption meanwhile, adds one. */
export const OWED_RANGES_MAX = 8;
/** How long a live subscription with an end waits for nodes that have not reached that end. */
export const UNTIL_GRACE_MS = 10_000;

/** HTTP API: request line and headers, connections, and how long a request may take to arrive. */
export const HTTP_HEADER_BYTES_MAX = 32 * KiB;
export const HTTP_CONNECTIONS_MAX = 4_224;
export const HTTP_REQUEST_MS = 10_000;
/** Of the name that a problem is about, which may be whatever came. */
export const PROBLEM_FIELD_CHARACTERS_MAX = 256;
/** Connections that may carry a stream of events; the others are left for health, metrics and lists. */
export const HTTP_STREAMS_MAX = 4_096;
/**
 * Answers that were given and not taken, over all connections: beyond it the connection is closed whose answer waits for
 * longest. A page of a list, or the list of the largest number of nodes, has some MiB.
 */
export const ANSWERS_WAITING_BYTES_MAX = 64 * MiB;
/** Metrics are read this often at most, however many ask for them. */
export const METRICS_INTERVAL_MS = 100;
/** Requests of one connection that wait for their turn or are being answered. */
export const HTTP_PIPELINED_MAX = 16;
/** How long the bytes after a refused request are read and dropped, so that the answer arrives. */
export const HTTP_LINGER_MS = 1_000;

/** Silence on a stream of events over HTTP, after which something is sent that says nothing. */
export const STREAM_KEEP_ALIVE_MS = 15_000;
/** How soon a browser comes back to a stream of server-sent events. */
export const EVENT_STREAM_RETRY_MS = 2_000;
/** How soon to ask again where there was no room, or the broker was shutting down. */
export const RETRY_AFTER_MS = 2_000;
/** Origins of other pages that are served. */
export const HTTP_ORIGINS_MAX = 64;
/** Buckets of a histogram, and the gaps that it lists. */
export const HISTOGRAM_BUCKETS_MAX = 240;
export const HISTOGRAM_BUCKETS_DEFAULT = 60;
export const HISTOGRAM_GAPS_MAX = 256;

/** Interest outlives its lost subscriber by this time. */
export const INTEREST_GRACE_MS = 30_000;
/** How long a subscriber waits for nodes to acknowledge its interest. */
export const INTEREST_DEADLINE_MS = 2_000;
/** A topic with interest that has nothing to tell states its coverage this often; less often each time. */
export const COVERAGE_INTERVAL_MS = 1_000;
export const COVERAGE_INTERVAL_MS_MAX = 4_000;
export const NODE_REPORT_INTERVAL_MS = 5_000;
/**
 * Each node report carries one reading of the node's wall clock: this many are compared, and the most timely counts.
 */
export const CLOCK_MEASUREMENTS_MAX = 12;
/** A node's wall clock this close to the broker's is taken for equal. */
export const CLOCK_TOLERANCE_MS = 500;
/**
 * How often the kernel's buffers are read while nobody listens. Not less often: what is read beside them of a process
 * (its directory, its cgroup) is gone with it, and the copies of arguments of 3,000 execs a second are all that the
 * buffers hold. Where there is no buffer, what is not seen in time is missed.
 */
export const DRAIN_IDLE_MS = 250;
/**
 * What an agent looks after beside events is done no oftener than this, however often it reads the buffers: at most
 * DRAIN_IDLE_MS after it is due.
 */
export const HOUSEKEEPING_INTERVAL_MS = DRAIN_IDLE_MS / 2;
export const POLL_IDLE_MS = 100;
/** The buffers are read again before more than this share of one is in use, at the pace at which they fill. */
export const DRAIN_FILLED_SHARE = 0.25;
/** While somebody does, unless settings or a subscriber's wish say otherwise: each time costs much the same. */
export const LINGER_MS_DEFAULT = 100;
/** Not more often than this for any wish, unless settings say otherwise. */
export const LINGER_MS_LEAST_DEFAULT = 5;
/**
 * Where there was nothing for so long, buffers are read this many times less often, but as often as while nobody listens.
 * The first event after a silence comes up to 200 ms later than it happened then, by default.
 */
export const LINGER_QUIET_AFTER_MS = 1_000;
export const LINGER_QUIET_FACTOR = 2;
/**
 * Where so much is recorded, some 300 programs a second, and nobody asks for less latency, events gather for longer: half of
 * them are then 100 ms late, 99 of 100 less than 250.
 */
export const LINGER_LOADED_BYTES_PER_SECOND = 100_000;
export const LINGER_LOADED_FACTOR = 1.3;
/** While what was not sent yet is read from the recorder again, a step each time. */
export const LINGER_BEHIND_MS = 8;
/** While paths are looked up that descriptors lead to: soon, before the file is closed. */
export const LINGER_PATHS_MS = 8;
/**
 * Frames of all nodes that a log may be asked to take in a second, by which brokers say how long nodes gather at least: one
 * broker's own, whose broker needs 0.1 to 0.2 ms for each with a subscriber; and one on NATS, of which three servers on two
 * cores took 7,275 and needed both cores whole.
 */
export const FRAMES_PER_SECOND_EMBEDDED = 2_500;
export const FRAMES_PER_SECOND_NATS = 2_000;
/** The longest that a broker may ask for: subscribers see what happens within 5 s. */
export const LEAST_LINGER_MS_MAX = 4_000;
/** What subscribers may wish for. */
export const LATENCY_MS_MIN = 1;
export const LATENCY_MS_MAX = 60_000;
/** Loss is stated at most this often. */
export const LOSS_INTERVAL_MS = 1_000;
/** Wall clock and trace clock are compared this often. */
export const CLOCK_INTERVAL_MS = 10_000;
export const RECORDER_SYNC_INTERVAL_MS = 1_000;

/** The configuration file. */
export const CONFIG_BYTES_MAX = 256 * KiB;
/** A state file of a broker: interest and nodes, budgets. */
export const STATE_BYTES_MAX = 64 * MiB;
/** How long, and for how many events at most, `observe` holds live lines to order a node's topics by time. */
export const LINE_ORDER_MS = 10;
export const LINE_ORDER_EVENTS_MAX = 1_000;
/** So many live events of one node arrive in one turn, as one read of the connection has them: they need not be held longer. */
export const LINE_ORDER_TURN_EVENTS_MAX = 64;
/** How long an interrupted command waits for a reader of stdout that does not read. */
export const OUTPUT_STALLED_MS = 1_000;
/** Log lines that wait while stderr is blocked. */
export const LOG_WAITING_BYTES_MAX = 1 * MiB;
/** Processes and nodes whose names the command line remembers, and the characters of arguments on one event's line. */
export const SHOWN_PROCESSES_MAX = 4096;
export const NODES_SHOWN_MAX = 4096;
export const SHOWN_ARGUMENTS_CHARACTERS_MAX = 1024;
/** How long `up` waits for its agent to end before it kills it: with the broker's streams, within ten seconds. */
export const AGENT_STOP_MS = 4_000;
/** A dead agent is started again after this, doubling while it keeps dying. */
export const AGENT_RESTART_MS_MIN = 250;
export const AGENT_RESTART_MS_MAX = 30_000;
/** An agent that finds no room to begin its recording looks again after this, as it does for one that it has begun. */
export const AGENT_DISK_RETRY_MS = 1_000;

assert(3 * STREAM_KEEP_ALIVE_MS <= STREAM_SILENCE_MS_MAX);
assert(
  CLUSTERS_MAX * (CURSOR_BYTES_MAX + 6 * NAME_BYTES_MAX) < CLUSTER_CURSOR_CHARACTERS_MAX,
  'a place in each cluster, and a node and a topic with every character percent-encoded, fit a cursor',
);
assert(CLUSTER_CURSOR_CHARACTERS_MAX < 128 * KiB, 'a cursor is one argument of a command, which Linux bounds');
assert(FRAME_FLUSH_BYTES <= FRAME_BYTES_MAX);
assert(EVENT_BYTES_MAX <= FRAME_BYTES_MAX);
assert(
  FRAME_BYTES_MAX +
    FRAME_EVENTS_MAX * 24 +
    FRAME_MATCH_INDICES_MAX * 2 +
    PREDICATES_MAX * 24 +
    FRAME_LOSSES_MAX * 4096 +
    APPEND_HEADER_BYTES_MAX <=
    Math.min(MESSAGE_BYTES_MAX, NATS_PAYLOAD_BYTES_MIN),
  'a full frame must fit a message, also of NATS with its headers',
);
assert(FRAME_SHED_IDS_MAX >= 2 * PREDICATES_MAX && FRAME_SHED_IDS_MAX * 32 < MESSAGE_BYTES_MAX);
assert(SELECTORS_MAX <= RAW_TEST_CONDITIONS_MAX);
assert(
  SELECTORS_MAX * (FILTER_BYTES_MAX + KiB) + REQUEST_BYTES_MAX < MESSAGE_BYTES_MAX,
  'a history query is a message',
);
assert(INSTANCE_LOOK_MS + DRAIN_IDLE_MS + DRAIN_MS_MAX < 2_000, 'a changed trace instance is noticed within 2 s');
assert(FRAME_BYTES_MAX < UPLINK_WINDOW_BYTES);
assert(UPLINK_WINDOW_BYTES <= SESSION_WINDOW_BYTES);
assert(
  3 * (MESSAGE_BYTES_MAX + PIECE_BYTES * (MESSAGE_BYTES_MAX / (16 * KiB))) < INCOMPLETE_BYTES_MAX,
  'an agent has three',
);
assert(HELLO_MS < FIRST_MESSAGE_MS);
assert(Math.max(APPEND_MS_MAX, STATE_WRITE_MS) < CLIENT_ANSWER_MS, 'a broker on NATS says why it could not');
assert(2 * NODES_PER_PEER_MAX <= NODES_MAX);
assert(RECONNECT_MS_MAX < NODE_RETURN_MS);
assert(NODES_MAX + SUBSCRIPTIONS_MAX <= GRPC_CONNECTIONS_MAX);
assert(HISTORY_FRAME_BYTES <= HISTORY_CREDIT_BYTES / 4);
assert(NODES_MAX * HISTORY_FRAME_BYTES_MIN <= ROUTE_OUTSTANDING_BYTES_MAX, 'one replay asks all nodes at once');
assert(NODES_MAX * 3 * HISTORY_FRAME_BYTES_MIN <= HISTORY_POOL_BYTES_MAX);
assert(HISTORY_FRAME_BYTES + EVENT_BYTES_MAX + 2 * HISTORY_MATCH_INDICES_MAX < HISTORY_OVERDRAFT_BYTES);
assert(FILE_PATHS_BYTES_MAX + CONTAINER_EVENT_BYTES_MAX + 512 < EVENT_BESIDE_BYTES_MAX);
assert(EVENT_ARGUMENTS_BYTES_MAX + EVENT_PATHS_BYTES_MAX + 512 + EVENT_BESIDE_BYTES_MAX <= EVENT_BYTES_MAX);
// Of ordinary arguments nothing that is named is cut for want of room.
assert(
  ARGUMENTS_BYTES_MAX +
    EVENT_PATHS_BYTES_MAX +
    PARENT_ARGUMENTS_BYTES_MAX +
    COMMAND_LINE_BYTES_MAX +
    ANCESTORS_MAX * ANCESTOR_BYTES_MAX <
    EVENT_BYTES_MAX - EVENT_BESIDE_BYTES_MAX,
);
assert(MESSAGE_BYTES_MAX < RECORD_BYTES_MAX);
assert(PAGE_BYTES_MAX < RECORD_BYTES_MAX);
assert(INTEREST_BYTES_MAX < MESSAGE_BYTES_MAX && MESSAGE_BYTES_MAX < CONTROL_QUEUE_BYTES_MAX);
assert(NODES_PER_PARTITION_MAX * 512 < RECORD_BYTES_MAX, 'a checkpoint must fit a record');
assert(HISTORY_CREDIT_BYTES < HISTORY_POOL_BYTES_MAX);
assert(RECORD_BYTES_MAX < SEGMENT_BYTES);
assert(HTTP_STREAMS_MAX + 32 < HTTP_CONNECTIONS_MAX, 'health checks find a place');
assert(AGENT_STOP_MS + DRAIN_MS < 10_000, 'SIGTERM ends a process within ten seconds');
assert(
  RETIRE_MS_MAX + DRAIN_MS < 60_000,
  'a broker of a cluster that retires ends within the grace that deploy/ gives',
);
assert(SEGMENT_HEAD_BYTES_MAX < SEGMENT_BYTES);
assert(SEGMENT_BYTES_MAX + SEGMENT_HEAD_BYTES_MAX + RECORD_BYTES_MAX < 2 ** 31, 'the index holds offsets in 31 bits');

/** Upper bound of what one agent's connection can hold in a broker's memory. */
export const CONNECTION_BYTES_MAX = SESSION_WINDOW_BYTES + INCOMPLETE_BYTES_MAX;
