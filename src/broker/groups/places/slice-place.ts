/**
 * The place in a slice's committed cursor: made to hold for another filter, written down as positions of nodes before
 * the log forgets its offsets, and resumed from those.
 */
import { randomInt } from 'node:crypto';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import { CURSOR_NODES_MAX, GROUP_PARKED_BYTES_MAX, GROUP_POSITIONS_SHOWN_MAX } from '../../../limits.js';
import { msToNs, wallNowNs } from '../../../nanoseconds.js';
import type { Predicate } from '../../../subscriptions/predicate.js';
import {
  type CursorNode,
  type CursorState,
  decodeCursor,
  decodeNote,
  encodeCursor,
  encodeNote,
} from '../../../wire/cursor.js';
import { positionToMessage, type SubscribeResponse } from '../../../wire/messages.js';
import { type Logs, nextDocumentNs, nextFrameNs } from '../../delivery/cursor/depth.js';
import { ResumedCursor, readCursor } from '../../delivery/cursor/resumed-cursor.js';
import { keyAtTime } from '../../delivery/history/history-merge.js';
import { SelectorSet } from '../../delivery/selectors/selector-set.js';
import type { LogStore } from '../../log/log-store.js';
import type { PartitionLog } from '../../log/partition-log.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import { partitionOfSlice } from '../slice.js';

export interface PlaceContext {
  readonly store: LogStore;
  readonly registry: NodeRegistry;
}

/** The nodes of one slice, and what the group asks of them. */
export interface SliceOfGroup {
  readonly slice: number;
  readonly predicate: Predicate;
  readonly matches: (node: string) => boolean;
}

/** Where a slice begins, and what is missing before. */
export interface SliceStart {
  readonly cursor: string;
  readonly gaps: readonly SubscribeResponse[];
}

/** The same place for another filter: what is behind it is matched anew. */
export function rebound(cursor: string, predicate: Predicate): string {
  if (cursor === '') return '';
  return encodeCursor({ ...decodeCursor(cursor), predicateId: predicate.cursorId }) ?? cursor;
}

/**
 * The offset that a cursor reads next in the slice's partition; undefined while it replays the past, and for one of a
 * newer broker, of which nothing can be said here.
 */
export function offsetOf(cursor: string, slice: number): number | undefined {
  if (cursor === '') return undefined;
  try {
    return decodeCursor(cursor).places[partitionOfSlice(slice)]?.offset;
  } catch {
    return undefined;
  }
}

/** Likewise of each log of documents, in the order of DOCUMENT_LOGS; undefined for one that the cursor does not name. */
export function batchOffsetsOf(cursor: string): readonly (number | undefined)[] {
  if (cursor === '') return [];
  try {
    return (decodeCursor(cursor).logs ?? []).map((place) => place?.offset);
  } catch {
    return [];
  }
}

/**
 * Whether the log may forget a place: its offset, or the notes that its cursor names, which are older than the newest.
 * @param fading by partition, the offset before which the log may soon forget
 */
export function mayFade(cursor: string, slice: number, fading: readonly number[] | 'all'): boolean {
  const offset = offsetOf(cursor, slice);
  if (offset === undefined) return false;
  const partition = partitionOfSlice(slice);
  return fading === 'all' || offset < fading[partition]! || decodeCursor(cursor).note !== undefined;
}

/**
 * The place as an encoded note that names every node of the slice, base64; undefined where there is nothing to write
 * down: the cursor has no offsets, or the log has forgotten them, or there are too many nodes.
 */
export async function parkedNodes(
  context: PlaceContext,
  of: SliceOfGroup,
  cursor: string,
): Promise<string | undefined> {
  const resumed = await opened(context, of, cursor);
  if (resumed === undefined) return undefined;
  const nodes = nodesOf(context, of, resumed).flatMap((node): CursorNode[] => {
    const delivered = resumed.of(node);
    if (delivered === undefined) return [];
    const { floors, standing } = delivered;
    return [{ node, standing: 'late', position: standing?.position, floors, history: standing?.history }];
  });
  return noteOfPlaces(nodes);
}

/** Places of nodes as an encoded note, base64; undefined where they are too many. */
export function noteOfPlaces(nodes: readonly CursorNode[]): string | undefined {
  const note = encodeNote({ id: 0, before: undefined, nodes }).toString('base64');
  return note.length <= GROUP_PARKED_BYTES_MAX ? note : undefined;
}

/**
 * Where to begin when the log has forgotten the cursor's offsets: recorders are asked for what follows the positions that
 * were written down. Without them, for what was recorded since the commit, and what is before is a gap.
 * @param parked of this cursor, as parkedNodes() made it
 */
