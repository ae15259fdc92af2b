/**
 * The token from which a subscription resumes exactly. Opaque to clients;
 * checked in every part, because it comes back from outside.
 *
 *   Cursor := base64url(msgpack [version, logId bin8, predicateId u64, sinceNs | nil,
 *                                history | nil, partial | nil, topics, nodes] | crc32 u32)
 *   history := [wallNs u64, node, epoch, timeNs u64, lane, tie]
 *   partial := [topic, partition, events of the frame at its offset that were delivered]
 *   topics  := [topic, offset per partition]*
 *   nodes   := [node, standing, (epoch, timeNs u64, lane, tie)?]*
 */
import { crc32 } from 'node:zlib';
import { Packr, Unpackr } from 'msgpackr';
import { BackplaneError } from '../errors.js';
import { CURSOR_BYTES_MAX, NAME_BYTES_MAX, PARTITIONS, TOPICS_PER_REQUEST_MAX } from '../limits.js';
import type { Position } from './position.js';

export type Cursor = string & { readonly brand: 'cursor' };

export interface CursorState {
  /** Hex, 16 digits: which log the offsets are of. */
  readonly logId: string;
  readonly predicateId: bigint;
  /** Wall nanoseconds: from where nodes are served that join later. */
  readonly sinceNs?: bigint | undefined;
  /** While the past is replayed: the last delivered event in merged order. */
  readonly history?: HistoryPlace | undefined;
  /** The frame at this partition's offset was delivered up to an event within. */
  readonly partial?: { readonly topic: string; readonly partition: number; readonly index: number } | undefined;
  /** Per topic and partition, the next offset. Empty in the history phase. */
  readonly offsets: ReadonlyMap<string, readonly number[]>;
  /** Nodes for which offsets alone do not tell. */
  readonly nodes: readonly CursorNode[];
}

export interface HistoryPlace {
  readonly wallNs: bigint;
  readonly node: string;
  readonly position: Position;
}

export interface CursorNode {
  readonly node: string;
  /**
   * 'beyond': delivered at least up to position, whatever the offsets say.
   * 'late': delivered exactly up to position, and nothing from the log yet.
   */
  readonly standing: 'beyond' | 'late';
  /** Unset (late only): nothing delivered yet. */
  readonly position?: Position | undefined;
}

const VERSION = 1;
const packr = new Packr({ useRecords: false, int64AsType: 'bigint' });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });

/** Undefined when the state does not fit CURSOR_BYTES_MAX (too many nodes stand apart at this moment). */
export function encodeCursor(state: CursorState): Cursor | undefined {
  // Two thirds are enough to know before the work: base64 adds one.
  if (state.nodes.length * 12 > CURSOR_BYTES_MAX) return undefined;
  const { history, partial } = state;
  const packed = packr.pack([
    VERSION,
    Buffer.from(state.logId, 'hex'),
    state.predicateId,
    state.sinceNs ?? null,
    history === undefined ? null : [history.wallNs, history.node, ...positionParts(history.position)],
    partial === undefined ? null : [partial.topic, partial.partition, partial.index],
    [...state.offsets].map(([topic, offsets]) => [topic, ...offsets]),
    state.nodes.map(({ node, standing, position }) => [
      node,
      standing === 'late' ? 1 : 0,
      ...(position === undefined ? [] : positionParts(position)),
    ]),
  ]);
  const bytes = Buffer.allocUnsafe(packed.length + 4);
  packed.copy(bytes);
  bytes.writeUInt32LE(crc32(packed), packed.length);
  const text = bytes.toString('base64url');
  return text.length > CURSOR_BYTES_MAX ? undefined : (text as Cursor);
}

