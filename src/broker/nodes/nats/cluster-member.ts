/** One broker among those of its cluster: what all ask of nodes, which brokers are alive, and where nodes are. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { everySecond } from '../../../flow/long-timer.js';
import { BROKER_HEARTBEAT_MS, BROKER_LEAVE_MS, CLUSTER_BROKERS_MAX } from '../../../limits.js';
import type { Node } from '../../../wire/messages.js';
import { checkVersions } from '../../../wire/protocol.js';
import type { NatsState } from '../../cluster/nats/nats-state.js';
import { CommitRelay } from '../../groups/presence/commit-relay.js';
import { SharedPresence } from '../../groups/presence/shared-presence.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { NodeRegistry } from '../node-registry.js';
import type { NodeRoute } from '../node-route.js';
import { BrokerLeases, type KnownBroker } from './broker-leases.js';
import { brokerShare, CeilingShare } from './ceiling.js';
import { ClusterInterest } from './cluster-interest.js';
import { ClusterNodes } from './cluster-nodes.js';
import { ClusterRoute } from './cluster-route.js';
import { NodeLists } from './node-lists.js';
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
  /** Where they keep what nobody could tell again: who has which slices of groups. */
  readonly kept: Pick<NatsState, 'caughtUp'>;
  /** That all nodes of the cluster together may send live, a second; the same at each broker. Undefined: there is none. */
  readonly ceilingBytesPerSecond: number | undefined;
  readonly warn: (message: string) => void;
}

/** What a broker says of itself, and asks of its nodes. */
export interface MemberParts {
  /** host:port, as it listens. */
  readonly address: string;
  readonly version: string;
  /** Bytes per second that this broker's nodes ask for, all together, and how many they are. */
  readonly demand: () => { readonly nodes: number; readonly bytesPerSecond: number };
  /** This broker's share of the ceiling has become less: its nodes have to be told. */
  readonly onLess: () => void;
  /** Those of these nodes that are connected here, as they are listed. */
  readonly list: (names: readonly string[]) => readonly Node[];
}

export class ClusterMember {
  /** Bytes per second that this broker's nodes together may have now; undefined where there is no ceiling. */
  readonly share: (() => number) | undefined;
  readonly interest: ClusterInterest;
  /** Members of groups, and which broker has them. */
  readonly presence: SharedPresence;
  readonly #leases: BrokerLeases;
  #nodes: ClusterNodes | undefined;
  readonly #places: NodePlaces;
  readonly #lists: NodeLists;
  readonly #options: ClusterMemberOptions;
  readonly #ceiling: CeilingShare | undefined;
  #retired = false;
  #beat: () => Promise<void> = async () => undefined;
  #stopHeart: () => void = () => undefined;
  /** Called last to first. */
  readonly #ends: (() => void | Promise<void>)[] = [];

