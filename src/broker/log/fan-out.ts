/**
 * Distributes partition logs to subscriptions. Each log feeds the cached tail of
 * its partition. Each subscription has its own place in each partition: near the
 * end it reads the shared tail, further back the log. No subscription waits for
 * another.
 *
 * Whoever has read everything follows: its place moves with the log's end past
 * every frame that does not concern it, and it is woken by the first one that does.
 */
import { LOG_FILL_OFFSETS_MAX, SUBSCRIPTION_FRAME_CACHE } from '../../limits.js';
import { TOPICS } from '../../wire/event/event.js';
import { type Frame, predicatesOf } from '../../wire/frame/frame.js';
import {
  endOf,
  type LogEntry,
  type LogItem,
  type LogLoss,
  type PartitionLog,
  type PartitionReader,
} from './partition-log.js';
import { PartitionTail, TailCache } from './tail-cache.js';
import { type TopicEnd, TopicEnds } from './topic-ends.js';

/** One subscription, as its places see it. */
export interface Follower {
  readonly topics: ReadonlySet<string>;
  readonly predicateIds: readonly bigint[];
  /** Called whenever there is another frame to read that concerns it. */
  readonly notify: () => void;
  /** Told how far a node's topic reaches of which frames were passed over. */
  readonly passed: (end: TopicEnd) => void;
  /** Told that a partition's log has lost what it had from an offset on: other frames come there. */
  readonly rewound: (partition: number, offset: number) => void;
}

/** What all places of a partition share. */
interface Fed {
  readonly log: PartitionLog;
  readonly tail: PartitionTail;
  readonly ends: TopicEnds;
  /** Places that read the log, and one for those that are expected; it is followed for them. */
  readers: number;
  unfollow: () => void;
  /** Set while the cached tail is made longer; resolves with false where that was in vain. */
  filling: Promise<boolean> | undefined;
  /** Makes the cached tail begin at an offset, where that is not far; resolves in any case. */
  readonly fill: (offset: number) => Promise<void>;
}

/** A follower and its places, by partition. */
interface Joined {
  readonly follower: Follower;
  readonly places: readonly LogPlace[];
}

export class FanOut {
  readonly #cache: TailCache;
  readonly #fed: readonly Fed[];
  #expects = false;
  /** Followers by what may concern them. */
  readonly #byPredicate = new Map<bigint, Set<Joined>>();
  readonly #byTopic = new Map<string, Set<Joined>>();

