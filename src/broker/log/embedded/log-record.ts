/**
 * The records of a partition log.
 *
 *   Frame record (kind 16 and up, by topic) := node length u8 | node | Frame, as the node sent it
 *   Checkpoint record (kind 2)              := msgpack [node, [kind, epoch, timeNs u64, lane, tie]*]*
 *   Note record (kind 3)                    := Note, see wire/cursor.ts
 *
 * The record's kind gives the frame's topic, so that a reader of one topic passes
 * over records of others without reading them. A checkpoint at the head of every
 * segment says how far each node's frames reached when the segment began, so that
 * a start of the broker, or a cursor, reads one segment instead of the whole log.
 */
import { Packr } from 'msgpackr';
import { BackplaneError } from '../../../errors.js';
import { decodeFrame, type Frame } from '../../../wire/frame/frame.js';
import { readPlainMsgpack } from '../../../wire/plain-msgpack.js';
import type { Position } from '../../../wire/position.js';
import type { CoveredPositions } from '../covered-positions.js';

export const CHECKPOINT_RECORD = 2;
export const NOTE_RECORD = 3;
const FRAME_RECORD_MIN = 16;
/** The order is stored on disk, so new topics must be added at the end. */
export const TOPIC_ORDER: readonly string[] = ['process', 'network', 'security', 'file', 'syscall', 'host'];

const packr = new Packr({ useRecords: false });

/** Kind of records with frames of the topic. */
export function frameKind(topic: string): number {
  const at = TOPIC_ORDER.indexOf(topic);
  if (at < 0) throw new BackplaneError('internal', `the log has no place for topic ${topic}`);
  return FRAME_RECORD_MIN + at;
}

/** Undefined for a topic of a later version, and for other records. */
export function topicOfKind(kind: number): string | undefined {
  return TOPIC_ORDER[kind - FRAME_RECORD_MIN];
}

export function isFrameKind(kind: number): boolean {
  return kind >= FRAME_RECORD_MIN;
}

export function frameRecordParts(node: string, frameBytes: Buffer): readonly Buffer[] {
  const name = Buffer.from(node, 'utf8');
  return [Buffer.from([name.length]), name, frameBytes];
}

/** Copies the frame out of `payload`, which may be overwritten afterwards. */
export function decodeFrameRecord(payload: Buffer): { node: string; frame: Frame; bytes: number } {
  const nameEnd = 1 + (payload[0] ?? 0);
  if (payload.length < nameEnd) throw new BackplaneError('damaged', 'log record: node name is cut');
  const frameBytes = Buffer.from(payload.subarray(nameEnd));
  return { node: payload.toString('utf8', 1, nameEnd), frame: decodeFrame(frameBytes), bytes: frameBytes.length };
}

export function encodeCheckpoint(covered: CoveredPositions): Buffer {
  const positions = (byTopic: ReadonlyMap<string, Position>) =>
    [...byTopic].map(([topic, p]) => [frameKind(topic), p.epoch, p.timeNs, p.lane, p.tie]);
  return packr.pack([...covered.entries()].map(([node, byTopic]) => [node, positions(byTopic)]));
}

/** Adds the entries to `into`. The record's checksum was verified, so the content is not checked again. */
export function decodeCheckpoint(payload: Buffer, into: CoveredPositions): void {
  const entries = readPlainMsgpack(payload) as unknown as [string, [number, number, bigint, number, number][]][];
  for (const [node, positions] of entries) {
    for (const [kind, epoch, timeNs, lane, tie] of positions) {
      const topic = topicOfKind(kind);
      if (topic) into.set(node, topic, { epoch: Number(epoch), timeNs: BigInt(timeNs), lane, tie });
    }
  }
}
