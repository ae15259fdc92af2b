/**
 * Checkpoints of a log of documents on a stream: what its messages before a sequence come to, so that a broker that starts
 * need not read them all. Any broker writes one now and then, all write the same.
 *
 *   Bp-Before := the sequence that it is about     Bp-Time := time of the message before it
 *   body      := length of Ends u32 | Ends (see topic-ends.ts) | (version 1, (Repeated*), (Late*))      msgpack
 *   Repeated  := (sequence, index*)     documents that were stored before under the same id
 *   Late      := (from, to, time)       messages whose times were made to grow, by one from one to the next
 */
import { Packr } from 'msgpackr';
import type { MsgHdrs } from 'nats';
import { readPlainMsgpack } from '../../../wire/plain-msgpack.js';
import type { ReceivedHeaders } from '../../nats/header-text.js';
import { headers } from '../../nats/nats-library.js';
import { TopicEnds } from './topic-ends.js';

const [BEFORE, TIME] = ['Bp-Before', 'Bp-Time'];
const VERSION = 1;
const LENGTH_BYTES = 4;
const packr = new Packr({ useRecords: false });

/** Messages of which servers' clocks told times that do not grow. */
export interface LateStretch {
  readonly from: number;
  /** Exclusive. */
  to: number;
  /** Of the first. */
  readonly timeNs: bigint;
}

export interface DocumentStanding {
  readonly before: number;
  readonly lastNs: bigint;
  readonly ends: TopicEnds;
  /** By sequence. */
  readonly repeated: ReadonlyMap<number, readonly number[]>;
  readonly late: readonly LateStretch[];
}

export interface DocumentCheckpoint extends Pick<DocumentStanding, 'before' | 'lastNs'> {
  readonly sequence: number;
  /** Read when it is needed. */
  readonly body: Buffer;
}

export function encodeDocumentCheckpoint(standing: DocumentStanding): {
  readonly headers: MsgHdrs;
  readonly body: Buffer;
} {
  const written = headers();
  written.set(BEFORE, String(standing.before));
  written.set(TIME, String(standing.lastNs));
  const ends = standing.ends.encode();
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(ends.length);
  const repeated = [...standing.repeated].map(([sequence, indices]) => [sequence, ...indices]);
  const late = standing.late.map(({ from, to, timeNs }) => [from, to, timeNs]);
  return { headers: written, body: Buffer.concat([length, ends, packr.pack([VERSION, repeated, late])]) };
}

/** Undefined for what no broker writes. */
export function documentCheckpoint(
  sequence: number,
  received: ReceivedHeaders | undefined,
  body: Uint8Array,
): DocumentCheckpoint | undefined {
  const [before, time] = [BEFORE, TIME].map((name) => received?.get(name) ?? '') as [string, string];
  if (!/^\d{1,15}$/.test(before) || !/^\d{1,20}$/.test(time) || Number(before) > sequence) return undefined;
  // A copy: what was read from the connection belongs to many messages.
  const checkpoint = { sequence, before: Number(before), lastNs: BigInt(time), body: Buffer.from(body) };
  try {
    readDocumentCheckpoint(checkpoint);
    return checkpoint;
  } catch {
    return undefined;
  }
}

/** Throws where it is not what encodeDocumentCheckpoint makes. */
export function readDocumentCheckpoint({ before, lastNs, body }: DocumentCheckpoint): DocumentStanding {
  const end = LENGTH_BYTES + body.readUInt32LE();
  const ends = TopicEnds.decode(body.subarray(LENGTH_BYTES, end)) ?? TopicEnds.before(before, lastNs);
  const rest = readPlainMsgpack(body.subarray(end)) as unknown as readonly [
    number,
    readonly (readonly [number, ...number[]])[],
    readonly (readonly [number, number, number | bigint])[],
  ];
  const [version, repeated, late] = rest;
  if (version !== VERSION) throw new Error(`a checkpoint has version ${version}, this is ${VERSION}`);
  return {
    ...{ before, lastNs, ends },
    repeated: new Map(repeated.map(([sequence, ...indices]) => [Number(sequence), indices])),
    late: late.map(([from, to, timeNs]) => ({ from: Number(from), to: Number(to), timeNs: BigInt(timeNs) })),
  };
}
