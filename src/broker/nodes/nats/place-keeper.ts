/**
 * Keeps written down which nodes are connected to this broker, and ends the session of a node that connected to another
 * one since.
 */
import type { NodeRegistry } from '../node-registry.js';
import type { NodeSession } from '../node-session.js';
import type { NodePlace, NodePlaces } from './node-places.js';

export interface PlaceKeeperOptions {
  readonly registry: NodeRegistry;
  readonly places: NodePlaces;
  /** This broker's name. */
  readonly broker: string;
  /** What could not be written down; the session has been ended, as nobody else would find the node. */
  readonly onFailure: (cause: unknown) => void;
}

export class PlaceKeeper {
  /** By node, the session that is to be written down, and the one that was. */
  readonly #kept = new Map<string, string>();
  readonly #written = new Map<string, string>();
  readonly #options: PlaceKeeperOptions;
  readonly #ends: readonly (() => void)[];

  constructor(options: PlaceKeeperOptions) {
    this.#options = options;
    const { registry, places } = options;
    this.#ends = [
      registry.listen((node) => this.#review(node)),
      places.listen((node, place) => this.#moved(node, place)),
    ];
  }

  close(): void {
    for (const end of this.#ends) end();
  }

  #review(node: string): void {
    const session = this.#options.registry.session(node);
    const kept = this.#kept.get(node);
    if (session?.id === kept) return;
    if (session === undefined) {
      this.#kept.delete(node);
      this.#written.delete(node);
      this.#options.places.leave(node, kept!).catch(this.#options.onFailure);
    } else {
      this.#kept.set(node, session.id);
      this.#write(node, session);
    }
  }

  #write(node: string, session: NodeSession): void {
    this.#written.delete(node);
    this.#keep(node, session).catch((cause) => {
      session.close('it cannot be written down that the node is connected here');
      this.#options.onFailure(cause);
    });
  }

  async #keep(node: string, { id, record }: NodeSession): Promise<void> {
    const { places, broker } = this.#options;
    const bootId = record.hello?.bootId ?? '';
    const first = places.of(node)?.session;
    await places.take(node, (known) => {
      // Somebody took it at the same time: which of the two was later nobody knows, so the agent decides by coming back.
      const isOther = known !== undefined && known.session !== '' && known.session !== first;
      if (isOther && known.session !== id) throw new Error(`node ${node} connected to another broker at once`);
      return { recorderId: record.recorderId, bootId, epoch: record.epoch, broker, session: id };
    });
    if (this.#kept.get(node) === id) this.#written.set(node, id);
    // It ended while it was written down.
    else await places.leave(node, id);
    // Another one may have come since.
    this.#moved(node, places.of(node));
  }

  #moved(node: string, place: NodePlace | undefined): void {
    const session = this.#options.registry.session(node);
    if (session === undefined) return;
    if (place === undefined || place.session === '') {
      // What was written down is lost, as a power cut can do it.
      if (this.#written.get(node) === session.id) this.#write(node, session);
      return;
    }
    if (place.session === session.id) this.#written.set(node, session.id);
    // What is read while this broker still writes is older than what it writes.
    else if (this.#written.get(node) === session.id) session.close('the node connected to another broker');
  }
}
