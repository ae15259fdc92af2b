/**
 * What the brokers of a cluster tell each other of their nodes: where each is (node-places.ts), and from which position its
 * frames in the log are complete for a predicate.
 *
 * holds.NAME     -> { holds, broker }  as in node-state.ts, by the broker that has the node
 * told.BROKER    -> { revision }       what the broker said of its nodes' holds counts as of the claims of this revision
 *
 * A hold is worth something only while the node is asked for the predicate without a break. All brokers read claims in one
 * order, so each knows since when; a hold counts if its broker has said so since then. A broker says it after it has taken
 * back what it said of predicates that nobody asked for at that time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { everyOne } from '../../../flow/every-step.js';
import { HOLDS_LINGER_MS } from '../../../limits.js';
import type { Position } from '../../../wire/position.js';
import type { SharedState, StateValue } from '../../cluster/shared-state.js';
import type { NodeRegistry } from '../node-registry.js';
import { holdsValue, savedHolds } from '../node-state.js';
import type { BrokerLeases } from './broker-leases.js';
import type { ClusterInterest } from './cluster-interest.js';
import type { NodePlaces } from './node-places.js';

const HOLDS = 'holds.';
const TOLD = 'told.';
const toldSchema = z.object({ revision: z.number().int().nonnegative() });
const bySchema = z.object({ broker: z.string().default('') });

export interface ClusterNodesOptions {
  readonly state: SharedState;
  readonly broker: string;
  readonly registry: NodeRegistry;
  readonly interest: ClusterInterest;
  readonly places: NodePlaces;
  readonly leases: BrokerLeases;
  readonly onFailure: (cause: unknown) => void;
}

/** Throws for what no broker writes. */
export function checkTold(_key: string, value: unknown): void {
  toldSchema.parse(value);
}

export class ClusterNodes {
  /** By node, as it was written last. */
  readonly #holds = new Map<string, { readonly broker: string; readonly holds: ReadonlyMap<bigint, Position> }>();
  /** By broker: the revision of the claims as of which its nodes' holds count. */
  readonly #told = new Map<string, number>();
  /** By node, what this broker wrote last of which session, as JSON. */
  readonly #written = new Map<string, string>();
  /** By node, what the registry was told last, as text: it tells all who follow a node. */
  readonly #learnt = new Map<string, string>();
  #dirty = false;
  #learning = false;
  #writing: Promise<void> | undefined;
  #closed = false;
  readonly #options: ClusterNodesOptions;
  readonly #ends: readonly (() => void)[];

  constructor(options: ClusterNodesOptions) {
    this.#options = options;
    const { state, registry, places, leases } = options;
    this.#ends = [
      state.watch(HOLDS, ({ key, value }) => this.#heldChanged(key.slice(HOLDS.length), value)),
      state.watch(TOLD, ({ key, value }) => this.#toldChanged(key.slice(TOLD.length), value)),
      // After the interest itself has read it: it watches since before.
      state.watch('claim.', () => this.#claimed()),
      places.listen((node) => this.#learn(node)),
      leases.listen(() => this.#learnAll()),
      registry.listen((node) => {
        if (registry.session(node) !== undefined) {
          this.#learnt.delete(node);
          this.#write();
        } else if (!this.#learning) this.#learn(node);
      }),
    ];
    this.#learnAll();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const end of this.#ends) end();
    await this.#writing;
  }

  /** Deletes what brokers have said that are gone and whose nodes are elsewhere since; any broker may. Never rejects. */
  async forget(): Promise<void> {
    const { state, places, leases, broker } = this.#options;
    const used = new Set([broker]);
    for (const [, place] of places.all()) used.add(place.broker);
    const over = [...this.#told.keys()].filter((name) => !used.has(name) && !leases.alive(name));
    await Promise.allSettled(over.map((name) => state.delete(TOLD + name)));
  }

  #heldChanged(node: string, value: StateValue | undefined): void {
    if (value === undefined) this.#holds.delete(node);
    else this.#holds.set(node, { broker: bySchema.parse(value).broker, holds: savedHolds(value) });
    this.#learn(node);
  }

  #toldChanged(broker: string, value: StateValue | undefined): void {
    if (value === undefined) this.#told.delete(broker);
    else this.#told.set(broker, toldSchema.parse(value).revision);
    if (broker !== this.#options.broker) this.#learnAll(broker);
  }

  /** What counted before may not count any more. */
  #claimed(): void {
    this.#learnAll();
    this.#write();
  }

  /** @param broker of whose nodes; of all by default */
  #learnAll(broker?: string): void {
    for (const [node, place] of this.#options.places.all()) {
      if (broker === undefined || place.broker === broker) this.#learn(node);
    }
  }

  #learn(node: string): void {
    const { places, leases, registry, broker } = this.#options;
    const place = places.of(node);
    if (place === undefined || place.broker === broker) return;
    const { recorderId, bootId, epoch } = place;
    const session = leases.alive(place.broker) ? place.session : '';
    const holds = this.#counting(node, place.broker);
    const text = JSON.stringify([recorderId, bootId, epoch, session, holdsValue(holds)]);
    if (this.#learnt.get(node) === text || registry.session(node) !== undefined) return;
    this.#learnt.set(node, text);
    this.#learning = true;
    try {
      registry.learn(node, { recorderId, bootId, epoch, session, holds });
    } catch (cause) {
      // There are too many nodes.
      this.#options.onFailure(cause);
    } finally {
      this.#learning = false;
    }
  }

  #counting(node: string, broker: string): ReadonlyMap<bigint, Position> {
    const counting = new Map<bigint, Position>();
    const told = this.#told.get(broker) ?? 0;
    const said = this.#holds.get(node);
    // What the broker before said of it, the one that has it now has not looked at yet.
    if (said?.broker !== broker) return counting;
    for (const [id, position] of said.holds) {
      const since = this.#options.interest.since(node, id);
      if (since !== undefined && told >= since) counting.set(id, position);
    }
    return counting;
  }

  /** Soon, as answers of many nodes come together. */
  #write(): void {
    this.#dirty = true;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#dirty && !this.#closed) {
      await sleep(HOLDS_LINGER_MS);
      this.#dirty = false;
      try {
        await this.#writeOnce();
      } catch (cause) {
        this.#options.onFailure(cause);
        this.#dirty = true;
      }
    }
  }

  async #writeOnce(): Promise<void> {
    const { state, interest, registry, broker } = this.#options;
    const { revision } = interest;
    const writes: Promise<void>[] = [];
    for (const node of registry.connected((name) => registry.session(name) !== undefined)) {
      const wanted = interest.forNode(node);
      const holds = [...registry.record(node)!.holds].filter(([id]) => wanted.has(id));
      const value = { ...holdsValue(new Map(holds)), broker };
      const text = JSON.stringify([registry.session(node)!.id, value]);
      if (this.#written.get(node) !== text) writes.push(this.#put(node, value, text));
    }
    await everyOne(writes);
    if (this.#told.get(broker) !== revision) await state.put(TOLD + broker, { revision });
  }

  async #put(node: string, value: StateValue, text: string): Promise<void> {
    await this.#options.state.put(HOLDS + node, value);
    this.#written.set(node, text);
  }
}
