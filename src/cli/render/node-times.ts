/**
 * Converts positions to wall time, per node. A gap names positions, whose times are of the node's trace clock; the
 * events shown so far give the offset to wall time. Bounded by the number of nodes kept.
 */
import { LRUCache } from 'lru-cache';
import { NODES_SHOWN_MAX } from '../../limits.js';
import type { EventMessage } from '../../wire/messages.js';

interface WirePosition {
  readonly epoch: string;
  readonly timeNs: string;
}

export class NodeTimes {
  readonly #offsets = new LRUCache<string, { readonly epoch: string; readonly offsetNs: bigint }>({
    max: NODES_SHOWN_MAX,
  });

  /** The last event of a batch is enough: the offset moves slowly. */
  learn(node: string, event: EventMessage, wallNs: bigint): void {
    const { position } = event;
    if (!position) return;
    this.#offsets.set(node, { epoch: position.epoch, offsetNs: wallNs - BigInt(position.timeNs) });
  }

  /** Undefined where no event of this node's epoch was seen. */
  wallNs(node: string, position: WirePosition | null): bigint | undefined {
    const known = this.#offsets.get(node);
    if (known === undefined || position === null || known.epoch !== position.epoch) return undefined;
    return known.offsetNs + BigInt(position.timeNs);
  }
}