/** Throws cursor_invalid for anything that encodeCursor did not make. */
export function decodeCursor(text: string): CursorState {
  if (text.length > CURSOR_BYTES_MAX) {
    throw bad(`must be at most ${CURSOR_BYTES_MAX} characters, got ${text.length}`);
  }
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < 8 || bytes.toString('base64url') !== text) throw bad('is not one that this bus gave out');
  const packed = bytes.subarray(0, -4);
  if (crc32(packed) !== bytes.readUInt32LE(packed.length)) throw bad('is cut or changed: its checksum does not fit');
  let value: unknown;
  try {
    value = unpackr.unpack(packed);
  } catch {
    throw bad('cannot be read');
  }
  return stateOf(list(value, 8, 8));
}

function stateOf(parts: readonly unknown[]): CursorState {
  const [version, logId, predicateId, sinceNs, history, partial, topics, nodes] = parts;
  if (version !== VERSION) throw bad(`is of version ${String(version)}, this broker reads version ${VERSION}`);
  if (!(logId instanceof Uint8Array) || logId.length !== 8) throw bad('has no log identity');
  return {
    logId: Buffer.from(logId).toString('hex'),
    predicateId: unsigned64(predicateId),
    sinceNs: sinceNs === null ? undefined : unsigned64(sinceNs),
    history: history === null ? undefined : historyOf(list(history, 6, 6)),
    partial: partial === null ? undefined : partialOf(list(partial, 3, 3)),
    offsets: new Map(list(topics, 0, TOPICS_PER_REQUEST_MAX).map((entry) => offsetsOf(list(entry, 1, 1 + PARTITIONS)))),
    nodes: list(nodes, 0, CURSOR_BYTES_MAX).map((entry) => nodeOf(list(entry, 2, 6))),
  };
}

function historyOf([wallNs, node, ...position]: readonly unknown[]): HistoryPlace {
  return { wallNs: unsigned64(wallNs), node: name(node), position: positionOf(position) };
}

function partialOf([topic, partition, index]: readonly unknown[]): NonNullable<CursorState['partial']> {
  return { topic: name(topic), partition: whole(partition, PARTITIONS - 1), index: whole(index, 0xffff) };
}

function offsetsOf([topic, ...offsets]: readonly unknown[]): [string, number[]] {
  if (offsets.length !== PARTITIONS) throw bad(`must have ${PARTITIONS} offsets per topic, got ${offsets.length}`);
  return [name(topic), offsets.map((offset) => whole(offset, Number.MAX_SAFE_INTEGER))];
}

function nodeOf([node, late, ...position]: readonly unknown[]): CursorNode {
  const standing = late === 1 ? 'late' : 'beyond';
  if (position.length === 0 && late !== 1) throw bad('has a node without a position');
  return { node: name(node), standing, position: position.length === 0 ? undefined : positionOf(position) };
}

function positionParts(p: Position): [number, bigint, number, number] {
  return [p.epoch, p.timeNs, p.lane, p.tie];
}

function positionOf(parts: readonly unknown[]): Position {
  if (parts.length !== 4) throw bad('has a broken position');
  const [epoch, timeNs, lane, tie] = parts;
  return {
    epoch: whole(epoch, Number.MAX_SAFE_INTEGER),
    timeNs: unsigned64(timeNs),
    lane: whole(lane, 0xffff),
    tie: whole(tie, 0xffff_ffff),
  };
}

function list(value: unknown, lengthMin: number, lengthMax: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length < lengthMin || value.length > lengthMax) throw bad('has a broken list');
  return value;
}

function whole(value: unknown, max: number): number {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0 || number > max) {
    throw bad(`has a number that is not in 0 to ${max}`);
  }
  return number;
}

function unsigned64(value: unknown): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value !== 'bigint' || value < 0n || value >= 1n << 64n) throw bad('has a number that is not 64 bits');
  return value;
}

function name(value: unknown): string {
  if (typeof value !== 'string' || value.length > NAME_BYTES_MAX) throw bad('has a broken name');
  return value;
}

function bad(message: string): BackplaneError {
  return new BackplaneError('cursor_invalid', `cursor ${message}`);
}
