/**
 * The ceiling over all nodes of a cluster, without an owner. Brokers say in their heartbeats what their nodes ask for. All
 * read these in one order, and each computes the same shares from the same heartbeats, but not at the same time. So a
 * broker takes what is less at once, and what is more only after one lease in which it would never have had less: while no
 * broker reads later than a lease, the shares that are in force then are at most those of one and the same state of
 * heartbeats, whose sum is the ceiling.
 */
import { maxMinShares } from '../../../flow/max-min.js';
import { BROKER_LEASE_MS, CLUSTER_BROKERS_MAX } from '../../../limits.js';

export interface BrokerDemand {
  readonly broker: string;
  /** Connected nodes. */
  readonly nodes: number;
  /** Bytes per second that they ask for, all together. */
  readonly bytesPerSecond: number;
}

/**
 * Bytes per second of a broker's nodes together: max-min fair between nodes, each of which counts as asking for the average
 * of its broker's. What nobody asks for is spread over the nodes.
 */
export function brokerShare(broker: string, demands: readonly BrokerDemand[], ceiling: number): number {
  const asking = demands.filter(({ nodes }) => nodes > 0);
  const shares = maxMinShares(
    asking.map(({ bytesPerSecond }) => bytesPerSecond),
    ceiling,
    asking.map(({ nodes }) => nodes),
  );
  return shares[asking.findIndex((each) => each.broker === broker)] ?? 0;
}

interface Computed {
  readonly fromMs: number;
  readonly share: number;
}

/** What one broker's nodes may have now. */
export class CeilingShare {
  /** What was computed within the last lease, and what was in force when it began. */
  #computed: Computed[] = [];
  /** When heartbeats were read last. */
  #readMs: number;
  /** An even share among the brokers that were known last. */
  #even: number;

  readonly #ceiling: number;
  readonly #leaseMs: number;

  /** A broker begins with next to nothing: others have the whole ceiling until they read of it. */
  constructor(ceiling: number, nowMs: number, leaseMs = BROKER_LEASE_MS) {
    this.#ceiling = ceiling;
    this.#leaseMs = leaseMs;
    this.#readMs = nowMs;
    this.#even = ceiling / CLUSTER_BROKERS_MAX;
    this.#computed.push({ fromMs: nowMs, share: 0 });
  }

  /** Call whenever heartbeats were read, or some have ended. `brokers`: how many are alive. */
  read(share: number, brokers: number, nowMs: number): void {
    this.#readMs = nowMs;
    this.#even = this.#ceiling / Math.max(1, brokers);
    if (this.#computed.at(-1)!.share !== share) this.#computed.push({ fromMs: nowMs, share });
    this.#forget(nowMs);
  }

  /** Bytes per second. Who has read nothing for a lease does not know of others' new demand, and takes an even share at most. */
  at(nowMs: number): number {
    this.#forget(nowMs);
    const least = Math.min(...this.#computed.map(({ share }) => share));
    return nowMs - this.#readMs > this.#leaseMs ? Math.min(least, this.#even) : least;
  }

  #forget(nowMs: number): void {
    const before = nowMs - this.#leaseMs;
    while (this.#computed.length > 1 && this.#computed[1]!.fromMs < before) this.#computed.shift();
  }
}
