/** What a program can do with a bus, whatever carries it. Runs in browsers. */
/// <reference lib="esnext.disposable" preserve="true" />
import {
  type ExplainResponse,
  explainResponseOf,
  type GetStatusResponse,
  getStatusResponseOf,
  type JsonValue,
  type ListNodesResponse,
  type ListSubscriptionsResponse,
  type ListTopicsResponse,
  listNodesResponseOf,
  listSubscriptionsResponseOf,
  listTopicsResponseOf,
} from '../../wire/typed/messages.js';
import { allPages } from '../all-pages.js';
import { checkOpen } from './closable.js';
import { type Feed, ResumingFeed } from './feed.js';
import { CarriedGroup, type Group, type GroupCarrier, type GroupOptions } from './group.js';
import { requestOf, type Subscription } from './items.js';
import { type Draft, type PublishAttributes, type Published, Publishing, type SendBatch } from './publishing.js';

/** What can be asked besides streams, by the operations of the HTTP API. */
export type Question = 'explain' | 'listNodes' | 'listTopics' | 'listSubscriptions' | 'getStatus';

/** How brokers are reached. */
export interface Carrier extends GroupCarrier {
  readonly publish: SendBatch;
  /** The answer as protojson; of lists a page or all of them. Throws BackplaneError. */
  ask(question: Question, body?: object): Promise<unknown>;
  close(): void;
}

/** A connection to the brokers of one bus. Its methods throw BackplaneError: once it is closed `failed_precondition`. */
export interface Bus extends AsyncDisposable {
  /** Events that match, from the past, live, or both. Nothing is asked before the feed is read. */
  subscribe(subscription?: Subscription): Feed;
  /** Members of a group share a subscription's nodes. Nothing is asked before a member's batches are read. */
  group(name: string, options?: GroupOptions): Group;
  /**
   * Publishes one event. Resolves when it is on the broker's disk; over the publisher's rates it waits.
   * @param topic `app.NAME`, or `alert`
   */
  publish(topic: string, body: JsonValue, attributes?: PublishAttributes): Promise<Published>;
  /** Publishes at most 1,000 events, 1 MiB in all, together: all of them or none. */
  publishAll(topic: string, events: readonly Draft[]): Promise<Published>;
  /** What a subscription would do, and where each part of its filter runs, without starting it. */
  explain(subscription: Subscription): Promise<ExplainResponse>;
  nodes(): Promise<ListNodesResponse['nodes']>;
  topics(): Promise<ListTopicsResponse['topics']>;
  subscriptions(): Promise<ListSubscriptionsResponse['subscriptions']>;
  status(): Promise<GetStatusResponse>;
  /** Ends all feeds and connections; what `await using` calls. */
  close(): Promise<void>;
}

export class CarriedBus implements Bus {
  readonly #carrier: Carrier;
  readonly #closing = new AbortController();
  readonly #publishing: Publishing;

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
    this.#publishing = new Publishing(carrier.publish, this.#closing.signal);
  }

  subscribe(subscription: Subscription = {}): Feed {
    const request = requestOf(subscription);
    const open = (signal: AbortSignal) => this.#carrier.stream(request, signal);
    return new ResumingFeed(open, request.cursor ?? '', subscription.signal, this.#closing.signal);
  }

  group(name: string, options: GroupOptions = {}): Group {
    return new CarriedGroup(name, options, this.#carrier, this.#closing.signal, requestOf);
  }

  publish(topic: string, body: JsonValue, attributes: PublishAttributes = {}): Promise<Published> {
    return this.#publishing.publish(topic, [{ ...attributes, body }]);
  }

  publishAll(topic: string, events: readonly Draft[]): Promise<Published> {
    return this.#publishing.publish(topic, events);
  }

  async explain(subscription: Subscription): Promise<ExplainResponse> {
    return explainResponseOf(await this.#ask('explain', { subscription: requestOf(subscription) }));
  }

  nodes(): Promise<ListNodesResponse['nodes']> {
    return allPages(async (pageToken) => {
      const page = listNodesResponseOf(await this.#ask('listNodes', { pageToken }));
      return { items: page.nodes, nextPageToken: page.nextPageToken };
    });
  }

  async topics(): Promise<ListTopicsResponse['topics']> {
    return listTopicsResponseOf(await this.#ask('listTopics')).topics;
  }

  subscriptions(): Promise<ListSubscriptionsResponse['subscriptions']> {
    return allPages(async (pageToken) => {
      const page = listSubscriptionsResponseOf(await this.#ask('listSubscriptions', { pageToken }));
      return { items: page.subscriptions, nextPageToken: page.nextPageToken };
    });
  }

  async status(): Promise<GetStatusResponse> {
    return getStatusResponseOf(await this.#ask('getStatus'));
  }

  async #ask(question: Question, body?: object): Promise<unknown> {
    checkOpen(this.#closing.signal);
    return this.#carrier.ask(question, body);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#carrier.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
