/**
 * Defines the sources of kernel events. Every source delivers the same thing,
 * the kernel's own ring-buffer pages plus side records, so that recorder,
 * timeline and matcher have one path: tracefs reads the pages, procfs and
 * synthetic write them with the page writer.
 */
import type { RawExpr } from '../../subscriptions/pushdown/raw-expr.js';
import type { CgroupPaths } from './cgroups.js';
import type { FormatTable } from './pages/format.js';

/** The kernel's own copy, which nothing can miss, or what /proc says soon after. */
export type ArgumentsBy = 'kprobe' | 'uprobe' | 'visit';

export interface Source {
  readonly name: 'tracefs' | 'procfs' | 'synthetic';
  /** The events that the pages hold. Constant while the source runs. */
  readonly formats: FormatTable;
  /** Number of lanes (CPUs) from which pages come: lane indices are below it. */
  readonly lanes: number;
  /** Events that it can record on demand only; undefined where there are none. */
  readonly onDemand?: OnDemandEvents | undefined;
  /** How arguments of programs are had; undefined where they are part of the events, or cannot be had. */
  readonly argumentsBy?: ArgumentsBy | undefined;
  /** What is not known of the events of a type, by type, although its profile is allowed. */
  readonly blindSpots?: ReadonlyMap<string, string> | undefined;
  /** What this source cannot see, in one sentence; undefined when it sees all. */
  readonly degraded: string | undefined;
  /** Bytes per sub-buffer: no page is longer. */
  readonly pageBytesMax: number;
  /** Entries that were taken from the kernel's buffers before it began, as the kernel counts; undefined: not known. */
  readonly entriesTaken?: number | undefined;
  /** Whether the kernel had overwritten entries in them by then. */
  readonly overwritten?: boolean | undefined;
  /** How often it should be drained while nobody listens. */
  readonly idleMs: number;
  /** Starts reading. Events left in an earlier agent's buffer are delivered at the first drain. */
  start(sink: SourceSink): Promise<void>;
  /** Reads what is there. Called by the agent's timer; synchronous and bounded in time. */
  drain(): DrainResult;
  /** A pair of clocks read at the same moment; renewed by the agent every few seconds. */
  clock(): ClockPair;
  /** Events lost so far by the kernel's own count, to reconcile at shutdown; undefined where there is none. */
  overrun(): number | undefined;
  /**
   * Called after every drain: returns changes that somebody else made since, where they are noticed. `nowMs` is
   * monotonic.
   */
  look?(nowMs: number): readonly Disturbance[];
  /** Called after every drain: returns what probes in the kernel have missed since, as far as it counts that. */
  missed?(nowMs: number): readonly ProbeMiss[];
  /** Stops reading and removes what was made in the kernel. Idempotent. */
  stop(): Promise<void>;
  /**
   * `group/event` of probes that an earlier version left, under names of this one's, and that record something else.
   * Their entries are read as theirs; then the source is to be retired, and started again.
   */
  readonly outdated?: readonly string[] | undefined;
  /** As stop(), but nothing is recorded any more, and all that was is delivered first. */
  retire?(): Promise<void>;
}

/** Calls for which the kernel did not run a probe. */
export interface ProbeMiss {
  /**
   * Of which events are missing, or lack what the probe tells. Undefined: none are, but what is known of processes may be
   * of before.
   */
  readonly type: string | undefined;
  /** How many are missing; undefined: not known. */
  readonly events: number | undefined;
  /** Trace-clock time behind which they are. Undefined: before this agent, at an unknown time. */
  readonly fromNs: bigint | undefined;
  readonly message: string;
}

/** Somebody changed what the source records with. */
export interface Disturbance {
  /** `left`: it is as somebody else wants it, and events are missing until it is `over`. */
  readonly state: 'restored' | 'left' | 'over';
  /** Trace-clock time when all was last right. Undefined: the change came before this agent, at an unknown time. */
  readonly fromNs: bigint | undefined;
  /** Whether events may be missing, and not only details about them. */
  readonly loses: boolean;
  readonly message: string;
  /** As Source has it, by now: what others took is part of what this says. */
  readonly entriesTaken?: number | undefined;
}

/** Trace events (`group/event`) that are switched on and off while the source runs. Their formats are in `formats`. */
export interface OnDemandEvents {
  readonly events: ReadonlySet<string>;
  /** An adopted instance may have begun with some. */
  readonly enabled: ReadonlySet<string>;
  /** Throws `failed_precondition` where the kernel refuses. */
  switch(event: string, on: boolean): void;
  /**
   * Lets the kernel leave out entries on which none of the conditions holds; it may pass more. Undefined: leave out
   * none. In force at once, without a moment at which entries that pass before and after are left out.
   */
  filter(event: string, conditions: readonly RawExpr[] | undefined): void;
}

