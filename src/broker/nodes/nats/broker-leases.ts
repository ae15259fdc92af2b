/**
 * Which brokers are alive, by what each says of itself.
 *
 * broker.NAME -> { beat, wallMs, nodes, bytesPerSecond, address, version, retired }     written every few seconds; `beat` grows
 *
 * What a broker said holds for one lease from when it was read here, by this broker's own clock: others' clocks may be an
 * hour off. While nothing can be read nobody is taken for dead.
 */
import * as z from 'zod';
import { BROKER_LEASE_MS, CLUSTER_BROKERS_MAX } from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import type { SharedState, StateChange } from '../../cluster/shared-state.js';
import { PeerClock } from '../../peer-clock.js';

const PREFIX = 'broker.';
/** Brokers that start at once do not see each other, so somewhat more than may begin are known. */
const EXCESS = 2;
/** A process that did nothing for this part of a lease cannot say who was silent. */
const STANDSTILLS_PER_LEASE = 3;
const whole = z.number().int().nonnegative();
const text = z.string().max(256).default('');
const schema = z.object({
  beat: whole,
  nodes: whole,
  bytesPerSecond: z.number().nonnegative(),
  address: text,
  version: text,
  retired: z.boolean().default(false),
  // Version 0.1 did not say it.
  wallMs: whole.optional(),
});

/** What a broker says of itself. */
export interface BrokerSigns {
  /** Connected nodes. */
  readonly nodes: number;
  /** Bytes per second that they ask for, all together. */
  readonly bytesPerSecond: number;
  /** Where agents and subscribers reach it, as it listens: host:port. */
  readonly address: string;
  readonly version: string;
  /** It sends agents and subscribers to others, and takes none. */
  readonly retired: boolean;
}

export interface KnownBroker extends BrokerSigns {
  readonly broker: string;
}

interface Heard {
  readonly known: KnownBroker;
  readonly beat: number;
  untilMs: number;
  readonly clock: PeerClock;
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
  /** Resolves when all that others have decided until now was read here. */
  readonly #caughtUp: () => Promise<void>;
  /** When leases were looked at last. */
  #lookedMs: number | undefined;
  /** What is there at the start was written some time ago, and says nothing of the writer's clock. */
  #readsNow = false;
  #beat = 0;
  /** When this broker's own lease ends, as the others see it at the earliest. */
  #ownUntilMs = Number.NEGATIVE_INFINITY;

  /**
   * @param now milliseconds, of a clock that is never set
   * @param caughtUp resolves when this broker has read all that others have decided until now
   */
  constructor(
    state: SharedState,
    own: string,
    now: () => number = () => performance.now(),
    leaseMs = BROKER_LEASE_MS,
    caughtUp: () => Promise<void> = async () => undefined,
  ) {
    this.#caughtUp = caughtUp;
    this.#state = state;
    this.#own = own;
    this.#now = now;
    this.#leaseMs = leaseMs;
    state.watch(PREFIX, (change) => this.#changed(change));
    this.#readsNow = true;
  }

  /** Says that this broker is alive, and how it is. */
  async beat(signs: BrokerSigns): Promise<void> {
    this.#beat++;
    const saidMs = this.#now();
    await this.#state.put(PREFIX + this.#own, { beat: this.#beat, wallMs: Date.now(), ...signs });
    // The others took it for dead: they may have given away what it had, and it may not know yet.
    if (!this.holds) await this.#caughtUp();
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

  /** By how much another broker's clock is ahead of this one's, nanoseconds; 0 where that is not known. */
  clockOffsetNs(broker: string): bigint {
    return this.#heard.get(broker)?.clock.windowOffsetNs ?? 0n;
  }

  /** Whether nothing is left of it: its lease ended, and no sign of life had come when that was written down. */
  isForgotten(broker: string): boolean {
    return this.#state.get(PREFIX + broker) === undefined;
  }

  /** All that are alive, by their names in order. */
  all(): readonly KnownBroker[] {
    const known = Array.from(this.#heard.values(), ({ known }) => known);
    return known.sort((a, b) => (a.broker < b.broker ? -1 : 1));
  }

  /**
   * Whether a broker lives, rather than that it left a lease. Resolves when it says something anew, or its lease is over.
   * @param broker one of `all()`
   */
  stillBeats(broker: string): Promise<boolean> {
    const before = this.#heard.get(broker)?.beat;
    return new Promise((resolve) => {
      const unlisten = this.listen(() => {
        const beat = this.#heard.get(broker)?.beat;
        if (beat === before) return;
        unlisten();
        resolve(beat !== undefined);
      });
    });
  }

  /**
   * Whether one more broker may begin. Resolves once it is certain: where there are too many, some may only have left a
   * lease.
   */
  async hasRoom(): Promise<boolean> {
    while (this.#heard.size >= CLUSTER_BROKERS_MAX) {
      const lives = await Promise.all(Array.from(this.#heard.keys(), (broker) => this.stillBeats(broker)));
      if (lives.every(Boolean)) return false;
    }
    return true;
  }

  /** Number of other brokers that take agents and subscribers. */
  others(): number {
    return this.all().filter(({ broker, retired }) => broker !== this.#own && !retired).length;
  }

  /** Calls `listener` whenever demand changes, a broker comes or one is gone. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Ends the leases of those that were not heard of. Call it every second: after a long pause this process stood still,
   * and has not read yet what came meanwhile. Returns the brokers whose leases ended.
   * @param isRead the state is being read: else silence says nothing, and every lease begins anew
   */
  expire(isRead: boolean): string[] {
    const nowMs = this.#now();
    const reads = isRead && nowMs - (this.#lookedMs ?? nowMs) < this.#leaseMs / STANDSTILLS_PER_LEASE;
    this.#lookedMs = nowMs;
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

  #changed({ key, value }: StateChange): void {
    const broker = key.slice(PREFIX.length);
    if (value === undefined) this.#heard.delete(broker);
    else if (this.#heard.has(broker) || this.#heard.size < EXCESS * CLUSTER_BROKERS_MAX) {
      const { beat, wallMs, ...signs } = schema.parse(value);
      const untilMs = this.#now() + this.#leaseMs;
      const clock = this.#heard.get(broker)?.clock ?? new PeerClock();
      if (wallMs !== undefined && this.#readsNow) clock.measured(msToNs(wallMs));
      this.#heard.set(broker, { known: { broker, ...signs }, beat, untilMs, clock });
    }
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
