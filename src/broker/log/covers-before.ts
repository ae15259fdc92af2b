/**
 * How far the frames before an offset of a log reach, for which the log is read from a checkpoint on. What cannot be read there
 * may have been a node's last frame before the offset. Whoever resumes at the offset was delivered it, so that it must not be
 * taken for one that is still to come: the next frame of the node says how far it reached, as it continues it.
 */
import { type BackplaneError, cursorExpired } from '../../errors.js';
import type { Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { CoveredPositions } from './covered-positions.js';

type Cover = Pick<Frame, 'topic' | 'coveredFrom' | 'coveredTo' | 'continues'>;
/** How far nodes reach, by node and topic. */
type Told = ReadonlyMap<string, ReadonlyMap<string, Position>>;

export class CoversBefore {
  readonly covered: CoveredPositions;
  /** Where the first of what cannot be read stands; undefined: everything could be. */
  lostFrom: number | undefined;
  /** By node, topics of which a frame was read since something could not be read; undefined: everything could. */
  #since: Map<string, Set<string>> | undefined;

  /** @param covered what a checkpoint says, where that is known already */
  constructor(covered = new CoveredPositions()) {
    this.covered = covered;
  }

  /** The next frame before the offset. */
  take(node: string, frame: Cover): void {
    this.covered.take(node, frame);
    if (this.#since === undefined) return;
    const topics = this.#since.get(node);
    if (topics) topics.add(frame.topic);
    else this.#since.set(node, new Set([frame.topic]));
  }

  /** A checkpoint was read into `covered`, which knows of everything before it. */
  checked(): void {
    this.#since = undefined;
    this.lostFrom = undefined;
  }

  /** Something before the offset cannot be read, from an offset on. */
  lost(offset: number): void {
    this.#since = new Map();
    this.lostFrom ??= offset;
  }

  /**
   * Whether of one that reaches somewhere no frame was read since something could not be.
   * @param told those of which something else says how far they reach
   */
  hasDoubts(told: Told): boolean {
    const since = this.#since;
    if (since === undefined) return false;
    return [...this.covered.entries()].some(([node, byTopic]) => {
      return [...byTopic.keys()].some((topic) => !since.get(node)?.has(topic) && !told.get(node)?.has(topic));
    });
  }

  /**
   * Call this when all before the offset was read. Undefined: `covered` is how far the frames reach; else the log must be read
   * on until there is no more doubt.
   * @param end how far the log's nodes reach now
   * @param where the offset, in words
   */
  doubts(end: CoveredPositions, where: string): CoverDoubts | undefined {
    if (this.#since === undefined) return undefined;
    const doubts = new CoverDoubts(this.covered, end, this.#since, where);
    return doubts.settled ? undefined : doubts;
  }
}

/** Nodes and topics that may have reached further before an offset than could be read. */
export class CoverDoubts {
  readonly #covered: CoveredPositions;
  readonly #where: string;
  readonly #topics = new Map<string, Set<string>>();

  /** @param known what is in no doubt */
  constructor(
    covered: CoveredPositions,
    end: CoveredPositions,
    known: ReadonlyMap<string, ReadonlySet<string>>,
    where: string,
  ) {
    this.#covered = covered;
    this.#where = where;
    for (const [node, byTopic] of end.entries()) {
      const further = [...byTopic].filter(([topic, to]) => {
        const before = covered.to(node, topic);
        return !known.get(node)?.has(topic) && (before === undefined || comparePositions(to, before) > 0);
      });
      if (further.length > 0) this.#topics.set(node, new Set(further.map(([topic]) => topic)));
    }
  }

  get settled(): boolean {
    return this.#topics.size === 0;
  }

  /** The next frame behind the offset. Throws cursor_expired where it does not say how far those before it reach. */
  take(node: string, { topic, coveredFrom, continues }: Cover): void {
    const topics = this.#topics.get(node);
    if (!topics?.delete(topic)) return;
    if (topics.size === 0) this.#topics.delete(node);
    const before = this.#covered.to(node, topic);
    if (before !== undefined && comparePositions(coveredFrom, before) <= 0) return;
    if (!continues) throw deliveredUnknown(this.#where, `node ${node}`);
    this.#covered.set(node, topic, coveredFrom);
  }

  /**
   * Something behind the offset cannot be read: of those that are in doubt still it may have been the next frame. Whoever
   * resumes is told of that as a gap, from as far as could be read, and of what comes again behind it.
   */
  lost(): void {
    this.#topics.clear();
  }

  /** There is no further frame of those that are in doubt, up to where nodes are known to reach so far. */
  settle(reached: CoveredPositions): void {
    for (const [node, topics] of this.#topics) {
      this.#covered.reached(node, new Map([...reached.of(node)].filter(([topic]) => topics.has(topic))));
    }
    this.#topics.clear();
  }
}

/**
 * Guessing would deliver events twice, or leave some out.
 * @param where the cursor's offset, in words
 */
export function deliveredUnknown(where: string, whose: string): BackplaneError {
  return cursorExpired(
    `cursor names ${where}, around which the log cannot be read, so that it is not known how far ${whose} was delivered: ` +
      'its machine lost the end of it. Begin with since, from before that',
  );
}
