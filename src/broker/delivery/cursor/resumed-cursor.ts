/**
 * A cursor that is resumed: up to which position events of each node were
 * delivered. The log translates the cursor's offsets to positions.
 */
import { asBackplaneError, BackplaneError, cursorExpired, cursorInvalid } from '../../../errors.js';
import { differenceFrom } from '../../../subscriptions/predicate.js';
import {
  type CursorNode,
  type CursorPlace,
  type CursorState,
  decodeCursor,
  type OwedRange,
  selectorKey,
} from '../../../wire/cursor.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import { laterPosition, type Position } from '../../../wire/position.js';
import { CoveredPositions } from '../../log/covered-positions.js';
import type { LogStore } from '../../log/log-store.js';
import { type PartitionLog, partitionOf, type Snapshot } from '../../log/partition-log.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import { readNotes } from './cursor-notes.js';

const OTHER = 'its filter or its fields were others, or several of topics, filter, fields and include_self';

/** How a selector begins: as the message SelectorStart says. */
export type SelectorStart = 'new' | 'resumed' | 'changed';

/**
 * Throws cursor_invalid for a cursor of another predicate or another log, for one of selectors where there are none now
 * and the reverse, and for text that is no cursor.
 */
export function readCursor(text: string, selectors: SelectorSet, clusterId: string): CursorState {
  const state = decodeCursor(text);
  checkAsked(state, selectors);
  if (state.clusterId !== clusterId) {
    throw cursorInvalid(
      'cursor is of another broker, or of this one before its data was removed: begin with since or last instead ' +
        `(it is of log ${state.clusterId}, here is log ${clusterId})`,
    );
  }
  const logs = state.logs?.some((place) => place !== undefined) ?? false;
  if (state.history === undefined && state.places.length === 0 && !logs) {
    throw cursorInvalid('cursor has no place in the log, and none in a replay');
  }
  return state;
}

function checkAsked(state: CursorState, selectors: SelectorSet): void {
  if (selectors.named) {
    if (state.selectors !== undefined) return;
    throw cursorInvalid('cursor is of a subscription without selectors: give what it came with');
  }
  if (state.selectors !== undefined) {
    const count = state.selectors.each.length;
    throw cursorInvalid(`cursor is of a subscription with ${count} selectors: give selectors`);
  }
  const { spec, cursorId } = selectors.predicates[0]!;
  if (state.predicateId === cursorId) return;
  const difference = differenceFrom(spec, state.predicateId) ?? OTHER;
  throw cursorInvalid(`cursor is of another subscription: ${difference}; give what it came with`);
}

/** By selector: how it begins, and its index among those of the cursor, if that knows it as it is. */
function selectorStarts({ selectors: before }: CursorState, selectors: SelectorSet) {
  return selectors.ids.map((id, index): { readonly start: SelectorStart; readonly before: number | undefined } => {
    if (before === undefined) return { start: 'resumed', before: undefined };
    const key = selectorKey(id);
    const at = before.each.findIndex((each) => each.key === key);
    if (at < 0) return { start: 'new', before: undefined };
    const unchanged = before.each[at]!.predicateId === selectors.cursorId(index);
    return unchanged ? { start: 'resumed', before: at } : { start: 'changed', before: undefined };
  });
}

/** How far one node was delivered. */
export interface Delivered {
  /** Position by topic; nothing is known of a topic without an entry. */
  readonly floors: ReadonlyMap<string, Position>;
  readonly standing: CursorNode | undefined;
}

/** The last delivered event of a frame that was not delivered to its end. */
interface PartialEnd {
  readonly partition: number;
  readonly node: string;
  readonly topic: string;
  readonly position: Position;
}

export class ResumedCursor {
  /** What is asked for now. */
  readonly #topics: readonly string[];
  /** What was asked for when the cursor was given. */
  readonly #before: readonly string[];
  /** By partition, how far the frames before the cursor's place reach. */
  readonly #covered: readonly CoveredPositions[];
  readonly #standings: ReadonlyMap<string, CursorNode>;
  readonly #partials: readonly PartialEnd[];
  /** Partitions of which the log lost what the cursor stands behind. */
  readonly #lost: ReadonlySet<number>;
  readonly #starts: ReturnType<typeof selectorStarts>;
  /** Those selectors that the cursor knows as they are; undefined for a subscription without selectors. */
  readonly unchanged: SelectorSet | undefined;

