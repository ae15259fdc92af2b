/**
 * What a partition log's records hold.
 *
 *   Frame record (kind 1)      := node length u8 | node | Frame, as the node sent it
 *   Checkpoint record (kind 2) := msgpack [node, epoch, timeNs u64, lane, tie]*
 *   Note record (kind 3)       := Note, see wire/cursor.ts
 *
 * A checkpoint stands at the head of every segment and says how far each
 * node's frames reached when the segment began: so that a start, or a cursor,
 * reads one segment instead of the log.
 */
import { Packr } from 'msgpackr';
import { BackplaneError } from '../../../errors.js';
import { decodeFrame, type Frame } from '../../../wire/frame/frame.js';
import { readPlainMsgpack } from '../../../wire/plain-msgpack.js';
import type { Position } from '../../../wire/position.js';

export const FRAME_RECORD = 1;
export const CHECKPOINT_RECORD = 2;
export const NOTE_RECORD = 3;

const packr = new Packr({ useRecords: false });

export function frameRecordParts(node: string, frameBytes: Buffer): readonly Buffer[] {
  const name = Buffer.from(node, 'utf8');
  return [Buffer.from([name.length]), name, frameBytes];
}

/** `frame.events` is a view of a copy: the payload may be overwritten afterwards. */
export function decodeFrameRecord(payload: Buffer): { node: string; frame: Frame; bytes: number } {
  const nameEnd = 1 + (payload[0] ?? 0);
  if (payload.length < nameEnd) throw new BackplaneError('damaged', 'log record: node name is cut');
  const frameBytes = Buffer.from(payload.subarray(nameEnd));
  return { node: payload.toString('utf8', 1, nameEnd), frame: decodeFrame(frameBytes), bytes: frameBytes.length };
}

export function encodeCheckpoint(covered: ReadonlyMap<string, Position>): Buffer {
  return packr.pack([...covered].map(([node, p]) => [node, p.epoch, p.timeNs, p.lane, p.tie]));
}

/** Entries are added to `into`. The record's checksum has been checked, so its content is ours. */
export function decodeCheckpoint(payload: Buffer, into: Map<string, Position>): void {
  const entries = readPlainMsgpack(payload) as unknown as [string, number, bigint, number, number][];
  for (const [node, epoch, timeNs, lane, tie] of entries) {
    into.set(node, { epoch: Number(epoch), timeNs: BigInt(timeNs), lane, tie });
  }
}
