/**
 * Which brokers are alive, by what each says of itself.
 *
 * broker.NAME -> { beat, nodes, bytesPerSecond }     written every few seconds; `beat` grows
 *
 * What a broker said holds for one lease from when it was read here, by this broker's own clock: others' clocks may be an
 * hour off. While nothing can be read nobody is taken for dead.
 */
import * as z from 'zod';
import { BROKER_LEASE_MS, CLUSTER_BROKERS_MAX } from '../../../limits.js';
import type { SharedState, StateChange } from '../../cluster/shared-state.js';
import type { BrokerDemand } from './ceiling.js';

const PREFIX = 'broker.';
const whole = z.number().int().nonnegative();
const schema = z.object({ beat: whole, nodes: whole, bytesPerSecond: z.number().nonnegative() });

interface Heard {
  readonly demand: BrokerDemand;
  readonly revision: number;
  untilMs: number;
}

/** Throws for what no broker writes. */
export function checkBrokerState(_key: string, value: unknown): void {
  schema.parse(value);
}

export class BrokerLeases {
  readonly #state: SharedState;
  readonly #own: string;
  readonly #leaseMs: number;
  readonly #now: () => number;
  readonly #heard = new Map<string, Heard>();
  readonly #listeners = new Set<() => void>();
  #beat = 0;
  /** When this broker's own lease ends, as the others see it at the earliest. */
  #ownUntilMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds, of a clock that is never set */
  constructor(state: SharedState, own: string, now: () => number = () => performance.now(), leaseMs = BROKER_LEASE_MS) {
    this.#state = state;
    this.#own = own;
    this.#now = now;
    this.#leaseMs = leaseMs;
    state.watch(PREFIX, (change) => this.#changed(change));
  }

  /** Says that this broker is alive, and what its nodes ask for. */
  async beat(nodes: number, bytesPerSecond: number): Promise<void> {
    this.#beat++;
    const saidMs = this.#now();
    await this.#state.put(PREFIX + this.#own, { beat: this.#beat, nodes, bytesPerSecond });
    const { holds } = this;
    this.#ownUntilMs = Math.max(this.#ownUntilMs, saidMs + this.#leaseMs);
    if (!holds) this.#tell();
  }

  /** Whether the others take this broker for alive: nobody read what it said last before it was said. */
  get holds(): boolean {
    return this.#now() < this.#ownUntilMs;
  }

  /** Says that this broker ends. */
  async leave(): Promise<void> {
    await this.#state.delete(PREFIX + this.#own);
  }

  /** This broker's own lease counts as any other's. */
  alive(broker: string): boolean {
    return this.#heard.has(broker);
  }

  /** Of all that are alive. */
  demands(): BrokerDemand[] {
    return Array.from(this.#heard.values(), ({ demand }) => demand);
  }

  /** Calls `listener` whenever demand changes, a broker comes or one is gone. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Ends the leases of those that were not heard of. Call it every second. Returns the brokers whose leases ended.
   * @param reads the state is being read: else silence says nothing, and every lease begins anew
   */
  expire(reads: boolean): string[] {
    const nowMs = this.#now();
    const gone: string[] = [];
    for (const [broker, heard] of this.#heard) {
      if (!reads) heard.untilMs = nowMs + this.#leaseMs;
      else if (heard.untilMs <= nowMs) gone.push(broker);
    }
    for (const broker of gone) this.#heard.delete(broker);
    if (gone.length > 0) this.#tell();
    return gone;
  }

  /** Deletes what brokers left that are gone; any broker may. */
  async forget(brokers: readonly string[]): Promise<void> {
    const entries = brokers.flatMap((broker) => this.#state.get(PREFIX + broker) ?? []);
    // One that is back meanwhile has written since.
    await Promise.allSettled(entries.map(({ key, revision }) => this.#state.delete(key, revision)));
  }

  #changed({ key, value, revision }: StateChange): void {
    const broker = key.slice(PREFIX.length);
    if (value === undefined) this.#heard.delete(broker);
    else if (this.#heard.has(broker) || this.#heard.size < CLUSTER_BROKERS_MAX) {
      const { nodes, bytesPerSecond } = schema.parse(value);
      const untilMs = this.#now() + this.#leaseMs;
      this.#heard.set(broker, { demand: { broker, nodes, bytesPerSecond }, revision, untilMs });
    }
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
