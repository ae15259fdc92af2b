/** What `backplane top` shows: counters of two moments made into rates. */
import type {
  GetStatusResponse__Output,
  ListNodesResponse__Output,
  ListSubscriptionsResponse__Output,
} from '../../wire/messages.js';

/** What a broker answered at one moment. */
export interface Sample {
  /** By a clock that never goes back. */
  readonly atMs: number;
  readonly status: GetStatusResponse__Output;
  readonly nodes: ListNodesResponse__Output['nodes'];
  /** None where nobody looks at them: there may be thousands. */
  readonly subscriptions: ListSubscriptionsResponse__Output['subscriptions'];
}

/** Per second; undefined where it is not known: at the first look, and after whoever counts has started anew. */
export type Rate = number | undefined;

export interface NodeRates {
  readonly node: string;
  readonly state: string;
  readonly recorded: Rate;
  readonly matched: Rate;
  readonly shed: Rate;
  readonly lost: Rate;
  readonly sentBytes: Rate;
  /** The share of its live budget in bytes that it uses; undefined where it has none. */
  readonly budgetUsed: Rate;
  /** 1 is a core. */
  readonly cpu: number;
  readonly residentBytes: number;
}

export interface SubscriptionRates {
  readonly id: string;
  readonly client: string;
  readonly identity: string;
  readonly phase: string;
  readonly events: Rate;
  readonly sentBytes: Rate;
  readonly shed: Rate;
  readonly skipped: Rate;
  readonly lagFrames: number;
  readonly filter: string;
}

export interface BrokerRates {
  readonly version: string;
  readonly nodesConnected: number;
  readonly subscriptions: number;
  readonly ingested: Rate;
  readonly delivered: Rate;
  readonly logBytes: number;
  readonly trouble: string;
}

export interface Rates {
  readonly broker: BrokerRates;
  readonly nodes: readonly NodeRates[];
  readonly subscriptions: readonly SubscriptionRates[];
}

type Node = Sample['nodes'][number];
type Counters<Item> = { readonly [K in keyof Item as Item[K] extends string ? K : never]: Item[K] };

/** Makes each sample into rates since earlier ones. Keeps two looks at each node that is listed. */
export class RateMeter {
  #before: Sample | undefined;
  /** By name: as nodes counted last, and before that, because they count less often than one looks. */
  #counts = new Map<string, { readonly now: Node; readonly before: Node | undefined }>();

  /** Undefined for the first sample. */
  take(now: Sample): Rates | undefined {
    const before = this.#before;
    this.#before = now;
    this.#counts = new Map(
      now.nodes.map((node) => {
        const known = this.#counts.get(node.name);
        const again = known !== undefined && countedMs(known.now) === countedMs(node);
        return [node.name, again ? { now: node, before: known.before } : { now: node, before: known?.now }];
      }),
    );
    return before && this.#rates(now, before);
  }

  #rates(now: Sample, before: Sample): Rates {
    const seconds = (now.atMs - before.atMs) / 1000;
    const nodesBefore = new Map(before.nodes.map((node) => [node.name, node]));
    const subscriptionsBefore = new Map(before.subscriptions.map((each) => [each.id, each]));
    // A broker that has started anew counts from nothing.
    const same = before.status.started?.seconds === now.status.started?.seconds;
    const total = perSecond(now.status, same ? before.status : undefined, seconds);
    return {
      broker: {
        version: now.status.version,
        nodesConnected: now.status.nodes,
        subscriptions: now.status.subscriptions,
        ingested: total('eventsIngested'),
        delivered: total('eventsDelivered'),
        logBytes: Number(now.status.logBytes),
        trouble: now.status.logTrouble,
      },
      nodes: now.nodes.map((node) => this.#node(node, perSecond(node, nodesBefore.get(node.name), seconds))),
      subscriptions: now.subscriptions.map((each) => {
        const rate = perSecond(each, subscriptionsBefore.get(each.id), seconds);
        return {
          id: each.id,
          client: each.client,
          identity: each.identity,
          phase: each.phase,
          events: rate('eventsDelivered'),
          sentBytes: rate('bytesDelivered'),
          shed: rate('eventsShed'),
          skipped: rate('eventsSkipped'),
          lagFrames: Number(each.lagFrames),
          filter: each.filter,
        };
      }),
    };
  }

  /** @param seen rates of what the broker counts */
  #node(node: Node, seen: (counter: keyof Counters<Node>) => Rate): NodeRates {
    const before = this.#counts.get(node.name)?.before;
    const seconds = before === undefined ? 0 : (countedMs(node) - countedMs(before)) / 1000;
    const counted = perSecond(node, before, seconds);
    const sentBytes = seen('uplinkBytes');
    const bound = Number(node.budget?.liveBytesPerSecond ?? 0);
    return {
      node: node.name,
      state: node.state.replace('NODE_STATE_', '').toLowerCase(),
      recorded: counted('eventsRecorded'),
      matched: counted('eventsMatched'),
      shed: counted('eventsShed'),
      lost: counted('eventsLost'),
      sentBytes,
      budgetUsed: sentBytes === undefined || bound === 0 ? undefined : sentBytes / bound,
      cpu: node.cpuRatio,
      residentBytes: Number(node.residentBytes),
    };
  }
}

function countedMs({ counted }: Node): number {
  return counted === null ? 0 : Number(counted.seconds) * 1000 + counted.nanos / 1e6;
}

function perSecond<Item extends object>(now: Item, before: Item | undefined, seconds: number) {
  return (counter: keyof Counters<Item>): Rate => {
    if (before === undefined || seconds <= 0) return undefined;
    const grown = Number(now[counter]) - Number(before[counter]);
    return grown < 0 ? undefined : grown / seconds;
  };
}
