/**
 * What stands in a flight recorder's records, and their codecs. Everything the
 * timeline needs is here, so that matching is a pure function of the recording.
 *
 *   Page       := lane u16 | flags u8 (1: lost count unknown) | 0 u8 | firstTie u32 | lost u64 | ring-buffer page
 *   Horizon    := horizonNs u64                 no event below it follows, but for late ones
 *   Clock      := bootNs u64 | wallNs u64
 *   Exec, Notice, Snapshot, Origin, Checkpoint, Hole, Paths, Loss := msgpack
 *
 * msgpack is self-contained per record (no structures shared between records),
 * so that any record can be read alone.
 */
import { Packr, Unpackr } from 'msgpackr';
import { BackplaneError } from '../../errors.js';
import type { NoticeContext } from '../../wire/event/event.js';
import type { LossReason } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';
import type { ClockPair, SourcePage } from '../source/source.js';
import type { RecordedProcess } from '../timeline/process-table.js';
import type { Checkpoint } from './checkpoint.js';
import { checkShape, type Shape } from './record-shape.js';

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
} as const;

/** An ExecRecord after redaction. `missed`: the process was gone, or nobody read it in time. */
export interface RecordedExec {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly pid: number;
  readonly missed: boolean;
  readonly process?: RecordedProcess | undefined;
}

/** What the agent says about itself: becomes a host.* event on the agent's lane. */
export interface RecordedNotice {
  readonly type: 'host.start' | 'host.stop' | 'host.loss' | 'host.degraded';
  readonly timeNs: bigint;
  readonly tie: number;
  readonly notice: NoticeContext;
}

/** TCP sockets of Backplane that pids alone do not tell; ends as `address:port`, without brackets. */
export interface SelfSockets {
  /** Ends of brokers: connections with them are Backplane's own, also those of subscribers. */
  readonly brokers: readonly string[];
  /** What listened before recording began, with its pid: connections to it were accepted by that process. */
  readonly listeners: readonly (readonly [string, number])[];
}

/** Who recorded what follows: written whenever an agent starts. */
export interface Origin {
  readonly epoch: number;
  /** The kernel went on recording in between, so that what is known of processes still holds. */
  readonly continued: boolean;
  readonly bootId: string;
  readonly source: string;
  /** Text of the format files, by `group/event`. */
  readonly formats: Readonly<Record<string, string>>;
  readonly selfPids: readonly number[];
  /** Absent in older recordings. */
  readonly selfSockets?: SelfSockets | undefined;
  readonly degraded?: string | undefined;
  /** The epoch before was not closed, as when the power goes: whether and how much is missing of it nobody knows. */
  readonly unclosed?: boolean | undefined;
}

/** Processes that a scan of /proc found when an agent started. */
export interface RecordedSnapshot {
  readonly processes: readonly RecordedProcess[];
}

/** Paths of files that were opened in pages before, where they could be read in time. */
export interface RecordedPaths {
  readonly paths: readonly {
    readonly lane: number;
    readonly timeNs: bigint;
    readonly tie: number;
    readonly path: string;
  }[];
}

/**
 * The disk took nothing. Of what happened after `from` and up to `to` some is
 * not recorded; the checkpoint that comes next knows what became of it.
 */
export interface RecordedHole {
  readonly from: Position;
  readonly to: Position;
  /** Entries of pages, of every type, and what the kernel lost of them. */
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** Absent in older recordings, where it was a full disk. */
  readonly reason?: LossReason | undefined;
  /** For people. */
  readonly message?: string | undefined;
}

/**
 * Something was not recorded although the kernel's buffer did not run over. One that goes on is recorded when it begins
 * and again, with the same reason and from, when it is over.
 */
export interface RecordedLoss {
  readonly reason: LossReason;
  /** What may be missing; absent: anything. */
  readonly types?: readonly string[] | undefined;
  /** Before the frontier where it was noticed late. */
  readonly from: Position;
  /** Where it was stated: its place among the events. */
  readonly timeNs: bigint;
  readonly goesOn: boolean;
  /** For people: what is missing, and what would help. */
  readonly message: string;
}

/** Bigints stay bigints, and undefined stays absent. */
const packr = new Packr({ useRecords: false, int64AsType: 'bigint', ...{ skipValues: [undefined] } });
/** Left unset, the library would still follow references, which none of these records has. */
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint', structuredClone: false });

export function packRecord(
  value:
    | RecordedExec
    | RecordedNotice
    | RecordedSnapshot
    | RecordedHole
    | RecordedPaths
    | RecordedLoss
    | Origin
    | Checkpoint,
): Buffer {
  return packr.pack(value);
}

/** The record's CRC was right, so what does not unpack to its shape was written by another version: `damaged`. */
export function unpackRecord<T>(payload: Buffer, shape: Shape): T {
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
