/** Bounds on reading from the kernel, and on stating what could not be read. */
import { KiB, MiB } from './units.js';

/** A kernel ring-buffer page (sub-buffer), its header, and the text that describes its events. */
export const PAGE_BYTES_MAX = 64 * KiB;
export const PAGE_HEADER_BYTES = 16;
export const FORMAT_BYTES_MAX = 64 * KiB;
export const FORMAT_FIELDS_MAX = 256;
export const FORMATS_MAX = 4096;
/** One drain of the trace buffers ends at whichever bound comes first. */
export const DRAIN_BYTES_MAX = 64 * MiB;
export const DRAIN_MS_MAX = 50;
/** A page is read a moment later than the clock at which its drain began, so it may be ahead of it by this much. */
export const PAGE_AHEAD_NS_MAX = 5_000_000_000n;
/** Delay from an event's time stamp until it is readable, and how long a larger slack is kept after such a delay. */
export const COMMIT_SLACK_NS_MIN = 1_000_000n;
export const COMMIT_SLACK_NS_MAX = 20_000_000n;
export const COMMIT_SLACK_KEPT_NS = 600_000_000_000n;
/** All kernel buffers together take at most this part of the machine's memory. */
export const KERNEL_BUFFERS_MEMORY_SHARE = 0.01;
export const KERNEL_BUFFER_BYTES_PER_CPU = 4 * MiB;
/** The exec lane's own buffer: some thousand execs. */
export const EXEC_BUFFER_BYTES_PER_CPU = 256 * KiB;
/** The same where execs are probed: each brings a copy of its arguments along, of 2 KB. */
export const EXEC_PROBE_BUFFER_BYTES_PER_CPU = 2 * MiB;
/** The buffer of DNS datagrams' copies, which have up to 0.6 KB. */
export const QUERY_BUFFER_BYTES_PER_CPU = 256 * KiB;
/** Between a datagram's entry and its copy, which the same call made. */
export const QUERY_JOIN_NS_MAX = 1_000_000n;
/** Copies that wait for their entries. */
export const QUERIES_HELD_MAX = 4_096;
/** Between a route that was asked for and its datagram: the call that asks waits for room at most. */
export const DATAGRAM_ROUTE_NS_MAX = 1_000_000_000n;
/** Threads that have asked for a route or are in connect(). */
export const DATAGRAM_THREADS_MAX = 1_024;
/** Sockets' peers whose datagrams are counted; of one that was forgotten the next datagram is a first one again. */
export const DATAGRAM_PEERS_MAX = 4_096;
/** A peer that is sent more is told again after this time, with their number. */
export const DATAGRAM_TOLD_NS = 60_000_000_000n;
/** MAX_ARGSTR_LEN in kernel/trace/trace_probe.h: what a probe fetches, without its name. */
export const FETCH_CHARACTERS_MAX = 63;
/** Dynamic linkers in which execs are probed at once. */
export const EXEC_PROBES_MAX = 64;
/** One on a filesystem that no process uses any more is kept for so long: its next program may be about to start. */
export const EXEC_PROBE_KEPT_NS = 2_000_000_000n;
/** A filesystem in which one was placed in vain, as no process used it, is left alone for so long. */
export const EXEC_PROBE_USELESS_NS = 600_000_000_000n;
/** How often copies are read, and what is to be looked after beside them, where no program starts. */
export const EXEC_QUIET_READ_MS = 1_000;
/** Share of a core, and burst, for seeking a program that has ended in what is mounted: some milliseconds each. */
export const EXEC_SEEK_CPU_SHARE = 0.05;
export const EXEC_SEEK_CPU_BURST_MS = 500;
/**
 * Share of a core for comparing the list of mounts, by which containers' roots are found, and how many at once. Where no
 * program has started for so long, it is looked at that often: a third of what an idle agent took. While programs start it
 * is looked at somewhat oftener than the buffers are read while nobody listens.
 */
export const MOUNTS_LOOK_SHARE = 0.001;
export const MOUNTS_LOOK_MS_MIN = 200;
export const MOUNTS_QUIET_MS = 1_000;
export const OVERLAYS_PER_LOOK_MAX = 4;
/** Layers of an overlay that are looked through. The kernel takes 500, and most images have some ten. */
export const MOUNT_LAYERS_MAX = 128;
/** Overlays of which it is remembered whether the kernel answers for all their layers, a kilobyte or so each. */
export const OVERLAYS_KNOWN_MAX = 256;
/** One that copied no exec for so long makes room for a new file's. */
export const EXEC_PROBE_IDLE_NS = 60_000_000_000n;
/** How long an exec waits for a program that has not run yet: what comes later is held back meanwhile. */
export const EXEC_COPY_WAIT_NS = 150_000_000n;
/**
 * Where a program had so many bytes of arguments, half of what a probe copies, the next copies are read this often for a
 * while: what a copy has no room for can be read of a program that lives for 20 ms.
 */
