/** What merging has to know of an item, and makes of it. Runs in browsers. */
import type { BackplaneError } from '../../errors.js';
import type { Position } from '../../wire/position.js';
import type { ItemFacts } from '../resumption.js';

/** Events of one node and topic, in position order. */
export interface MergedBatch {
  readonly node: string;
  readonly topic: string;
  readonly history: boolean;
  readonly refill: boolean;
  readonly count: number;
  /** Wall nanoseconds. */
  timeNs(event: number): bigint;
  /** Undefined where the event does not say. */
  position(event: number): Position | undefined;
}

/** An item in one of the forms that clients have. */
export interface ItemForm<Item> {
  facts(item: Item): ItemFacts;
  /** Undefined for any other item. */
  batch(item: Item): MergedBatch | undefined;
  /** The cluster's broker was lost. */
  isLost(item: Item): boolean;
  /** Events [from, to) of a batch, and what any other item is, with the cluster before the names of nodes, and a cursor. */
  named(item: Item, cluster: string, cursor: string, from?: number, to?: number): Item;
  /** With a cause: no broker of the cluster answers. Without: one does again. */
  link(cluster: string, cause: BackplaneError | undefined): Item;
}
