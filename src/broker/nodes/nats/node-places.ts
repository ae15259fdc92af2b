/**
 * Which broker has the session of each node, as all brokers agree on it.
 *
 * node.NAME -> { recorderId, bootId, epoch, broker, session }     without a session the node is not connected
 *
 * A broker writes itself down when a node connects to it; of two, the later one counts, and the one before sees that and
 * lets go. Its late frames lose against those of the later one.
 */
import * as z from 'zod';
import { BackplaneError } from '../../../errors.js';
import type { SharedState, StateChange } from '../../cluster/shared-state.js';

const PREFIX = 'node.';
const text = z.string().max(256);
const schema = z.object({
  recorderId: text,
  bootId: text,
  epoch: z.number().int().nonnegative(),
  broker: text,
  session: text,
});

export interface NodePlace {
  readonly recorderId: string;
  readonly bootId: string;
  readonly epoch: number;
  readonly broker: string;
  /** Empty: it is not connected. */
  readonly session: string;
}

/** Called with a node whose place changed, and its place; undefined where it is not known any more. */
export type PlaceListener = (node: string, place: NodePlace | undefined) => void;

/** Throws for what no broker writes. */
export function checkNodePlace(_key: string, value: unknown): void {
  schema.parse(value);
}

export class NodePlaces {
  readonly #state: SharedState;
  readonly #places = new Map<string, NodePlace>();
  readonly #listeners = new Set<PlaceListener>();

  constructor(state: SharedState) {
    this.#state = state;
    state.watch(PREFIX, (change) => this.#changed(change));
  }

  of(node: string): NodePlace | undefined {
    return this.#places.get(node);
  }

  all(): Iterable<readonly [node: string, place: NodePlace]> {
    return this.#places;
  }

  listen(listener: PlaceListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Writes down that a broker has a session of the node. Resolves once all brokers will see it, with the place before.
   * @param decide what is written in place of what is known; what it throws rejects
   */
  async take(
    node: string,
    decide: (known: NodePlace | undefined) => NodePlace,
  ): Promise<{ readonly before: NodePlace | undefined; readonly place: NodePlace }> {
    for (;;) {
      const entry = this.#state.get(PREFIX + node);
      const before = entry && schema.parse(entry.value);
      const place = decide(before);
      if (await this.#put(node, place, entry?.revision ?? 0)) return { before, place };
    }
  }

  /** Writes down that the session has ended, unless another one has begun. */
  async leave(node: string, session: string): Promise<void> {
    for (;;) {
      const entry = this.#state.get(PREFIX + node);
      const place = entry && schema.parse(entry.value);
      if (entry === undefined || place?.session !== session) return;
      if (await this.#put(node, { ...place, session: '' }, entry.revision)) return;
    }
  }

  /** Forgets a node, unless it connects meanwhile. */
  async forget(node: string): Promise<void> {
    const entry = this.#state.get(PREFIX + node);
    if (entry !== undefined) await this.#state.delete(entry.key, entry.revision).catch(ignoreChanged);
  }

  /** False when somebody else was first. */
  async #put(node: string, place: NodePlace, revision: number): Promise<boolean> {
    try {
      await this.#state.put(PREFIX + node, { ...place }, revision);
      return true;
    } catch (cause) {
      ignoreChanged(cause);
      return false;
    }
  }

  #changed({ key, value }: StateChange): void {
    const node = key.slice(PREFIX.length);
    const place = value === undefined ? undefined : schema.parse(value);
    if (place === undefined) this.#places.delete(node);
    else this.#places.set(node, place);
    for (const listener of this.#listeners) listener(node, place);
  }
}

/** For what somebody else was first to change. */
export function ignoreChanged(cause: unknown): void {
  if (!(cause instanceof BackplaneError && cause.code === 'failed_precondition')) throw cause;
}
