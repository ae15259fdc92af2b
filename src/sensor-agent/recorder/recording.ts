/**
 * What stands in a flight recorder's records, and their codecs. Everything the
 * timeline needs is here, so that matching is a pure function of the recording.
 *
 *   Page       := lane u16 | flags u8 (1: lost count unknown) | 0 u8 | firstTie u32 | lost u64 | ring-buffer page
 *   Horizon    := horizonNs u64                 no event below it follows, but for late ones
 *   Clock      := bootNs u64 | wallNs u64
 *   Exec       := see exec-records.ts
 *   Notice, Snapshot, Origin, Checkpoint, Hole, Paths, Loss, Queries, Switch, Containers := msgpack
 *
 * msgpack is self-contained per record (no structures shared between records),
 * so that any record can be read alone.
 */
import { Packr, Unpackr } from 'msgpackr';
import { BackplaneError } from '../../errors.js';
import type { NoticeContext } from '../../wire/event/event.js';
import type { LossReason } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';
import type { ClockPair, QueryRecord, SourcePage } from '../source/source.js';
import type { RecordedProcess } from '../timeline/process-state.js';
import type { Checkpoint } from './checkpoint.js';
import { checkShape, type RecordShape } from './record-shape.js';

export const RecordKind = {
  PAGE: 1,
  HORIZON: 2,
  CLOCK: 3,
  EXEC: 4,
  NOTICE: 5,
  SNAPSHOT: 6,
  ORIGIN: 7,
  CHECKPOINT: 8,
  HOLE: 9,
  PATHS: 10,
  LOSS: 11,
  QUERIES: 12,
  SWITCH: 13,
  CONTAINERS: 14,
} as const;

/** An ExecRecord after redaction. `missed`: the process was gone before it was read, or was not read in time. */
export interface RecordedExec {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly pid: number;
  readonly missed: boolean;
  readonly process?: RecordedProcess | undefined;
}

/** A notice of the agent about itself: becomes a host.* event on the agent's lane. */
export interface RecordedNotice {
  readonly type: 'host.start' | 'host.stop' | 'host.loss' | 'host.degraded';
  readonly timeNs: bigint;
  readonly tie: number;
  readonly notice: NoticeContext;
}

/** TCP sockets of Backplane that pids alone do not identify; endpoints as `address:port`, without brackets. */
export interface SelfSockets {
  /** Endpoints of brokers: connections with them are Backplane's own, also those of subscribers. */
  readonly brokers: readonly string[];
  /** Endpoints that listened before recording began, each with its pid: that process accepted the connections to it. */
  readonly listeners: readonly (readonly [string, number])[];
}

/** The agent, machine and source of the records that follow: written whenever an agent starts. */
export interface Origin {
  readonly epoch: number;
  /** The kernel went on recording since the previous agent, so the known process context still holds. */
  readonly continued: boolean;
  readonly bootId: string;
  readonly source: string;
  /** Text of the format files, by `group/event`. */
  readonly formats: Readonly<Record<string, string>>;
  readonly selfPids: readonly number[];
  /** Absent in older recordings. */
  readonly selfSockets?: SelfSockets | undefined;
  /** All endpoints that listened before recording began, each with its pid; absent where the recording continues. */
  readonly listeners?: readonly (readonly [string, number])[] | undefined;
  readonly degraded?: string | undefined;
  /** Number of the mount namespace of the machine's first process, or of the agent where that cannot be read. */
  readonly mountNamespace?: number | undefined;
  /** The previous epoch was not closed, as after a power cut: an unknown number of its events may be missing. */
  readonly unclosed?: boolean | undefined;
  /**
   * Entries that had been taken from the kernel's buffers when the agent began, as the kernel counts. Absent: not known, or
   * the agent is the same one as before.
   */
  readonly entriesTaken?: number | undefined;
  /** The kernel had overwritten entries in these buffers by then. Absent: it had not, or that is not known. */
  readonly overwritten?: boolean | undefined;
}

/** Processes that a scan of /proc found when an agent started or events were lost, or that were looked at again. */
export interface RecordedSnapshot {
  readonly processes: readonly RecordedProcess[];
  /** They were known, and what may change of them was read again. */
  readonly again?: true | undefined;
}

/** Paths of files that were opened in earlier pages, where they could be read in time. */
export interface RecordedPaths {
  readonly paths: readonly {
    readonly lane: number;
    readonly timeNs: bigint;
    readonly tie: number;
    readonly path: string;
  }[];
}

/** What a datagram to the port of DNS asked, after redaction. Its entry is in an earlier page. */
export interface RecordedQuery extends QueryRecord {
  readonly redactions?: number | undefined;
}

export interface RecordedQueries {
  readonly queries: readonly RecordedQuery[];
}

/** Events of these types are switched on, and were off: what the kernel did meanwhile is not recorded. */
export interface RecordedSwitch {
  readonly types: readonly string[];
  readonly timeNs: bigint;
}

