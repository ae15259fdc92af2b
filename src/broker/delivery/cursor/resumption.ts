/**
 * What a cursor says about each node: up to where its events were delivered.
 * Offsets become positions through the log.
 */
import { BackplaneError } from '../../../errors.js';
import { differenceFrom, type PredicateSpec } from '../../../subscriptions/predicate.js';
import type { CursorNode, CursorState, PartialFrame } from '../../../wire/cursor.js';
import { decodeCursor } from '../../../wire/cursor.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import { laterPosition, type Position } from '../../../wire/position.js';
import type { LogStore } from '../../log/log-store.js';
import { partitionOf } from '../../log/partition-log.js';
import { readNotes } from './notes.js';

const OTHER = 'its filter or its fields were others, or several of topics, filter, fields and include_self';

/** Throws cursor_invalid for a cursor of another filter, log, or nobody's. */
export function readCursor(text: string, predicate: PredicateSpec, logIdentity: string): CursorState {
  const state = decodeCursor(text);
  const { id, topics } = predicate;
  if (state.predicateId !== id) {
    throw new BackplaneError(
      'cursor_invalid',
      `cursor is of another subscription: ${differenceFrom(predicate, state.predicateId) ?? OTHER}; give what it came with`,
    );
  }
  if (state.logId !== logIdentity) {
    throw new BackplaneError(
      'cursor_invalid',
      'cursor is of another broker, or of this one before its data was removed: begin with since or last instead ' +
        `(it is of log ${state.logId}, here is log ${logIdentity})`,
    );
  }
  if (!state.partials.every(({ topic }) => topics.includes(topic))) {
    throw new BackplaneError(
      'cursor_invalid',
      `cursor stands within a frame of none of the topics ${topics.join(', ')}`,
    );
  }
  if (state.history === undefined && !topics.every((topic) => state.offsets.has(topic))) {
    throw new BackplaneError('cursor_invalid', `cursor has no offsets for one of the topics ${topics.join(', ')}`);
  }
  return state;
}

/** What was delivered of one node. */
export interface Delivered {
  /** Per topic; a topic without an entry: nothing known. */
  readonly floors: ReadonlyMap<string, Position>;
  readonly standing: CursorNode | undefined;
}

/** The last delivered event of a frame that was not delivered to its end. */
interface PartialEnd {
  readonly node: string;
  readonly topic: string;
  readonly position: Position;
}

export class Resumption {
  private constructor(
    readonly state: CursorState,
    private readonly topics: readonly string[],
    private readonly positions: ReadonlyMap<string, readonly ReadonlyMap<string, Position>[]>,
    private readonly standings: ReadonlyMap<string, CursorNode>,
    private readonly partials: readonly PartialEnd[],
  ) {}

  /** Throws cursor_expired when the log no longer reaches back, cursor_invalid when it never had these offsets. */
  static async open(state: CursorState, topics: readonly string[], store: LogStore): Promise<Resumption> {
    const positions = new Map<string, ReadonlyMap<string, Position>[]>();
    for (const topic of topics) {
      const perPartition: ReadonlyMap<string, Position>[] = [];
      for (const [partition, offset] of (state.offsets.get(topic) ?? []).entries()) {
        perPartition.push(await store.partition(topic, partition).positionsBefore(offset));
      }
      positions.set(topic, perPartition);
    }
    const noted = readNotes(state.note, (partition) => store.partition(topics[0]!, partition));
    const standings = new Map([...noted, ...state.nodes].map((standing) => [standing.node, standing]));
    const ends: PartialEnd[] = [];
    for (const partial of state.partials) {
      const end = await readPartial(partial, state.offsets.get(partial.topic)?.[partial.partition] ?? 0, store);
      if (end) ends.push(end);
    }
    return new Resumption(state, topics, positions, standings, ends);
  }

  /** Nodes that the cursor names. */
  get named(): Iterable<string> {
    return this.standings.keys();
  }

  /** Undefined for a node of which the subscription had nothing. */
  of(node: string): Delivered | undefined {
    const standing = this.standings.get(node);
    if (standing?.standing === 'late') return { floors: standing.floors ?? new Map(), standing };
    const floors = new Map<string, Position>();
    for (const topic of this.topics) {
      let floor = this.positions.get(topic)![partitionOf(node)]?.get(node);
      const partial = this.partials.find((end) => end.node === node && end.topic === topic);
      floor = laterPosition(floor, partial?.position);
      floor = laterPosition(floor, standing?.position);
      if (floor) floors.set(topic, floor);
    }
    return floors.size === 0 ? undefined : { floors, standing };
  }

  /** Before any frame at or behind the cursor's offsets: up to where the log goes for the node. */
  seen(node: string, topic: string): Position | undefined {
    return this.positions.get(topic)![partitionOf(node)]?.get(node);
  }
}

async function readPartial(
  { topic, partition, index }: PartialFrame,
  offset: number,
  store: LogStore,
): Promise<PartialEnd | undefined> {
  const reader = store.partition(topic, partition).reader(offset);
  try {
    const item = await reader.next();
    if (item?.kind !== 'frame' || index > item.frame.count) {
      throw new BackplaneError('cursor_invalid', `cursor stands within a frame of ${topic} that cannot be read`);
    }
    if (index === 0) return undefined;
    const { frame, node } = item;
    return { node, topic, position: positionAt(frame.coveredTo.epoch, frame, index - 1) };
  } finally {
    reader.close();
  }
}
