/**
 * The token from which a subscription resumes exactly. Opaque to clients;
 * checked in every part, because it comes back from outside.
 *
 *   Cursor  := base64url(msgpack [version, clusterId bin8, predicateId u64 | selectors, sinceNs | nil,
 *                                 history | nil, places, nodes, note | nil, logs] | crc32 u32)
 *   selectors := [[topic*], (key u64, predicateId u64: 16 bytes)*]   key: of the selector's id, which may be long
 *   history := [wallNs u64, node, epoch, timeNs u64, lane, tie]
 *   places  := [offset, mark u32, events of the frame there that were delivered | (nothing)], one per partition
 *   nodes   := [node, 0, position, owed?]* and [node, 1, position | nil, [topic, position]*, history | nil, owed?]*
 *              and [node, 2, owed]*
 *   owed    := [topic, offset, offset | nil, position | nil, skipped, (nothing) | selectors it is owed to, as bits u64]*
 *   position := [epoch, timeNs u64, lane, tie]
 *   note    := [partition, offset, id u32]
 *   logs    := [a place or nil]* of the logs of documents: app, alert, audit; nil: not read, or `history` says how far
 *
 * However many nodes there are, a cursor is at most CURSOR_BYTES_MAX long,
 * because it comes with every batch and goes into query strings: where more
 * nodes must be named than fit, they are in a note, which is in the log.
 *
 *   Note    := msgpack [id u32, the note before it | nil, nodes]
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Packr } from 'msgpackr';
import { BackplaneError, cursorInvalid } from '../errors.js';
import {
  CURSOR_BYTES_MAX,
  NAME_BYTES_MAX,
  NODES_MAX,
  OWED_RANGES_MAX,
  PARTITIONS,
  SELECTORS_MAX,
  TOPICS_PER_REQUEST_MAX,
} from '../limits.js';
import { DOCUMENT_LOGS } from './event/document-topics.js';
import { type PlainValue, readPlainMsgpack } from './plain-msgpack.js';
import type { Position } from './position.js';

export type Cursor = string & { readonly brand: 'cursor' };

export interface CursorState {
  /** Hex, 16 digits: the cluster whose offsets these are. */
  readonly clusterId: string;
  /** Of a subscription with selectors 0. */
  readonly predicateId: bigint;
  readonly selectors?: CursorSelectors | undefined;
  /** Wall nanoseconds: the start for nodes that join later. */
  readonly sinceNs?: bigint | undefined;
  /** While the past is replayed: the last delivered event in merged order. */
  readonly history?: HistoryPlace | undefined;
  /** One per partition. Empty in the history phase. */
  readonly places: readonly CursorPlace[];
  /** Nodes whose state the offsets alone do not describe. These entries take precedence over those of a note. */
  readonly nodes: readonly CursorNode[];
  /** The place of the note that names further nodes. */
  readonly note?: NotePlace | undefined;
  /** One per log of documents, in the order of DOCUMENT_LOGS; undefined for logs that are not read. None: as undefined. */
  readonly logs?: readonly (CursorPlace | undefined)[] | undefined;
}

/** The selectors of a subscription, in the order of its request. */
export interface CursorSelectors {
  /** All topics of nodes that any of them asked for. */
  readonly topics: readonly string[];
  readonly each: readonly CursorSelector[];
}

export interface CursorSelector {
  /** By selectorKey(). */
  readonly key: bigint;
  readonly predicateId: bigint;
}

export interface NotePlace {
  readonly partition: number;
  readonly offset: number;
  /** Random, because an offset may be given again after the machine lost unsynced data. */
  readonly id: number;
}

/** The content of a note: newer notes take precedence over those they follow. */
export interface Note {
  readonly id: number;
  readonly before: NotePlace | undefined;
  readonly nodes: readonly CursorNode[];
}

