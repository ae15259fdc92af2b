/** Up to where the frames of a partition's nodes reach, topic for topic. */
import { NODES_PER_PARTITION_MAX } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { Position } from '../../wire/position.js';
import { follows } from './chain.js';

export class CoveredPositions {
  /** By node, the one that was silent for longest first: over the bound it goes. Then by topic. */
  private readonly byNode = new Map<string, Map<string, Position>>();

  /** Undefined when nothing is known of it. */
  to(node: string, topic: string): Position | undefined {
    return this.byNode.get(node)?.get(topic);
  }

  nodes(): Iterable<string> {
    return this.byNode.keys();
  }

  /** The next frame of the log. */
  take(node: string, frame: Frame): void {
    if (follows(frame, this.to(node, frame.topic)) !== 'duplicate') this.set(node, frame.topic, frame.coveredTo);
  }

  set(node: string, topic: string, to: Position): void {
    const topics = this.byNode.get(node) ?? new Map<string, Position>();
    this.byNode.delete(node);
    this.byNode.set(node, topics);
    topics.set(topic, to);
    if (this.byNode.size <= NODES_PER_PARTITION_MAX) return;
    for (const silent of this.byNode.keys()) {
      this.byNode.delete(silent);
      return;
    }
  }

  copy(): CoveredPositions {
    const copy = new CoveredPositions();
    for (const [node, topics] of this.byNode) copy.byNode.set(node, new Map(topics));
    return copy;
  }

  entries(): Iterable<readonly [node: string, byTopic: ReadonlyMap<string, Position>]> {
    return this.byNode;
  }
}