  constructor(options: ClusterMemberOptions) {
    this.#options = options;
    const { state, kept, broker, warn, ceilingBytesPerSecond } = options;
    const leases = new BrokerLeases(state, broker, undefined, undefined, () => kept.caughtUp());
    this.#leases = leases;
    const places = new NodePlaces(state);
    this.#places = places;
    this.#lists = new NodeLists({ connection: options.link.asking, cluster: options.cluster, broker, places });
    const relay = new CommitRelay({ connection: options.link.asking, cluster: options.cluster, broker });
    this.presence = new SharedPresence({ state, leases, broker, relay, onFailure: (cause) => this.#onFailure(cause) });
    const now = () => performance.now();
    this.interest = new ClusterInterest({ state, broker, alive: (name) => leases.alive(name), now, warn });
    const ceiling = ceilingBytesPerSecond === undefined ? undefined : new CeilingShare(ceilingBytesPerSecond, now());
    this.#ceiling = ceiling;
    this.share = ceiling && (() => ceiling.at(now()));
  }

  /** Number of other brokers that take agents and subscribers now. */
  get others(): number {
    return this.#leases.others();
  }

  /** How many nodes each of these has. */
  othersNodes(): readonly number[] {
    const { broker } = this.#options;
    return this.#leases.all().flatMap((known) => (known.broker === broker || known.retired ? [] : [known.nodes]));
  }

  /** How nodes are that are connected to other brokers, as far as these answer in time. */
  nodes(names: readonly string[]): Promise<ReadonlyMap<string, Node>> {
    return this.#lists.of(names);
  }

  /** Resolves when this broker has read all that the others have told until now. Rejects with unavailable. */
  caughtUp(): Promise<void> {
    return this.#options.state.caughtUp();
  }

  /** Has all brokers forget a node that none of them has. Rejects where that cannot be written. */
  async forget(node: string): Promise<void> {
    await this.#nodes?.forget(node);
  }

  /** All brokers that are alive, this one too, if it has begun. */
  brokers(): readonly KnownBroker[] {
    return this.#leases.all();
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
    const onFailure = this.#onFailure;
    const onRefusal = ({ message }: Error) => warn(`another broker: ${message}`);
    const connection = link.asking;
    const route = new ClusterRoute({ connection, cluster, local, places });
    const server = new RouteServer({ connection, cluster, registry, settled, onRefusal });
    const keeper = new PlaceKeeper({ registry, places, broker, onFailure });
    const nodes = new ClusterNodes({ state, broker, registry, interest: this.interest, places, leases, onFailure });
    this.#nodes = nodes;
    const endLooks = everySecond(() => this.#look());
    this.#ends.push(
      () => nodes.close(),
      () => keeper.close(),
      () => server.close(),
      () => route.close(),
      endLooks,
    );
    return route;
  }

  /**
   * Rejects with failed_precondition where a broker of the cluster is of a version that does not work with this one, and
   * resource_exhausted where there are as many as a cluster can have. One that was killed is known as long as its lease
   * lasts: until then this waits for a sign of life.
   */
  async fits(version: string): Promise<void> {
    for (const { broker, address, version: theirs } of this.#leases.all()) {
      try {
        checkVersions(`the broker at ${address} in this cluster`, theirs, version);
      } catch (cause) {
        const { message } = cause as Error;
        this.#options.warn(`${message}; waiting for a sign of life of it`);
        if (await this.#leases.stillBeats(broker)) throw cause;
      }
    }
    if (await this.#leases.hasRoom()) return;
    const { length } = this.#leases.all();
    const message = `cluster ${this.#options.cluster} has ${length} brokers and can have ${CLUSTER_BROKERS_MAX} at most`;
    throw new BackplaneError('resource_exhausted', `${message}: stop another one first`);
  }

  /** From now on the others know that this broker takes agents and subscribers. */
  begin({ address, version, demand, onLess, list }: MemberParts): void {
    this.#lists.serve(list);
    this.#beat = () => this.#leases.beat({ ...demand(), address, version, retired: this.#retired });
    let beats = false;
    const beat = async () => {
      // While NATS is away one tries for longer than the next takes to come: they would line up.
      if (beats) return;
      beats = true;
      await this.#beat().catch(this.#onFailure);
      beats = false;
    };
    const heart = setInterval(beat, BROKER_HEARTBEAT_MS).unref();
    this.#stopHeart = () => clearInterval(heart);
    const unlisten = this.#leases.listen(() => this.#deal(onLess));
    this.#ends.push(() => this.#lists.close(), unlisten, this.#stopHeart);
    void beat();
  }

  /** Says that this broker takes nobody any more; what it has goes on until it leaves. */
  retire(): void {
    this.#retired = true;
    this.#beat().catch(this.#onFailure);
  }

  /** Says that this broker ends, so that the others need not wait for its lease to be over, if NATS is there. Resolves in any case. */
  async leave(): Promise<void> {
    this.#stopHeart();
    if (this.trouble !== undefined) return;
    const left = this.#leases.leave().catch(this.#onFailure);
    await Promise.race([left, sleep(BROKER_LEAVE_MS, undefined, { ref: false })]);
  }

  get name(): string {
    return this.#options.broker;
  }

  /** Why nothing of NATS is read, in a sentence; undefined while it is. */
  get trouble(): string | undefined {
    const { link, state } = this.#options;
    return link.connected ? state.trouble : 'there is no connection to NATS: nothing is acknowledged';
  }

  async close(): Promise<void> {
    this.presence.close();
    for (const end of this.#ends.reverse()) await end();
  }

  readonly #onFailure = (cause: unknown): void => {
    this.#options.warn(`not told to the other brokers: ${(cause as Error).message ?? cause}`);
  };

  /** Signs of life were read, or some are over. */
  #deal(onLess: () => void): void {
    const { broker, ceilingBytesPerSecond: ceiling } = this.#options;
    if (ceiling === undefined || this.#ceiling === undefined) return;
    const nowMs = performance.now();
    const before = this.#ceiling.at(nowMs);
    const known = this.#leases.all();
    this.#ceiling.read(brokerShare(broker, known, ceiling), known.length, nowMs);
    if (this.#ceiling.at(nowMs) < before) onLess();
  }

  #look(): void {
    const { state } = this.#options;
    const gone = this.#leases.expire(state.trouble === undefined && state.isCurrent);
    if (gone.length > 0) void this.#leases.forget(gone);
  }
}