export interface CursorPlace {
  /** The offset that is read next. */
  readonly offset: number;
  /** Mark of the log before the offset; undefined where it was not known. See PartitionLog.markBefore. */
  readonly mark?: number | undefined;
  /** Set where the frame at the offset was delivered in part: the index after the last delivered event. */
  readonly index?: number | undefined;
}

export interface HistoryPlace {
  readonly wallNs: bigint;
  readonly node: string;
  readonly position: Position;
}

export interface CursorNode {
  readonly node: string;
  /**
   * 'beyond': delivered at least up to position, whatever the offsets say. 'late': delivered exactly as stated here,
   * and nothing from the log since. 'log': delivered as the offsets say; named only for what it is owed.
   */
  readonly standing: 'beyond' | 'late' | 'log';
  /** Unset (late only): nothing is delivered yet, except as the next fields say. */
  readonly position?: Position | undefined;
  /** Late only: topics that were delivered further than `position`. */
  readonly floors?: ReadonlyMap<string, Position> | undefined;
  /** Late only: the last event delivered of a replay, in its merged order. */
  readonly history?: HistoryPlace | undefined;
  /** Per topic: ranges that were stated as shed or skipped, and must be refilled. */
  readonly owed?: ReadonlyMap<string, readonly OwedRange[]> | undefined;
}

/** Frames of one node in a partition whose events a subscriber did not get. */
export interface OwedRange {
  readonly offsetFrom: number;
  /** Exclusive. Undefined: up to the cursor's offset. */
  readonly offsetTo?: number | undefined;
  /** Events up to this position have been refilled. */
  readonly after?: Position | undefined;
  /** True where events that had been sent were skipped; false where events were only shed. */
  readonly skipped: boolean;
  /** Indices of the selectors to which it is owed, ascending; undefined: to all. */
  readonly selectors?: readonly number[] | undefined;
}

/** Stands for a selector's id in a cursor, which has no room for 64 long ones. */
export function selectorKey(id: string): bigint {
  return createHash('sha256').update(id).digest().readBigUInt64BE(0);
}

const VERSION = 4;
/** All that are known when a subscription begins, and as many that come meanwhile. */
const NOTED_NODES_MAX = 2 * NODES_MAX;
/** Of nodes and topics: printable, whatever else they may consist of. */
const NAME = /^[\x21-\x7e]*$/;
const packr = new Packr({ useRecords: false });