export async function unparked(
  context: PlaceContext,
  of: SliceOfGroup,
  { cursor, committedMs }: { readonly cursor: string; readonly committedMs: number },
  parked: string | undefined,
): Promise<SliceStart> {
  const { store, registry } = context;
  const state = decodeCursor(cursor);
  // By the node's own clock, as its answers are put in order.
  const sinceCommit = (node: string) => keyAtTime(msToNs(committedMs) + (registry.record(node)?.clockOffsetNs ?? 0n));
  const known = parked === undefined ? [] : decodeNote(Buffer.from(parked, 'base64')).nodes;
  const named = new Map(known.map((node) => [node.node, node]));
  const names = new Set([...named.keys(), ...allNodes(context, of)]);
  const nodes = [...names].map((node): CursorNode => {
    // A node that came later has all of its past still before it.
    const late = { node, standing: 'late' as const, floors: new Map() };
    return named.get(node) ?? (parked === undefined ? { ...late, history: state.history ?? sinceCommit(node) } : late);
  });
  const gaps = nodes.flatMap((node): SubscribeResponse[] => {
    const recordedFromNs = registry.record(node.node)?.recordedFromNs;
    const isWhole = parked !== undefined && (recordedFromNs === undefined || recordedFromNs <= msToNs(committedMs));
    return isWhole ? [] : [{ gap: missing(node) }];
  });
  return { cursor: await cursorAt(store, of.slice, state, nodes), gaps };
}

/**
 * When the next that follows a slice's place came, wall nanoseconds; `sinceNs`, where the group begins, if the log has
 * forgotten that.
 */
export async function placeTimeNs(
  { store, documents }: Logs,
  { slice, predicate }: SliceOfGroup,
  cursor: string,
  sinceNs: bigint,
): Promise<bigint> {
  if (cursor === '') return sinceNs;
  const state = decodeCursor(cursor);
  const eventNs = await nextEventNs(store.partition(partitionOfSlice(slice)), predicate, state, sinceNs);
  const documentNs = await nextDocumentNs(state.logs ?? [], documents.having(predicate.documents?.topics ?? []));
  return documentNs !== undefined && documentNs < eventNs ? documentNs : eventNs;
}

async function nextEventNs(
  log: PartitionLog,
  { topics }: Predicate,
  { history, places }: CursorState,
  sinceNs: bigint,
): Promise<bigint> {
  if (history !== undefined) return history.wallNs > sinceNs ? history.wallNs : sinceNs;
  const place = places[log.partition];
  if (place === undefined) return wallNowNs();
  if (place.offset < log.firstOffset) return sinceNs;
  return (await nextFrameNs(log, place.offset, topics)) ?? wallNowNs();
}

/** By node and topic, from where a new filter holds. */
export async function filterBegins(context: PlaceContext, of: SliceOfGroup, cursor: string) {
  const resumed = await opened(context, of, cursor);
  if (resumed === undefined) return [];
  const begins = nodesOf(context, of, resumed).flatMap((node) =>
    Array.from(resumed.of(node)?.floors ?? [], ([topic, position]) => {
      return { node, topic, position: positionToMessage(position) };
    }),
  );
  return begins.slice(0, GROUP_POSITIONS_SHOWN_MAX);
}

/** Undefined for a cursor without offsets, or one that the log has forgotten. */
async function opened({ store }: PlaceContext, of: SliceOfGroup, cursor: string): Promise<ResumedCursor | undefined> {
  if (cursor === '') return undefined;
  const { predicate, slice } = of;
  const selectors = new SelectorSet([{ id: '', predicate }]);
  const state = readCursor(cursor, selectors, store.identity);
  if (state.places.length === 0) return undefined;
  try {
    return await ResumedCursor.open(state, predicate.topics, selectors, store, partitionOfSlice(slice));
  } catch (cause) {
    if (asBackplaneError(cause).code === 'cursor_expired') return undefined;
    throw cause;
  }
}

function nodesOf(context: PlaceContext, of: SliceOfGroup, resumed: ResumedCursor): string[] {
  return [...new Set([...resumed.named, ...allNodes(context, of)])].filter(of.matches).sort();
}

/** Every node of the slice that is known here. */
function allNodes({ store, registry }: PlaceContext, { slice, matches }: SliceOfGroup): string[] {
  const inLog = [...store.partition(partitionOfSlice(slice)).nodes()];
  const registered = [...registry.all()].map(({ name }) => name);
  return [...new Set([...inLog, ...registered])].filter(matches);
}

function missing({ node, position, floors }: CursorNode) {
  const [from = position] = floors?.values() ?? [];
  return {
    node,
    from: from === undefined ? null : positionToMessage(from),
    to: null,
    eventsUnknown: true,
    reason: 'expired',
    message: "neither the log nor the node's recorder has these events any more: the group was away for too long",
  };
}

/** A cursor at the log's end that names these nodes, in the log where they are too many. */
async function cursorAt(
  store: LogStore,
  slice: number,
  { clusterId, predicateId, sinceNs, logs }: CursorState,
  nodes: readonly CursorNode[],
): Promise<string> {
  const places = store.all().map((log) => ({ offset: log.deliverableOffset }));
  const state: CursorState = { clusterId, predicateId, sinceNs, places, nodes: [], logs };
  const named = nodes.length <= CURSOR_NODES_MAX ? encodeCursor({ ...state, nodes }) : undefined;
  if (named !== undefined) return named;
  const partition = partitionOfSlice(slice);
  const log = store.partition(partition);
  const id = randomInt(2 ** 32);
  const offset = await log.appendNote(encodeNote({ id, before: undefined, nodes }));
  const noted = encodeCursor({ ...state, note: { partition, offset, id } });
  if (noted === undefined) throw new BackplaneError('internal', 'a cursor without nodes must fit');
  return noted;
}

/** What a group's slice begins with in place of the start of a window. */
export function windowFrom(sinceNs: bigint) {
  return { sinceNs: sinceNs === 0n ? undefined : sinceNs, follow: true, last: 0, history: true } as const;
}