/** A container as its runtime has it; strings are cut to the limits, absent where it has none. */
export interface RecordedContainer {
  /** As the cgroup's path has it. */
  readonly id: string;
  /** Absent of the process that holds a pod's namespaces. */
  readonly name?: string | undefined;
  /** Without tag and digest. */
  readonly image?: string | undefined;
  readonly tag?: string | undefined;
  readonly pod?: string | undefined;
  readonly podUid?: string | undefined;
  readonly namespace?: string | undefined;
  /** No runtime has said what it is. */
  readonly unresolved?: true | undefined;
}

export interface RecordedContainers {
  /** There is a runtime: from here on the first event of a container waits until a record says what that is. */
  readonly asked: boolean;
  readonly containers: readonly RecordedContainer[];
  /** They are not known any more, because others need the room. */
  readonly gone: readonly string[];
}

/**
 * A stretch that the disk refused: some events after `from` and up to `to` are not recorded. The checkpoint that comes
 * next has the context that they left.
 */
export interface RecordedHole {
  readonly from: Position;
  readonly to: Position;
  /** Unrecorded entries of pages, of every type, plus those that the kernel lost. */
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** Absent in older recordings, where it was a full disk. */
  readonly reason?: LossReason | undefined;
  /** For people. */
  readonly message?: string | undefined;
}

/**
 * Events that were not recorded for a reason other than an overrun of the kernel's buffer. A loss that goes on is
 * recorded when it begins and again, with the same reason and from, when it is over.
 */
export interface RecordedLoss {
  readonly reason: LossReason;
  /** Event types that may be missing; absent: any. */
  readonly types?: readonly string[] | undefined;
  /** How many events are missing, exactly; absent: not known. */
  readonly events?: number | undefined;
  /** Where the loss begins: before the frontier when it was noticed late. */
  readonly from: Position;
  /** When the loss was stated, which is its place among the events. */
  readonly timeNs: bigint;
  readonly goesOn: boolean;
  /** For people: what is missing, and what would help. */
  readonly message: string;
  /** As in Origin: entries that were taken by now, these among them. Absent: they were not, or that is not known. */
  readonly entriesTaken?: number | undefined;
}

/** Bigints stay bigints, and undefined stays absent. */
const packr = new Packr({ useRecords: false, int64AsType: 'bigint', ...{ skipValues: [undefined] } });
/** `structuredClone` is off: otherwise the library would follow references, which none of these records has. */
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint', structuredClone: false });

export function packRecord(
  value:
    | readonly (readonly unknown[])[]
    | RecordedNotice
    | RecordedSnapshot
    | RecordedHole
    | RecordedPaths
    | RecordedQueries
    | RecordedLoss
    | RecordedSwitch
    | RecordedContainers
    | Origin
    | Checkpoint,
): Buffer {
  return packr.pack(value);
}

/** Throws `damaged` when a record does not unpack to its shape: its CRC was right, so another version wrote it. */
export function unpackRecord<T>(payload: Buffer, shape: RecordShape): T {
  let value: unknown;
  try {
    value = unpackr.unpack(payload);
  } catch (cause) {
    throw new BackplaneError('damaged', `record does not unpack: ${cause instanceof Error ? cause.message : cause}`);
  }
  checkShape(value, shape);
  return value as T;
}

const PAGE_HEAD_BYTES = 16;

export function pageHead(page: SourcePage, firstTie: number): Buffer {
  const head = Buffer.alloc(PAGE_HEAD_BYTES);
  head.writeUInt16LE(page.lane, 0);
  head[2] = page.lostUnknown ? 1 : 0;
  head.writeUInt32LE(firstTie, 4);
  head.writeBigUInt64LE(BigInt(page.lost), 8);
  return head;
}

export function readPage(payload: Buffer): SourcePage & { firstTie: number } {
  if (payload.length < PAGE_HEAD_BYTES + 16)
    throw new BackplaneError('damaged', `page record of ${payload.length} bytes`);
  return {
    lane: payload.readUInt16LE(0),
    lostUnknown: payload[2] === 1,
    firstTie: payload.readUInt32LE(4),
    lost: Number(payload.readBigUInt64LE(8)),
    bytes: payload.subarray(PAGE_HEAD_BYTES),
  };
}

export function horizonBytes(horizonNs: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(horizonNs);
  return bytes;
}

export function clockBytes(pair: ClockPair): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(pair.bootNs, 0);
  bytes.writeBigUInt64LE(pair.wallNs, 8);
  return bytes;
}

export function readClock(payload: Buffer): ClockPair {
  return { bootNs: readU64(payload, 0), wallNs: readU64(payload, 8) };
}

export function readU64(payload: Buffer, at: number): bigint {
  if (payload.length < at + 8) throw new BackplaneError('damaged', `record of ${payload.length} bytes`);
  return payload.readBigUInt64LE(at);
}
