/** Positions up to which the frames of a partition's nodes reach, by node and topic. */
import { NODES_PER_PARTITION_MAX } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { follows } from './chain.js';

const NOTHING: ReadonlyMap<string, Position> = new Map();

export class CoveredPositions {
  /** By node, then by topic. The node that was silent for longest is first, and is dropped over the bound. */
  readonly #byNode = new Map<string, Map<string, Position>>();

  /** Undefined when nothing is known of the node and topic. */
  to(node: string, topic: string): Position | undefined {
    return this.#byNode.get(node)?.get(topic);
  }

  /** By topic. */
  of(node: string): ReadonlyMap<string, Position> {
    return this.#byNode.get(node) ?? NOTHING;
  }

  nodes(): Iterable<string> {
    return this.#byNode.keys();
  }

  /** Takes the next frame of the log. */
  take(node: string, frame: Pick<Frame, 'topic' | 'coveredFrom' | 'coveredTo' | 'continues'>): void {
    if (follows(frame, this.to(node, frame.topic)) !== 'duplicate') this.set(node, frame.topic, frame.coveredTo);
  }

  /** The node's frames have reached at least so far. */
  reached(node: string, byTopic: ReadonlyMap<string, Position>): void {
    for (const [topic, to] of byTopic) {
      const known = this.to(node, topic);
      if (known === undefined || comparePositions(to, known) > 0) this.set(node, topic, to);
    }
  }

  set(node: string, topic: string, to: Position): void {
    const topics = this.#byNode.get(node) ?? new Map<string, Position>();
    this.#byNode.delete(node);
    this.#byNode.set(node, topics);
    topics.set(topic, to);
    if (this.#byNode.size <= NODES_PER_PARTITION_MAX) return;
    for (const silent of this.#byNode.keys()) {
      this.#byNode.delete(silent);
      return;
    }
  }

  copy(): CoveredPositions {
    const copy = new CoveredPositions();
    for (const [node, topics] of this.#byNode) copy.#byNode.set(node, new Map(topics));
    return copy;
  }

  entries(): Iterable<readonly [node: string, byTopic: ReadonlyMap<string, Position>]> {
    return this.#byNode;
  }
}