  private constructor(
    readonly state: CursorState,
    topics: readonly string[],
    selectors: SelectorSet,
    covered: readonly CoveredPositions[],
    standings: ReadonlyMap<string, CursorNode>,
    partials: readonly PartialEnd[],
    lost: ReadonlySet<number>,
  ) {
    this.#topics = topics;
    this.#before = state.selectors?.topics ?? topics;
    this.#covered = covered;
    this.#standings = standings;
    this.#partials = partials;
    this.#lost = lost;
    this.#starts = selectorStarts(state, selectors);
    const resumed = this.#starts.flatMap(({ start }, index) => (start === 'resumed' ? [index] : []));
    this.unchanged = selectors.named ? selectors.only(resumed) : undefined;
  }

  /**
   * Where the log lost what the cursor stands behind, it begins from where the log is the same still, and passes over what
   * was delivered, as long as a broker knows how far that reached.
   *
   * Throws cursor_expired when the log no longer reaches back to the cursor, or lost its end and nobody knows any more what
   * that was; cursor_invalid when it never had these offsets.
   * @param only the one partition that counts; undefined: all of them
   */
  static async open(
    state: CursorState,
    topics: readonly string[],
    selectors: SelectorSet,
    store: LogStore,
    only?: number | undefined,
  ): Promise<ResumedCursor> {
    const covered: CoveredPositions[] = [];
    const places = [...state.places];
    const partials: PartialEnd[] = [];
    const lostOf = new Set<number>();
    const readable = new Set([...topics, ...(state.selectors?.topics ?? [])]);
    for (const [partition, place] of state.places.entries()) {
      if (only !== undefined && partition !== only) continue;
      const log = store.partition(partition);
      if (log.isGoingBack) throw goesBack(log);
      const before = lostBefore(log, place) ?? (await coveredBefore(log, place));
      if (before instanceof CoveredPositions) {
        covered[partition] = before;
        const end = await readPartial(log, place, readable);
        if (end) partials.push(end);
        continue;
      }
      checkOwed(state, partition, before.offset);
      lostOf.add(partition);
      covered[partition] = before.covered;
      places[partition] = { offset: before.offset, mark: log.markBefore(before.offset) };
    }
    const noted = await readNotes(state.note, (partition) => store.partition(partition));
    const standings = new Map([...noted, ...state.nodes].map((standing) => [standing.node, standing]));
    return new ResumedCursor({ ...state, places }, topics, selectors, covered, standings, partials, lostOf);
  }

  /**
   * Whether the logs still have what they had when the cursor was opened: machines may have lost the end of them since.
   * @param only the one partition that counts; undefined: all of them
   */
  isThere(store: LogStore, only: number | undefined): boolean {
    return this.state.places.every((place, partition) => {
      if (place === undefined || (only !== undefined && partition !== only)) return true;
      const log = store.partition(partition);
      const marks = [place.mark, log.markBefore(place.offset)].filter((mark) => mark !== undefined);
      return place.offset <= log.deliverableOffset && new Set(marks).size <= 1;
    });
  }

  /** Names of the nodes that the cursor or its notes name. */
  get named(): Iterable<string> {
    return this.#standings.keys();
  }

  /** Index up to which the frame at the cursor's place was delivered; undefined when its topic is not asked for now. */
  indexAt(partition: number): number | undefined {
    const end = this.#partials.find((partial) => partial.partition === partition);
    return end && this.#topics.includes(end.topic) ? this.state.places[partition]?.index : undefined;
  }

  /** Undefined when nothing is known to have been delivered of the node. */
  of(node: string): Delivered | undefined {
    const standing = this.#standings.get(node);
    const floors = new Map<string, Position>(standing?.standing === 'late' ? standing.floors : []);
    for (const topic of standing?.standing === 'late' ? [] : this.#before) {
      const partial = this.#partials.find((end) => end.node === node && end.topic === topic);
      const floor = laterPosition(laterPosition(this.seen(node, topic), partial?.position), standing?.position);
      if (floor) floors.set(topic, floor);
    }
    if (floors.size === 0 && standing?.standing !== 'late') return undefined;
    this.#begin(node, floors);
    return { floors, standing };
  }

