/** Listings and status of the broker, the same for gRPC and HTTP. */

import { msToNs } from '../../nanoseconds.js';
import type { Selector } from '../../subscriptions/request/selectors.js';
import { publicText } from '../../text/public-text.js';
import { DOCUMENT_TOPICS, documentLogOf } from '../../wire/event/document-topics.js';
import { TOPICS } from '../../wire/event/event.js';
import {
  type GetStatusResponse,
  type ListNodesResponse,
  type ListSubscriptionsResponse,
  type ListTopicsResponse,
  type Node,
  nsToTimestamp,
  type Topic,
} from '../../wire/messages.js';
import type { Grant } from '../access/authorize.js';
import type { Caller } from '../access/gate.js';
import { ledgerMessage } from '../delivery/selectors/ledger.js';
import type { Subscription } from '../delivery/subscription.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import type { Ingest } from '../ingest/ingest.js';
import type { DocumentLogs } from '../log/documents/document-logs.js';
import type { LogStore } from '../log/log-store.js';
import type { NodeBudgets } from '../nodes/node-budgets.js';
import type { NodeRecord } from '../nodes/node-record.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { onePage, type Page } from './page.js';

export interface BrokerFacts {
  readonly version: string;
  readonly startedMs: number;
  readonly dataDir: string;
  grpcListen: string;
  httpListen: string;
  /** What an operator must see to about the broker's certificate, in a sentence; undefined when all is well. */
  readonly tlsTrouble: () => string | undefined;
  /** Of a broker on NATS. */
  readonly cluster: ClusterFacts | undefined;
}

interface ClusterFacts {
  readonly status: () => ClusterStatus;
  /** How nodes are that other brokers have, as far as these answer. */
  readonly nodes: (names: readonly string[]) => Promise<ReadonlyMap<string, Node>>;
}

export type ClusterStatus = Required<Pick<GetStatusResponse, 'cluster' | 'durability' | 'brokers'>>;

export class Listings {
  readonly #facts: BrokerFacts;
  readonly #registry: NodeRegistry;
  readonly #budgets: NodeBudgets;
  readonly #subscriptions: Subscriptions;
  readonly #ingest: Ingest;
  readonly #store: LogStore;
  readonly #documents: DocumentLogs;
  /** Why the broker cannot keep what it receives, in a sentence; undefined when it can. */
  readonly #trouble: () => string | undefined;
  readonly #deliveredEvents: () => number;

  constructor(
    facts: BrokerFacts,
    registry: NodeRegistry,
    budgets: NodeBudgets,
    subscriptions: Subscriptions,
    ingest: Ingest,
    store: LogStore,
    documents: DocumentLogs,
    trouble: () => string | undefined,
    deliveredEvents: () => number,
  ) {
    this.#facts = facts;
    this.#registry = registry;
    this.#budgets = budgets;
    this.#subscriptions = subscriptions;
    this.#ingest = ingest;
    this.#store = store;
    this.#documents = documents;
    this.#trouble = trouble;
    this.#deliveredEvents = deliveredEvents;
  }

