/** One broker among those of its cluster: what all ask of nodes, which brokers are alive, and where nodes are. */
import { everySecond } from '../../../flow/long-timer.js';
import { BROKER_HEARTBEAT_MS } from '../../../limits.js';
import type { NatsState } from '../../cluster/nats/nats-state.js';
import { CommitRelay } from '../../groups/presence/commit-relay.js';
import { SharedPresence } from '../../groups/presence/shared-presence.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { NodeRegistry } from '../node-registry.js';
import type { NodeRoute } from '../node-route.js';
import { BrokerLeases } from './broker-leases.js';
import { ClusterInterest } from './cluster-interest.js';
import { ClusterNodes } from './cluster-nodes.js';
import { ClusterRoute } from './cluster-route.js';
import { NodePlaces } from './node-places.js';
import { PlaceKeeper } from './place-keeper.js';
import { RouteServer } from './route-server.js';

export interface ClusterMemberOptions {
  readonly link: NatsLink;
  readonly cluster: string;
  /** This broker's name. */
  readonly broker: string;
  /** What the brokers share. */
  readonly state: NatsState;
  readonly warn: (message: string) => void;
}

export class ClusterMember {
  readonly interest: ClusterInterest;
  /** Members of groups, and which broker has them. */
  readonly presence: SharedPresence;
  readonly #leases: BrokerLeases;
  readonly #places: NodePlaces;
  readonly #options: ClusterMemberOptions;
  /** Called last to first. */
  readonly #ends: (() => void | Promise<void>)[] = [];

  constructor(options: ClusterMemberOptions) {
    this.#options = options;
    const { state, broker, warn } = options;
    const leases = new BrokerLeases(state, broker);
    this.#leases = leases;
    this.#places = new NodePlaces(state);
    const onFailure = (cause: unknown) => warn(`not told to the other brokers: ${(cause as Error).message ?? cause}`);
    const relay = new CommitRelay({ connection: options.link.asking, cluster: options.cluster, broker });
    this.presence = new SharedPresence({ state, leases, broker, relay, onFailure });
    const now = () => performance.now();
    this.interest = new ClusterInterest({ state, broker, alive: (name) => leases.alive(name), now, warn });
  }

  /**
   * Takes part with the nodes of this broker. Returns the route to those of all.
   * @param local to the nodes that are connected here
   * @param settled resolves when the log has all frames of a node that came before its session ended
   */
  join(registry: NodeRegistry, local: NodeRoute, settled: (node: string) => Promise<void>): NodeRoute {
    const { link, cluster, broker, state, warn } = this.#options;
    const places = this.#places;
    const leases = this.#leases;
    const onFailure = (cause: unknown) => warn(`not told to the other brokers: ${(cause as Error).message ?? cause}`);
    const onRefusal = ({ message }: Error) => warn(`another broker: ${message}`);
    const connection = link.asking;
    const route = new ClusterRoute({ connection, cluster, local, places });
    const server = new RouteServer({ connection, cluster, registry, settled, onRefusal });
    const keeper = new PlaceKeeper({ registry, places, broker, onFailure });
    const nodes = new ClusterNodes({ state, broker, registry, interest: this.interest, places, leases, onFailure });
    const beat = () => {
      const own = [...registry.all()].filter(({ isHere }) => isHere);
      const asked = own.reduce((sum, { report }) => sum + Number(report?.liveDemandBytesPerSecond ?? 0), 0);
      leases.beat(own.length, asked).catch(onFailure);
    };
    const heart = setInterval(beat, BROKER_HEARTBEAT_MS).unref();
    beat();
    const endLooks = everySecond(() => this.#look());
    this.#ends.push(
      () => nodes.close(),
      () => keeper.close(),
      () => server.close(),
      () => route.close(),
      () => clearInterval(heart),
      endLooks,
    );
    return route;
  }

  /** Why what brokers share is not read, in a sentence. */
  get trouble(): string | undefined {
    return this.#options.state.trouble;
  }

  async close(): Promise<void> {
    this.presence.close();
    for (const end of this.#ends.reverse()) await end();
  }

  #look(): void {
    const gone = this.#leases.expire(this.#options.state.trouble === undefined);
    if (gone.length > 0) void this.#leases.forget(gone);
  }
}