/** Undefined when the state does not fit CURSOR_BYTES_MAX (too many nodes stand apart at this moment). */
export function encodeCursor(state: CursorState): Cursor | undefined {
  // Two thirds are enough to know before the work: base64 adds one.
  if (state.nodes.length * 12 > CURSOR_BYTES_MAX) return undefined;
  const { history } = state;
  const packed = packr.pack([
    VERSION,
    Buffer.from(state.clusterId, 'hex'),
    state.selectors === undefined ? state.predicateId : selectorParts(state.selectors),
    state.sinceNs ?? null,
    historyParts(history),
    state.places.map(placeParts),
    state.nodes.map(nodeParts),
    noteParts(state.note),
    DOCUMENT_LOGS.map((_name, at) => {
      const place = state.logs?.[at];
      return place === undefined ? null : placeParts(place);
    }),
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
  return stateOf(list(read(packed), 1, 10));
}

function read(packed: Buffer): PlainValue {
  try {
    return readPlainMsgpack(packed);
  } catch (cause) {
    if (cause instanceof BackplaneError) throw bad(`cannot be read: ${cause.message}`);
    throw cause;
  }
}

function stateOf(parts: readonly unknown[]): CursorState {
  const [version, clusterId, asked, sinceNs, history, places, nodes, note, logs] = parts;
  if (version !== VERSION) {
    const other = typeof version === 'number' ? `version ${version}` : 'an unknown version';
    throw bad(`is of ${other}, this broker reads version ${VERSION}: begin with since or last instead`);
  }
  if (parts.length !== 9) throw bad('has a broken list');
  if (!(clusterId instanceof Uint8Array) || clusterId.length !== 8) throw bad('has no cluster identity');
  return {
    clusterId: Buffer.from(clusterId).toString('hex'),
    ...askedOf(asked),
    sinceNs: sinceNs === null ? undefined : unsigned64(sinceNs),
    history: history === null ? undefined : historyOf(list(history, 6, 6)),
    places: placesOf(list(places, 0, PARTITIONS)),
    nodes: list(nodes, 0, CURSOR_BYTES_MAX).map((entry) => nodeOf(list(entry, 3, 6))),
    note: note === null ? undefined : notePlaceOf(list(note, 3, 3)),
    logs: list(logs, DOCUMENT_LOGS.length, DOCUMENT_LOGS.length).map((place) =>
      place === null ? undefined : placeOf(place),
    ),
  };
}

/** A plain subscription has no entry for selectors, as encodeCursor had none. */
function askedOf(asked: unknown): Pick<CursorState, 'predicateId' | 'selectors'> {
  if (!Array.isArray(asked)) return { predicateId: unsigned64(asked) };
  const [topics, ...each] = list(asked, 2, SELECTORS_MAX + 1);
  return {
    predicateId: 0n,
    selectors: { topics: list(topics, 0, TOPICS_PER_REQUEST_MAX).map(name), each: each.map(selectorOf) },
  };
}

function selectorOf(bytes: unknown): CursorSelector {
  if (!Buffer.isBuffer(bytes) || bytes.length !== 16) throw bad('has a broken selector');
  return { key: bytes.readBigUInt64BE(0), predicateId: bytes.readBigUInt64BE(8) };
}

function selectorParts({ topics, each }: CursorSelectors): unknown[] {
  const parts = each.map(({ key, predicateId }) => {
    const bytes = Buffer.allocUnsafe(16);
    bytes.writeBigUInt64BE(key, 0);
    bytes.writeBigUInt64BE(predicateId, 8);
    return bytes;
  });
  return [topics, ...parts];
}

export function encodeNote({ id, before, nodes }: Note): Buffer {
  return packr.pack([id, noteParts(before), nodes.map(nodeParts)]);
}

/** The record's checksum has been checked, so its content is ours; throws cursor_invalid when it is not a note. */
export function decodeNote(bytes: Buffer): Note {
  const [id, before, nodes] = list(read(bytes), 3, 3);
  return {
    id: whole(id, 0xffff_ffff),
    before: before === null ? undefined : notePlaceOf(list(before, 3, 3)),
    nodes: list(nodes, 0, NOTED_NODES_MAX).map((entry) => nodeOf(list(entry, 3, 6))),
  };
}

function historyOf([wallNs, node, ...position]: readonly unknown[]): HistoryPlace {
  return { wallNs: unsigned64(wallNs), node: name(node), position: positionOf(position) };
}

function placesOf(places: readonly unknown[]): CursorPlace[] {
  if (places.length !== 0 && places.length !== PARTITIONS) {
    throw bad(`must have a place in each of ${PARTITIONS} partitions, got ${places.length}`);
  }
  return places.map(placeOf);
}

function placeOf(entry: unknown): CursorPlace {
  const [offset, mark, index] = list(entry, 2, 3);
  return {
    offset: whole(offset, Number.MAX_SAFE_INTEGER),
    mark: whole(mark, 0xffff_ffff) || undefined,
    index: index === undefined ? undefined : whole(index, 0xffff),
  };
}

function placeParts({ offset, mark = 0, index }: CursorPlace): number[] {
  return index === undefined ? [offset, mark] : [offset, mark, index];
}

function nodeOf(parts: readonly unknown[]): CursorNode {
  const [node, standing, position, floors, history] = parts;
  if (standing === 2) return { node: name(node), standing: 'log', owed: owedOf(position) };
  const at = position === null ? undefined : positionOf(list(position, 4, 4));
  if (standing !== 1) {
    if (at === undefined) throw bad('has a node without a position');
    return { node: name(node), standing: 'beyond', position: at, owed: owedOf(floors) };
  }
  const topics = list(floors, 0, TOPICS_PER_REQUEST_MAX).map((entry) => list(entry, 2, 2));
  return {
    node: name(node),
    standing: 'late',
    position: at,
    floors: new Map(topics.map(([topic, floor]) => [name(topic), positionOf(list(floor, 4, 4))])),
    history: history === null ? undefined : historyOf(list(history, 6, 6)),
    owed: owedOf(parts[5]),
  };
}

/** Cursors from before refill existed have no such entry. */
function owedOf(value: unknown): ReadonlyMap<string, readonly OwedRange[]> | undefined {
  if (value === undefined) return undefined;
  const owed = new Map<string, OwedRange[]>();
  for (const entry of list(value, 0, TOPICS_PER_REQUEST_MAX * OWED_RANGES_MAX)) {
    const [topic, from, to, after, skipped, selectors] = list(entry, 5, 6);
    const range: OwedRange = {
      offsetFrom: whole(from, Number.MAX_SAFE_INTEGER),
      offsetTo: to === null ? undefined : whole(to, Number.MAX_SAFE_INTEGER),
      after: after === null ? undefined : positionOf(list(after, 4, 4)),
      skipped: skipped === 1,
      ...(selectors === undefined ? {} : { selectors: indicesOf(unsigned64(selectors)) }),
    };
    const ranges = owed.get(name(topic));
    if (ranges === undefined) owed.set(name(topic), [range]);
    else if (ranges.length < OWED_RANGES_MAX) ranges.push(range);
    else throw bad('is owed too much of one topic');
  }
  return owed;
}

function notePlaceOf([partition, offset, id]: readonly unknown[]): NotePlace {
  return {
    partition: whole(partition, PARTITIONS - 1),
    offset: whole(offset, Number.MAX_SAFE_INTEGER),
    id: whole(id, 0xffff_ffff),
  };
}

function nodeParts({ node, standing, position, floors, history, owed }: CursorNode): unknown[] {
  const at = position === undefined ? null : positionParts(position);
  const due = owed === undefined || owed.size === 0 ? [] : [owedParts(owed)];
  if (standing === 'log') return [node, 2, ...due];
  if (standing === 'beyond') return [node, 0, at, ...due];
  const further = [...(floors ?? [])].map(([topic, p]) => [topic, positionParts(p)]);
  return [node, 1, at, further, historyParts(history), ...due];
}

function owedParts(owed: ReadonlyMap<string, readonly OwedRange[]>): unknown[] {
  return [...owed].flatMap(([topic, ranges]) =>
    ranges.map(({ offsetFrom, offsetTo, after, skipped, selectors }) => {
      const to = selectors === undefined ? [] : [bitsOf(selectors)];
      return [topic, offsetFrom, offsetTo ?? null, after ? positionParts(after) : null, skipped ? 1 : 0, ...to];
    }),
  );
}

function bitsOf(indices: readonly number[]): bigint {
  return indices.reduce((bits, index) => bits | (1n << BigInt(index)), 0n);
}

function indicesOf(bits: bigint): number[] {
  const indices: number[] = [];
  for (let index = 0; index < SELECTORS_MAX; index++) if ((bits >> BigInt(index)) & 1n) indices.push(index);
  return indices;
}

function noteParts(note: NotePlace | undefined): unknown[] | null {
  return note === undefined ? null : [note.partition, note.offset, note.id];
}

function historyParts(history: HistoryPlace | undefined): unknown[] | null {
  return history === undefined ? null : [history.wallNs, history.node, ...positionParts(history.position)];
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
  if (typeof value !== 'string' || value.length > NAME_BYTES_MAX || !NAME.test(value)) throw bad('has a broken name');
  return value;
}

function bad(message: string): BackplaneError {
  return cursorInvalid(`cursor ${message}`);
}