  /**
   * @param logs all logs, by partition
   * @param nodes how many are connected
   */
  constructor(logs: readonly PartitionLog[], nodes = () => 1) {
    const { newestBytesMax, newestBytesPerNode, ...bounds } = SUBSCRIPTION_FRAME_CACHE;
    this.#cache = new TailCache({
      ...bounds,
      newestBytesMax: () => Math.min(newestBytesMax, nodes() * newestBytesPerNode),
    });
    this.#fed = logs.map((log) => {
      const fed: Fed = {
        ...{ log, tail: new PartitionTail(this.#cache, log.deliverableOffset), ends: new TopicEnds() },
        ...{ readers: 0, unfollow: () => undefined, filling: undefined },
        fill: (offset) => this.#fill(fed, offset),
      };
      return fed;
    });
  }

  /**
   * @param offsetOf where to begin in a log; undefined where nothing is wanted of it: the place then stays at its end, and
   *   never has anything to read
   * @returns the places by partition, and a function that closes them
   */
  join(
    follower: Follower,
    offsetOf: (log: PartitionLog) => number | undefined,
  ): { readonly places: readonly LogPlace[]; readonly close: () => void } {
    const places = this.#fed.map((fed) => {
      const offset = offsetOf(fed.log);
      if (offset !== undefined && fed.readers++ === 0) this.#follow(fed);
      return new LogPlace(fed, follower, offset);
    });
    const joined = { follower, places };
    for (const id of follower.predicateIds) addTo(this.#byPredicate, id, joined);
    for (const topic of follower.topics) addTo(this.#byTopic, topic, joined);
    const close = () => {
      for (const [at, place] of places.entries()) {
        place.close();
        const fed = this.#fed[at]!;
        if (place.isRead && --fed.readers === 0) fed.unfollow();
      }
      for (const id of follower.predicateIds) removeFrom(this.#byPredicate, id, joined);
      for (const topic of follower.topics) removeFrom(this.#byTopic, topic, joined);
    };
    return { places, close };
  }

  /**
   * Whether subscribers may come who have read at other brokers until now: what they will read next is kept at hand before
   * they come. Else the first of many that come at once would have to wait until the log is read another way, and all of
   * them until what lies behind their cursors was read back from it.
   */
  expect(areExpected: boolean): void {
    if (this.#expects === areExpected) return;
    this.#expects = areExpected;
    for (const fed of this.#fed) {
      if (areExpected && fed.readers++ === 0) this.#follow(fed);
      else if (!areExpected && --fed.readers === 0) fed.unfollow();
    }
  }

  /** What came while nobody read it is in the log alone, and how far nodes reach by now nobody has looked at. */
  #follow(fed: Fed): void {
    fed.tail.restart(fed.log.deliverableOffset);
    fed.ends.clear();
    fed.unfollow = fed.log.follow(
      (entry) => this.#take(fed, entry),
      (loss) => this.#lose(fed, loss),
      (silence, offset) => fed.ends.silent(silence, offset, fed.log.coveredTo(silence.node, silence.topic)),
    );
  }

  /** Those who come from another broker have all been about there: one reads for all of them. */
  async #fill(fed: Fed, offset: number): Promise<void> {
    const { log, tail } = fed;
    if (!log.isRemote) return;
    while (!tail.covers(offset) && tail.from - offset <= LOG_FILL_OFFSETS_MAX) {
      fed.filling ??= fillTail(fed, offset).finally(() => {
        fed.filling = undefined;
      });
      if (!(await fed.filling)) return;
    }
  }

  #take({ log: { partition }, tail, ends }: Fed, entry: LogEntry): void {
    tail.add(entry);
    const concerned = this.#concernedBy(entry, ends);
    for (const { places } of concerned) places[partition]!.stopBefore(entry.offset);
    ends.take(entry);
    for (const { follower, places } of concerned) if (places[partition]!.isRead) follower.notify();
  }

  /** Places read what is lost of the log itself, or begin again where its end is now. */
  #lose({ log: { partition }, tail, ends }: Fed, loss: LogLoss): void {
    tail.restart(loss.kind === 'passed' ? loss.offsetTo : loss.offset);
    for (const { follower, places } of new Set([...this.#byTopic.values()].flatMap((joined) => [...joined]))) {
      const place = places[partition]!;
      if (loss.kind === 'passed') place.stopBefore(loss.offsetFrom);
      else place.rewind(loss.offset);
      if (!place.isRead) continue;
      if (loss.kind === 'rewound') follower.rewound(partition, loss.offset);
      follower.notify();
    }
    if (loss.kind === 'rewound') ends.clear();
  }

  /** Those for whom an event matches or was shed; all of the topic, if the frame tells more than that there was none. */
  #concernedBy(entry: LogEntry, ends: TopicEnds): Iterable<Joined> {
    const { frame } = entry;
    if (tellsAll(frame) || !ends.continuedBy(entry)) return this.#byTopic.get(frame.topic) ?? [];
    const { matches, shed } = frame;
    if (matches.length === 1 && shed.length === 0) return this.#byPredicate.get(matches[0]!.predicateId) ?? [];
    const concerned = new Set<Joined>();
    for (const id of predicatesOf(frame)) for (const joined of this.#byPredicate.get(id) ?? []) concerned.add(joined);
    return concerned;
  }
}

/** Reads once from an offset on to where the cached tail begins. Resolves with false where it cannot be made longer. */
async function fillTail({ log, tail }: Fed, from: number): Promise<boolean> {
  const to = tail.from;
  const reader = log.reader(from, new Set(Object.keys(TOPICS)));
  const entries: LogEntry[] = [];
  try {
    while (reader.offset < to) {
      const item = await reader.next();
      // Nothing at this moment is not the end.
      if (item === undefined && reader.offset < to) return false;
      if (item === undefined || (item.kind === 'frame' && item.offset >= to)) break;
      if (item.kind !== 'frame') return false;
      entries.push(item);
    }
  } catch {
    // Each reads for itself, and is told why.
    return false;
  } finally {
    reader.close();
  }
  if (tail.from !== to) return false;
  tail.prepend(entries, from);
  return tail.covers(from);
}

/** Whether a frame states what everybody must be told who asks for its topic. */
function tellsAll({ lost, lostUnknown, losses, late, refused }: Frame): boolean {
  return lost > 0 || lostUnknown || losses.length > 0 || late > 0 || refused;
}

function addTo<Key>(index: Map<Key, Set<Joined>>, key: Key, joined: Joined): void {
  const known = index.get(key);
  if (known) known.add(joined);
  else index.set(key, new Set([joined]));
}

function removeFrom<Key>(index: Map<Key, Set<Joined>>, key: Key, joined: Joined): void {
  const known = index.get(key);
  known?.delete(joined);
  if (known?.size === 0) index.delete(key);
}

/** One subscription's place in one partition. */
export class LogPlace {
  readonly #fed: Fed;
  readonly #follower: Follower;
  /** False for a place of which nothing is wanted. */
  readonly isRead: boolean;
  #offset: number;
  #delivered: number;
  /** Frames at or after this offset are passed over since follow(); undefined: the place is read frame by frame. */
  #passedFrom: number | undefined;
  /** How often the log went back. */
  rewinds = 0;
  #reader: PartitionReader | undefined;
  #isClosed = false;
  /** Mark of the item that the reader read last, which ends at `offset`. */
  #readMark: { readonly offset: number; readonly mark: number | undefined } | undefined;

  constructor(fed: Fed, follower: Follower, offset: number | undefined) {
    this.#fed = fed;
    this.#follower = follower;
    this.isRead = offset !== undefined;
    this.#offset = offset ?? fed.log.deliverableOffset;
    this.#delivered = this.#offset;
  }

  get log(): PartitionLog {
    return this.#fed.log;
  }

  /** The next offset to read. */
  get offset(): number {
    return this.#passedFrom === undefined ? this.#offset : this.log.deliverableOffset;
  }

  /** Everything before this offset was delivered or passed over, so a cursor may name it. */
  get delivered(): number {
    return this.#passedFrom === undefined ? this.#delivered : this.log.deliverableOffset;
  }

  /** What was read is delivered. */
  deliveredAll(): void {
    this.#delivered = this.#offset;
  }

  /** Approximate number of frames between here and the log's end, of all topics. */
  get lag(): number {
    if (!this.isRead) return 0;
    return Math.max(0, this.log.deliverableOffset - this.offset);
  }

  /** Call this where all was read and delivered: the place then passes frames by itself until one concerns it. */
  follow(): void {
    if (!this.isRead || this.#passedFrom !== undefined || this.#offset < this.log.deliverableOffset) return;
    this.#closeReader();
    this.#passedFrom = this.#offset;
  }

  /** Tells the follower what was passed since it was told last. */
  tellPassed(): void {
    if (this.#passedFrom === undefined) return;
    for (const end of this.#fed.ends.since(this.#passedFrom)) {
      if (this.#follower.topics.has(end.topic)) this.#follower.passed(end);
    }
    this.#passedFrom = this.log.deliverableOffset;
  }

  /** @internal called by FanOut only, before the frame at this offset counts as passed */
  stopBefore(offset: number): void {
    if (this.#passedFrom === undefined) return;
    this.tellPassed();
    this.#passedFrom = undefined;
    this.#offset = offset;
    this.#delivered = offset;
  }

  /** @internal called by FanOut only: the log has other frames from this offset on than it had */
  rewind(offset: number): void {
    this.rewinds++;
    // Who passes frames over goes on at the new end.
    this.tellPassed();
    // It may have read ahead what is void.
    this.#closeReader();
    if (this.#passedFrom !== undefined || this.#offset <= offset) return;
    this.#readMark = undefined;
    this.#offset = offset;
    this.#delivered = offset;
  }

  /** See PartitionLog.markBefore. */
  markBefore(offset: number): number | undefined {
    return this.#readMark?.offset === offset ? this.#readMark.mark : this.log.markBefore(offset);
  }

  /** The next item, or undefined when there is none at this moment. `offset` is moved past it. */
  async next(): Promise<LogItem | undefined> {
    if (this.#passedFrom !== undefined) return undefined;
    const end = this.log.deliverableOffset;
    if (this.#offset >= end) return undefined;
    const { tail } = this.#fed;
    const { topics } = this.#follower;
    if (this.log.isRemote && !tail.covers(this.#offset) && this.#reader === undefined) {
      const before = this.#offset;
      await this.#fed.fill(before);
      if (this.#offset !== before || this.#isClosed) return undefined;
    }
    if (tail.covers(this.#offset)) {
      this.#closeReader();
      const entry = tail.find(this.#offset, topics);
      // Offsets without a frame are checkpoints and notes, or other topics' frames.
      if (entry === undefined || entry.offset >= end) {
        this.#offset = entry === undefined ? end : Math.min(entry.offset, end);
        return undefined;
      }
      this.#offset = entry.offset + 1;
      return entry;
    }
    if (this.#reader?.offset !== this.#offset) {
      this.#closeReader();
      this.#reader = this.log.reader(this.#offset, topics);
    }
    const reader = this.#reader;
    const item = await reader.next();
    // The log went back meanwhile: what was read is void.
    if (this.#reader !== reader) return undefined;
    // Nothing at this moment.
    if (item === undefined && reader.offset === this.#offset) return undefined;
    // The reader may have passed records that are no items.
    if (item === undefined) this.#offset = reader.offset;
    else this.#offset = endOf(item);
    this.#readMark = { offset: this.#offset, mark: reader.mark };
    return item;
  }

  /** The last cursors are made after it: the place stays where it is. */
  close(): void {
    this.#isClosed = true;
    this.#closeReader();
    this.tellPassed();
    if (this.#passedFrom === undefined) return;
    this.#offset = this.#passedFrom;
    this.#delivered = this.#passedFrom;
    this.#passedFrom = undefined;
  }

  #closeReader(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }
}
