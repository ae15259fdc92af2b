/**
 * A cursor that is resumed: up to which position events of each node were
 * delivered. The log translates the cursor's offsets to positions.
 */
import { cursorExpired, cursorInvalid } from '../../../errors.js';
import { differenceFrom, type Predicate } from '../../../subscriptions/predicate.js';
import type { CursorNode, CursorPlace, CursorState } from '../../../wire/cursor.js';
import { decodeCursor } from '../../../wire/cursor.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import { laterPosition, type Position } from '../../../wire/position.js';
import type { CoveredPositions } from '../../log/covered-positions.js';
import type { LogStore } from '../../log/log-store.js';
import { type PartitionLog, partitionOf } from '../../log/partition-log.js';
import { readNotes } from './cursor-notes.js';

const OTHER = 'its filter or its fields were others, or several of topics, filter, fields and include_self';

/** Throws cursor_invalid for a cursor of another predicate or another log, and for text that is no cursor. */
export function readCursor(text: string, predicate: Predicate, clusterId: string): CursorState {
  const state = decodeCursor(text);
  if (state.predicateId !== predicate.cursorId) {
    throw cursorInvalid(
      `cursor is of another subscription: ${differenceFrom(predicate.spec, state.predicateId) ?? OTHER}; give what it came with`,
    );
  }
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

/** How far one node was delivered. */
export interface Delivered {
  /** Position by topic; nothing is known of a topic without an entry. */
  readonly floors: ReadonlyMap<string, Position>;
  readonly standing: CursorNode | undefined;
}

/** The last delivered event of a frame that was not delivered to its end. */
interface PartialEnd {
  readonly node: string;
  readonly topic: string;
  readonly position: Position;
}

export class ResumedCursor {
  readonly #topics: readonly string[];
  /** By partition, how far the frames before the cursor's place reach. */
  readonly #covered: readonly CoveredPositions[];
  readonly #standings: ReadonlyMap<string, CursorNode>;
  readonly #partials: readonly PartialEnd[];

  private constructor(
    readonly state: CursorState,
    topics: readonly string[],

    covered: readonly CoveredPositions[],
    standings: ReadonlyMap<string, CursorNode>,
    partials: readonly PartialEnd[],
  ) {
    this.#topics = topics;
    this.#covered = covered;
    this.#standings = standings;
    this.#partials = partials;
  }

  /**
   * Throws cursor_expired when the log no longer reaches back to the cursor, or lost its end and has other frames there
   * now; cursor_invalid when it never had these offsets.
   * @param only the one partition that counts; undefined: all of them
   */
  static async open(
    state: CursorState,
    topics: readonly string[],
    store: LogStore,
    only?: number | undefined,
  ): Promise<ResumedCursor> {
    const covered: CoveredPositions[] = [];
    const partials: PartialEnd[] = [];
    for (const [partition, place] of state.places.entries()) {
      if (only !== undefined && partition !== only) continue;
      const log = store.partition(partition);
      covered[partition] = await log.coveredBefore(place.offset);
      await checkMark(log, place);
      const end = await readPartial(log, place, new Set(topics));
      if (end) partials.push(end);
    }
    const noted = await readNotes(state.note, (partition) => store.partition(partition));
    const standings = new Map([...noted, ...state.nodes].map((standing) => [standing.node, standing]));
    return new ResumedCursor(state, topics, covered, standings, partials);
  }

  /** Names of the nodes that the cursor or its notes name. */
  get named(): Iterable<string> {
    return this.#standings.keys();
  }

  /** Undefined when nothing is known to have been delivered of the node. */
  of(node: string): Delivered | undefined {
    const standing = this.#standings.get(node);
    if (standing?.standing === 'late') return { floors: standing.floors ?? new Map(), standing };
    const floors = new Map<string, Position>();
    for (const topic of this.#topics) {
      const partial = this.#partials.find((end) => end.node === node && end.topic === topic);
      const floor = laterPosition(laterPosition(this.seen(node, topic), partial?.position), standing?.position);
      if (floor) floors.set(topic, floor);
    }
    return floors.size === 0 ? undefined : { floors, standing };
  }

  /** Position up to which frames before the cursor's offset reach, for the node and topic. */
  seen(node: string, topic: string): Position | undefined {
    return this.#covered[partitionOf(node)]?.to(node, topic);
  }
}

/** Throws cursor_expired when a machine that lost unsynced frames has other frames at the cursor's offsets now. */
async function checkMark(log: PartitionLog, { offset, mark }: CursorPlace): Promise<void> {
  if (mark === undefined || (await log.hasMark(offset, mark))) return;
  throw cursorExpired(
    `cursor names offset ${offset} of partition ${log.partition}, before which the log has something else now: its ` +
      'machine lost the end of it. Begin with since, from before that',
  );
}

async function readPartial(
  log: PartitionLog,
  { offset, index }: CursorPlace,
  topics: ReadonlySet<string>,
): Promise<PartialEnd | undefined> {
  if (index === undefined) return undefined;
  const reader = log.reader(offset, topics);
  try {
    const item = await reader.next();
    if (item?.kind !== 'frame' || item.offset !== offset || index > item.frame.count) {
      throw cursorInvalid('cursor stands within a frame that cannot be read');
    }
    if (index === 0) return undefined;
    const { frame, node } = item;
    return { node, topic: frame.topic, position: positionAt(frame.coveredTo.epoch, frame, index - 1) };
  } finally {
    reader.close();
  }
}
