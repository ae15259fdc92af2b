/** Bounds of what is read from the kernel, and of what is said where that is not whole. */
import { KiB, MiB } from './units.js';

/** A kernel ring-buffer page (sub-buffer), its header, and the text that describes its events. */
export const PAGE_BYTES_MAX = 64 * KiB;
export const PAGE_HEADER_BYTES = 16;
export const FORMAT_BYTES_MAX = 64 * KiB;
export const FORMAT_FIELDS_MAX = 256;
export const FORMATS_MAX = 4096;
/** One drain of the trace buffers: whichever comes first. */
export const DRAIN_BYTES_MAX = 64 * MiB;
export const DRAIN_MS_MAX = 50;
/** A page may be so far ahead of the clock as it was when its drain began: it is read a moment later. */
export const PAGE_AHEAD_NS_MAX = 5_000_000_000n;
/** From an event's time stamp to where it can be read, and for how long more is allowed for where it was seen. */
export const COMMIT_SLACK_NS_MIN = 1_000_000n;
export const COMMIT_SLACK_NS_MAX = 20_000_000n;
export const COMMIT_SLACK_KEPT_NS = 600_000_000_000n;
/** All kernel buffers together take at most this part of the machine's memory. */
export const KERNEL_BUFFERS_MEMORY_SHARE = 0.01;
export const KERNEL_BUFFER_BYTES_PER_CPU = 4 * MiB;
/** The exec lane's own buffer: some thousand execs. */
export const EXEC_BUFFER_BYTES_PER_CPU = 256 * KiB;
/** Threads that wait for execs, one per CPU; machines with more CPUs poll. */
export const EXEC_WORKERS_MAX = 4;
/** What one thread of the exec lane may use of its core, over time and at once: some 1,500 execs a second. */
export const EXEC_LANE_CPU_SHARE = 0.25;
export const EXEC_LANE_CPU_BURST_MS = 500;
/** What one thread of the exec lane has read and the agent has not taken: a power of two. */
export const EXEC_RING_BYTES = 512 * KiB;
/** The synthetic source, so that it neither hangs the agent after a stall nor outruns its page writer. */
export const SYNTHETIC_EVENTS_PER_SECOND_MAX = 5_000_000;
export const SYNTHETIC_EVENTS_PER_DRAIN_MAX = 4_000;
/** Lanes of all synthetic nodes of one process: each holds a page of PAGE_BYTES_MAX. */
export const SYNTHETIC_LANES_MAX = 1024;
export const SYNTHETIC_NODES_MAX = 256;
/** Of one kind of events in a mix; the plan of a mix has as many entries as its weights have in all. */
export const SYNTHETIC_WEIGHT_MAX = 1000;
/** One CPU's pages of a capture given to `decode`. */
export const CAPTURE_BYTES_MAX = 256 * MiB;

/** Losses that a frame, or a history query's answer, states apart; more become one with the last of their reason. */
export const FRAME_LOSSES_MAX = 8;
export const LOSS_MESSAGE_CHARACTERS_MAX = 512;

/**
 * How often our trace instances are looked at, since others can change them; at once where a write is heard of, but not
 * more often than this. Every so many looks read every control file, even where the kernel tells of writes.
 */
export const INSTANCE_LOOK_MS = 1_500;
export const INSTANCE_LOOK_MS_MIN = 100;
export const INSTANCE_LOOKS_PER_THOROUGH = 10;
/** Restored so often within this time, an instance is left as somebody else wants it for a while, twice as long each time. */
export const INSTANCE_RESTORES_MAX = 5;
export const INSTANCE_RESTORES_MS = 60_000;
export const INSTANCE_LEFT_MS_MIN = 30_000;
export const INSTANCE_LEFT_MS_MAX = 600_000;
/** A node says for so long that its trace instance was changed and restored. */
export const INSTANCE_CHANGE_SHOWN_MS = 300_000;

/** The overhead guard looks away behind the agent's start for as many times what the start took, and no longer than this. */
export const GUARD_START_UP_FACTOR = 5;
export const GUARD_START_UP_MS_MAX = 120_000;

/** How far ahead of a node's clock its log may be: frames are covered up to a moment that has been. */
export const COVERED_AHEAD_NS_MAX = 5_000_000_000n;