  /** Of the nodes of all brokers. */
  async nodes({ node: may }: Grant, page: Page<string>): Promise<ListNodesResponse> {
    const seen = [...this.#registry.all()].filter(({ name }) => may(name));
    const inOrder = seen.sort((a, b) => (a.name < b.name ? -1 : 1));
    const { items, nextPageToken } = onePage(inOrder, page, ({ name }) => name, nodeTextBytes);
    const away = items.filter(({ isElsewhere }) => isElsewhere).map(({ name }) => name);
    const elsewhere = away.length === 0 ? undefined : await this.#facts.cluster?.nodes(away);
    const nodes = items.map((record) => elsewhere?.get(record.name) ?? this.#listed(record));
    return { nodes, nextPageToken };
  }

  /** Those of the nodes that are connected here. */
  nodesHere(names: readonly string[]): Node[] {
    const records = names.flatMap((name) => this.#registry.record(name) ?? []);
    return records.filter(({ isHere }) => isHere).map((record) => this.#listed(record));
  }

  #listed(record: NodeRecord): Node {
    return { ...nodeOf(record), budget: this.#budgets.budget(record) };
  }

  topics({ topic: may }: Grant): ListTopicsResponse {
    const seen = Object.entries(TOPICS).filter(([name]) => may(name));
    const topics = seen.map(([name, { description, types }]) => ({
      name,
      frames: this.#ingest.byTopic.get(name)?.frames ?? 0,
      events: this.#ingest.byTopic.get(name)?.events ?? 0,
      logBytes: this.#ingest.byTopic.get(name)?.bytes ?? 0,
      subscriptions: [...this.#subscriptions.all()].filter(({ checked }) => checked.topics.includes(name)).length,
      description,
      eventTypes: [...types],
    }));
    return { topics: [...topics, ...this.#documentTopics(may)] };
  }

  /** One row for each log: topics of applications are whatever they name them. */
  #documentTopics(may: Grant['topic']): Topic[] {
    const granted = Object.entries(DOCUMENT_TOPICS).filter(([name]) => may(name));
    return granted.map(([name, description]) => {
      const log = this.#documents.of(documentLogOf(name)!);
      const asks = ({ checked: { documents } }: Subscription) => {
        return documents?.topics.some((topic) => documentLogOf(topic) === log.name) ?? false;
      };
      return {
        name,
        frames: log.stored.batches,
        events: log.stored.events,
        logBytes: log.bytes,
        subscriptions: [...this.#subscriptions.all()].filter(asks).length,
        description,
        eventTypes: [],
      };
    });
  }

  /**
   * All of them for who may see all nodes and topics, but those to documents that are not granted by their names; for
   * others their own: filters say what somebody looks for.
   */
  subscriptionList(grant: Grant, caller: Caller, page: Page<number>): ListSubscriptionsResponse {
    const { items, nextPageToken } = onePage(
      this.#seenBy(grant, caller),
      page,
      ({ number }) => number,
      (each) => textBytes(each) + Buffer.byteLength(this.#subscriptions.callerOf(each)?.identity.name ?? ''),
    );
    const subscriptions = items.map((subscription) => {
      const { id, checked, selectors, startedMs, outlet, lag, phase } = subscription;
      const { ledger } = outlet;
      const caller = this.#subscriptions.callerOf(subscription);
      return {
        id,
        client: checked.client,
        peer: caller?.peer ?? '',
        identity: caller?.identity.name ?? '',
        filter: selectors.named ? '' : selectors.predicates[0]!.canonical,
        topics: [...checked.topics, ...(checked.documents?.topics ?? [])],
        started: msToTimestamp(startedMs),
        eventsDelivered: ledger.events,
        bytesDelivered: outlet.bytes,
        eventsShed: ledger.shed,
        eventsSkipped: ledger.skipped,
        eventsThrottled: ledger.throttled,
        eventsRefilled: ledger.refilled,
        eventsMatched: ledger.events + ledger.throttled + ledger.shed + ledger.skipped,
        lagFrames: lag,
        phase,
        selectors: selectors.named ? checked.selectors.map(selectorOf) : [],
        selectorLedgers: ledgerMessage(outlet, selectors).selectors,
      };
    });
    return { subscriptions, nextPageToken };
  }

  *#seenBy({ whole, topic: may }: Grant, { identity }: Caller): Generator<Subscription> {
    for (const each of this.#subscriptions.all()) {
      const owner = this.#subscriptions.callerOf(each)?.identity;
      const { topics = [] } = each.checked.documents ?? {};
      const isOwn = owner?.kind === identity.kind && owner.name === identity.name;
      if (isOwn || (whole && topics.every(may))) yield each;
    }
  }

  /** Where the broker keeps its data is told only to who manages it. */
  status({ node: may }: Grant, manages: boolean): GetStatusResponse {
    const facts = this.#facts;
    const ingest = this.#ingest;
    const trouble = this.#trouble() ?? '';
    const cluster = facts.cluster?.status();
    // What all know of this broker is some seconds old, and who retires it waits for the last to go.
    const nodes = this.#registry.connectedCount;
    const brokers = cluster?.brokers?.map((broker) => (broker.own ? { ...broker, nodes } : broker)) ?? [];
    return {
      version: facts.version,
      started: msToTimestamp(facts.startedMs),
      nodes: this.#registry.connected(may).length,
      subscriptions: this.#subscriptions.size,
      logBytes: this.#store.bytes + this.#documents.bytes,
      framesIngested: ingest.totals.frames,
      eventsIngested: ingest.totals.events,
      eventsDelivered: this.#deliveredEvents(),
      dataDir: manages ? facts.dataDir : '',
      grpcListen: facts.grpcListen,
      httpListen: facts.httpListen,
      logTrouble: manages ? trouble : publicText(trouble),
      tlsTrouble: facts.tlsTrouble() ?? '',
      ...(cluster && { ...cluster, brokers }),
    };
  }
}

/** Of what may be long in a subscription's entry, whose identity is not among it. */
function textBytes({ checked: { selectors, client } }: Subscription): number {
  let bytes = Buffer.byteLength(client);
  for (const { id, predicate } of selectors) {
    const { topics, filter, fields } = predicate.spec;
    bytes += id.length + Buffer.byteLength(filter) + topics.join().length + fields.join().length;
  }
  return bytes;
}

function selectorOf({ id, predicate }: Selector) {
  const { topics, filter, fields } = predicate.spec;
  return { id, topics: [...topics, ...(predicate.documents?.topics ?? [])], filter, fields: [...fields] };
}

/** Of what a node says of itself, and may be long. */
function nodeTextBytes({ name, hello, report, degraded }: NodeRecord): number {
  const said = [
    name,
    hello?.version,
    hello?.kernelRelease,
    report?.source || hello?.source,
    report?.argumentsBy,
    degraded,
  ];
  const blind = Object.entries(report?.blindSpots ?? {}).flat();
  const labels = hello?.labels ?? [];
  return [...said, ...blind, ...labels].reduce((bytes, text) => bytes + Buffer.byteLength(text ?? ''), 0);
}

function nodeOf(record: NodeRecord): Node {
  const { name, hello, report, connection, degraded } = record;
  const state = !connection ? 'NODE_STATE_GONE' : degraded ? 'NODE_STATE_DEGRADED' : 'NODE_STATE_CONNECTED';
  return {
    name,
    state,
    version: hello?.version ?? '',
    kernelRelease: hello?.kernelRelease ?? '',
    source: report?.source || (hello?.source ?? ''),
    epoch: record.epoch,
    lastSeen: msToTimestamp(record.lastSeenMs),
    connectedSince: connection ? msToTimestamp(connection.sinceMs) : null,
    clockOffsetNs: record.clock.offsetNs.toString(),
    recordedFrom: report?.recordedFrom ?? null,
    recordedBytes: report?.recordedBytes ?? 0,
    eventsRecorded: report?.eventsRecorded ?? 0,
    eventsLost: report?.eventsLost ?? 0,
    eventsMatched: report?.eventsMatched ?? 0,
    eventsShed: report?.eventsShed ?? 0,
    uplinkBytes: record.uplinkBytes,
    degraded,
    argumentsBy: report?.argumentsBy ?? '',
    blindSpots: report?.blindSpots ?? {},
    cpuRatio: report?.cpuRatio ?? 0,
    residentBytes: report?.residentBytes ?? 0,
    counted: report?.wallTime ?? null,
    labels: hello?.labels ?? [],
  };
}

function msToTimestamp(ms: number): { seconds: string; nanos: number } {
  return nsToTimestamp(msToNs(ms));
}
