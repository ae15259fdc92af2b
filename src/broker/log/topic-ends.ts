/**
 * How far the frames of each node and topic of one partition reach, the latest first: who passes frames over learns from
 * it what passed since, without looking at each of them.
 */
import { TOPIC_ENDS_MAX } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { follows } from './chain.js';
import type { LogEntry, Silence } from './partition-log.js';

/** Never changes: all who are told of it keep the same one. */
export interface TopicEnd {
  readonly node: string;
  readonly topic: string;
  readonly to: Position;
  /** Wall nanoseconds: no older event follows. */
  readonly watermarkNs: bigint;
}

interface Linked {
  end: TopicEnd;
  /** Of its last frame. */
  offset: number;
  newer: Linked | undefined;
  older: Linked | undefined;
}

export class TopicEnds {
  readonly #byNode = new Map<string, Map<string, Linked>>();
  #newest: Linked | undefined;
  #oldest: Linked | undefined;
  #count = 0;

  /**
   * Whether a frame goes on where the one before it ended. False for the first one that is seen, and for one that leaves
   * something out, as interest began anew: who asked all along has to know.
   */
  continuedBy({ node, frame }: LogEntry): boolean {
    const known = this.#byNode.get(node)?.get(frame.topic);
    return known !== undefined && comparePositions(frame.coveredFrom, known.end.to) === 0;
  }

  /** Other frames come than those that were taken: nothing is known of any. */
  clear(): void {
    this.#byNode.clear();
    this.#newest = undefined;
    this.#oldest = undefined;
    this.#count = 0;
  }

  /** Call this for every frame, in order. */
  take({ node, frame, offset }: LogEntry): void {
    const known = this.#of(node, frame);
    const { end } = known;
    const to = follows(frame, end.to) === 'duplicate' ? end.to : frame.coveredTo;
    const watermarkNs = frame.watermarkNs > end.watermarkNs ? frame.watermarkNs : end.watermarkNs;
    known.end = { node: end.node, topic: end.topic, to, watermarkNs };
    known.offset = offset;
    this.#toFront(known);
  }

  /**
   * There was nothing up to a time.
   * @param to how far the frames before the offset reach; undefined: there are none
   */
  silent({ node, topic, watermarkNs }: Silence, offset: number, to: Position | undefined): void {
    if (to === undefined) return;
    const known = this.#of(node, { topic, coveredFrom: to });
    if (watermarkNs > known.end.watermarkNs) known.end = { ...known.end, watermarkNs };
    known.offset = offset;
    this.#toFront(known);
  }

  /** Those that have frames at or after the offset, or of which something was told there. */
  *since(offset: number): Generator<TopicEnd, void, undefined> {
    for (let known = this.#newest; known !== undefined && known.offset >= offset; known = known.older) yield known.end;
  }

  #of(node: string, { topic, coveredFrom }: Pick<Frame, 'topic' | 'coveredFrom'>): Linked {
    let topics = this.#byNode.get(node);
    if (topics === undefined) {
      topics = new Map();
      this.#byNode.set(node, topics);
    }
    let known = topics.get(topic);
    if (known === undefined) {
      const end = { node, topic, to: coveredFrom, watermarkNs: 0n };
      known = { end, offset: 0, newer: undefined, older: undefined };
      topics.set(topic, known);
      if (++this.#count > TOPIC_ENDS_MAX) this.#dropOldest();
    }
    return known;
  }

  #dropOldest(): void {
    const oldest = this.#oldest;
    if (oldest === undefined) return;
    this.#unlink(oldest);
    this.#count--;
    const { node, topic } = oldest.end;
    const topics = this.#byNode.get(node);
    topics?.delete(topic);
    if (topics?.size === 0) this.#byNode.delete(node);
  }

  #toFront(end: Linked): void {
    if (this.#newest === end) return;
    this.#unlink(end);
    end.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = end;
    this.#newest = end;
    this.#oldest ??= end;
  }

  #unlink(end: Linked): void {
    if (end.newer !== undefined) end.newer.older = end.older;
    if (end.older !== undefined) end.older.newer = end.newer;
    if (this.#newest === end) this.#newest = end.older;
    if (this.#oldest === end) this.#oldest = end.newer;
    end.newer = undefined;
    end.older = undefined;
  }
}