  /** Topics that nobody asked for before begin where the furthest of the others is, at the earliest. */
  #begin(node: string, floors: Map<string, Position>): void {
    let furthest: Position | undefined;
    for (const floor of floors.values()) furthest = laterPosition(floor, furthest);
    if (furthest === undefined) return;
    for (const topic of this.#topics) {
      if (!this.#before.includes(topic)) floors.set(topic, laterPosition(furthest, this.seen(node, topic)));
    }
    for (const topic of this.#before) if (!this.#topics.includes(topic)) floors.delete(topic);
  }

  /** How each selector begins, in their order. */
  get starts(): readonly SelectorStart[] {
    return this.#starts.map(({ start }) => start);
  }

  /** Whether there are topics that nobody asked for when the cursor was given. */
  get asksMoreTopics(): boolean {
    return this.#topics.some((topic) => !this.#before.includes(topic));
  }

  /** Indices of the selectors to which a range of the cursor is owed; undefined: all. */
  owedTo({ selectors: before }: OwedRange): readonly number[] | undefined {
    const owed = this.#starts.flatMap((start, index) => {
      return start.before !== undefined && (before?.includes(start.before) ?? true) ? [index] : [];
    });
    return this.unchanged === undefined || owed.length === this.#starts.length ? undefined : owed;
  }

  /** Whether the node's log lost frames that were delivered: seen() is further than the log reaches. */
  lostEndOf(node: string): boolean {
    return this.#lost.has(partitionOf(node));
  }

  /** Position up to which frames before the cursor's offset reach, for the node and topic. */
  seen(node: string, topic: string): Position | undefined {
    return this.#covered[partitionOf(node)]?.to(node, topic);
  }
}

/** What is known of it is not of one moment: whoever asks comes again. */
function goesBack({ partition }: PartitionLog): BackplaneError {
  return new BackplaneError(
    'unavailable',
    `partition ${partition} of the log has lost its end, and is being read again`,
  );
}

/** What the frame was in the middle of which a cursor stands nobody knows once it is lost. */
function lostBefore(log: PartitionLog, { offset, mark, index = 0 }: CursorPlace): Snapshot | undefined {
  return mark === undefined || index > 0 ? undefined : log.lostBefore?.(offset, mark);
}

/** Throws cursor_expired where lost frames say what is owed, or which nodes there are: nobody can read that any more. */
function checkOwed({ nodes, note }: CursorState, partition: number, lostFrom: number): void {
  const isLost = ({ offsetTo }: OwedRange) => offsetTo === undefined || offsetTo > lostFrom;
  const owed = nodes.some((each) => {
    return partitionOf(each.node) === partition && [...(each.owed?.values() ?? [])].flat().some(isLost);
  });
  if (owed || (note?.partition === partition && note.offset >= lostFrom))
    throw lostEnd(lostFrom, partition, 'something else now');
}

/**
 * How far the frames before the cursor reach; where the log lost them, what another broker knows of that. Throws
 * cursor_expired when a machine that lost unsynced frames has other frames at the cursor's offsets now, or none, and nobody
 * knows what they were.
 */
async function coveredBefore(log: PartitionLog, place: CursorPlace): Promise<CoveredPositions | Snapshot> {
  const { offset, mark, index = 0 } = place;
  let has = 'something else now';
  try {
    const covered = await log.coveredBefore(offset);
    if (mark === undefined || (await log.hasMark(offset, mark))) return covered;
  } catch (cause) {
    // It had that once: nobody else gives marks.
    if (mark === undefined || asBackplaneError(cause).code !== 'cursor_invalid') throw cause;
    has = 'nothing any more';
  }
  const told = index > 0 ? undefined : await log.othersLostBefore?.(offset, mark);
  if (told !== undefined) return told;
  // It has just begun, so that nothing that others say can be held against it.
  if (log.isGoingBack) throw goesBack(log);
  throw lostEnd(offset, log.partition, has);
}

function lostEnd(offset: number, partition: number, has: string): BackplaneError {
  return cursorExpired(
    `cursor names offset ${offset} of partition ${partition}, before which the log has ${has}: its machine lost the end ` +
      'of it. Begin with since, from before that',
  );
}

async function readPartial(
  log: PartitionLog,
  { offset, index }: CursorPlace,
  topics: ReadonlySet<string>,
): Promise<PartialEnd | undefined> {
  if (index === undefined || index === 0) return undefined;
  const reader = log.reader(offset, topics);
  try {
    const item = await reader.next();
    if (item === undefined && log.isGoingBack) throw goesBack(log);
    if (item?.kind !== 'frame' || item.offset !== offset || index > item.frame.count) {
      throw cursorInvalid('cursor stands within a frame that cannot be read');
    }
    const { frame, node } = item;
    return {
      partition: log.partition,
      node,
      topic: frame.topic,
      position: positionAt(frame.coveredTo.epoch, frame, index - 1),
    };
  } finally {
    reader.close();
  }
}