export const EXEC_LONG_BYTES = 768;
export const EXEC_LONG_READ_MS = 10;
export const EXEC_LONG_FOR_MS = 10_000;
/** Execs in a row without a copy for which a probe is doubted, and how often one that is doubted is tried with a program. */
export const EXEC_PROBE_MISSES_MAX = 3;
export const EXEC_PROBE_DOUBT_MS = 1_000;
/**
 * How soon a probe that failed is tried again: at first, and at last, twice as late each time. While the kernel refuses
 * its definition, which costs nothing to ask, at most the second. One that has held for as long as the last is tried soon
 * again.
 */
export const EXEC_PROBE_AGAIN_MS_MIN = 1_000;
export const EXEC_PROBE_AGAIN_MS = 10_000;
export const EXEC_PROBE_AGAIN_MS_MAX = 600_000;
/** How long a program that is run to prove a probe may take. */
export const EXEC_PROOF_MS_MAX = 5_000;
/**
 * How long a command line is waited for, by whoever does nothing else meanwhile, and the first time the thread that reads
 * it; and threads that a process may keep waiting each, before no more are read.
 */
export const COMMAND_LINE_MS_MAX = 1_000;
export const COMMAND_LINE_THREAD_MS_MAX = 30_000;
export const COMMAND_LINE_THREADS_MAX = 4;
/** How long it holds that all processes let whoever asks have the lock of their memory. */
export const MEMORIES_ANSWERED_MS = 250;
/** Threads that wait for execs, one per CPU; machines with more CPUs poll. */
export const EXEC_WORKERS_MAX = 4;
/** Share of its core, and burst, that one thread of the exec lane may use: some 1,500 execs a second. */
export const EXEC_LANE_CPU_SHARE = 0.25;
export const EXEC_LANE_CPU_BURST_MS = 500;
/** Bytes that one thread of the exec lane has read and the agent has not taken yet: a power of two. */
export const EXEC_RING_BYTES = 512 * KiB;
/** Bounds of the synthetic source, so that it neither hangs the agent after a stall nor outruns its page writer. */
export const SYNTHETIC_EVENTS_PER_SECOND_MAX = 5_000_000;
export const SYNTHETIC_EVENTS_PER_DRAIN_MAX = 4_000;
/** Lanes of all synthetic nodes of one process: each holds a page of PAGE_BYTES_MAX. */
export const SYNTHETIC_LANES_MAX = 1024;
export const SYNTHETIC_NODES_MAX = 256;
/** Weight of one kind of event in a mix; the plan of a mix has as many entries as the sum of its weights. */
export const SYNTHETIC_WEIGHT_MAX = 1000;
/** One CPU's pages of a capture given to `decode`. */
export const CAPTURE_BYTES_MAX = 256 * MiB;

/** Losses that a frame, or a history query's answer, lists; a further one is merged with the last of its reason. */
export const FRAME_LOSSES_MAX = 8;
export const LOSS_MESSAGE_CHARACTERS_MAX = 512;

/**
 * How often the trace instances are checked, because others can change them. A noticed write causes a check at once,
 * but no sooner than the minimum after the last. Every tenth check reads all control files, even where the kernel
 * reports writes.
 */
export const INSTANCE_LOOK_MS = 1_500;
export const INSTANCE_LOOK_MS_MIN = 100;
export const INSTANCE_LOOKS_PER_THOROUGH = 10;
/**
 * An instance restored this often within this time is left as somebody else wants it for a while, twice as long each
 * time.
 */
export const INSTANCE_RESTORES_MAX = 5;
export const INSTANCE_RESTORES_MS = 60_000;
export const INSTANCE_LEFT_MS_MIN = 30_000;
export const INSTANCE_LEFT_MS_MAX = 600_000;
/** How long a node reports that its trace instance was changed and restored. */
export const INSTANCE_CHANGE_SHOWN_MS = 300_000;

/** How far a broker's log may be ahead of a node's clock: frames cover up to a moment in the past. */
export const COVERED_AHEAD_NS_MAX = 5_000_000_000n;