export interface DrainResult {
  readonly pages: number;
  readonly bytes: number;
  /** False when the drain stopped before the buffers were empty (there is more to read at once). */
  readonly empty: boolean;
  /** How much of its buffer the fullest lane had in use, 0 to 1; 0 where there is no buffer. */
  readonly filled: number;
}

/** Calls are synchronous and in order of arrival; buffers are valid only during the call. */
export interface SourceSink {
  page(page: SourcePage): void;
  /**
   * End of a drain: no event below `horizonNs` (trace clock) will come from any lane, but for late ones. `readOn` delivers
   * the pages that came since, for whoever has to know what happened until now; false: not all of them.
   */
  horizon(horizonNs: bigint, readOn?: () => boolean): void;
  /** Takes the side record of one exec. */
  exec(record: ExecRecord): void;
  /** Called behind execs that are in no buffer of the kernel any more: they are recorded, should this agent be killed. */
  settle(): void;
  /** Takes what datagrams asked; called behind their pages and before the horizon. */
  queries(queries: readonly QueryRecord[]): void;
  /** Something that people should know: an adopted instance, a mounted tracefs, a failed lane. */
  note(reason: string, message: string): void;
}

export interface SourcePage {
  readonly lane: number;
  /** Header (16 bytes) and the committed data; trailing padding and the lost count trimmed off. */
  readonly bytes: Buffer;
  /** Events that the kernel lost between the page before (of this lane) and this one. */
  readonly lost: number;
  /** True when some were lost and the kernel does not say how many. */
  readonly lostUnknown: boolean;
}

/** Which process an exec made. `missed` when its arguments could not be had. */
export interface ExecRecord {
  readonly lane: number;
  /** Trace clock of the exec in the instance that its arguments come from: within microseconds of the page's. */
  readonly timeNs: bigint;
  readonly pid: number;
  readonly missed: boolean;
  readonly process?: ProcessSnapshot;
}

/** (uid_t) -1, include/linux/audit.h. */
export const LOGIN_UID_UNSET = 0xffff_ffff;

/** What a datagram to the port of DNS asked; not yet redacted. */
export interface QueryRecord {
  readonly lane: number;
  /** Trace clock of the copy, which was made a moment before the entry. */
  readonly timeNs: bigint;
  /** The thread that sent it. */
  readonly pid: number;
  /** The kernel's address of it. */
  readonly packet: bigint;
  readonly localPort: number;
  /** Absent: it is no question, or not to that port. */
  readonly question?: { readonly name: string; readonly type: string } | undefined;
}

/** One process as /proc shows it. Strings are cut to the limits. Not yet redacted. */
export interface ProcessSnapshot {
  readonly pid: number;
  /** Absent where fork and rename provided it already. */
  readonly parentPid?: number | undefined;
  readonly comm?: string | undefined;
  readonly executablePath?: string | undefined;
  /** The path is what execve was given: nobody could see where it led. */
  readonly executableAsGiven?: boolean | undefined;
  /** Nothing led to the file any more. */
  readonly executableDeleted?: boolean | undefined;
  readonly args?: readonly string[] | undefined;
  /** There was more than `args` holds: the last may be a part of one. */
  readonly argsTruncated?: boolean | undefined;
  readonly workingDirectory?: string | undefined;
  /** The effective one, as the host has it. */
  readonly uid?: number | undefined;
  /** Who logged in; LOGIN_UID_UNSET where nobody did. */
  readonly loginUid?: number | undefined;
  /** The controlling terminal, `pts/3`; empty where it has none. */
  readonly tty?: string | undefined;
  /** The one that is told, and where it is not the only one, all. */
  readonly cgroup?: string | undefined;
  readonly containerId?: string | undefined;
  readonly cgroups?: CgroupPaths | undefined;
  /** Boot clock (trace clock), nanoseconds, from field 22 of stat (10 ms steps). */
  readonly startTimeNs?: bigint | undefined;
  /** Thread ids other than pid (only in the scan at start). */
  readonly threads?: readonly number[] | undefined;
}

export interface ClockPair {
  /** Trace clock, nanoseconds. */
  readonly bootNs: bigint;
  /** Wall clock, nanoseconds since 1970. */
  readonly wallNs: bigint;
}
