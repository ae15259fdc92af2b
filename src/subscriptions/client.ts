/**
 * A client of the Backplane service: unary calls with deadlines, and
 * subscriptions that outlive a broker. A lost stream is resumed by its cursor,
 * at each broker in turn, so that what is iterated is what one unbroken stream
 * would have held; the breaks show as `link` items.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';
import { BackplaneError, type ErrorCode } from '../errors.js';
import { CLIENT_ANSWER_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN } from '../limits.js';
import { resumeRequest } from './resume.js';
import {
  type Accepted,
  type BackplaneClient,
  type Coverage,
  type EventBatch,
  type ExplainResponse,
  type Gap,
  type GetStatusResponse,
  type ListNodesResponse,
  type ListSubscriptionsResponse,
  type ListTopicsResponse,
  type NodeStatus,
  openService,
  type SubscribeRequest,
  type SubscribeResponse,
  type Watermark,
} from './service.js';

export type SubscribeItem =
  | { readonly kind: 'accepted'; readonly accepted: Accepted }
  | { readonly kind: 'events'; readonly batch: EventBatch }
  | { readonly kind: 'gap'; readonly gap: Gap }
  | { readonly kind: 'node_status'; readonly nodeStatus: NodeStatus }
  | { readonly kind: 'watermark'; readonly watermark: Watermark }
  | { readonly kind: 'coverage'; readonly coverage: Coverage }
  /** The stream broke and is being resumed, or is there again (cause undefined). */
  | { readonly kind: 'link'; readonly broker: string; readonly cause: BackplaneError | undefined };

type Unary<Response> = (
  argument: object,
  options: { deadline: number },
  callback: (error: ServiceError | null, response?: Response) => void,
) => unknown;

export class Client {
  readonly #brokers: readonly string[];
  readonly #services = new Map<string, BackplaneClient>();
  /** Index of the broker that answered last: the first to be asked. */
  #current = 0;

  /** Brokers as host:port, asked in turn. Nothing is connected before the first call. */
  constructor(brokers: readonly string[]) {
    this.#brokers = brokers;
  }

  /** @throws BackplaneError filter_invalid or invalid_argument; unavailable when no broker answers. */
  explain(subscription: SubscribeRequest): Promise<ExplainResponse> {
    return this.#ask((service) => service.explain.bind(service) as Unary<ExplainResponse>, { subscription });
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listNodes(): Promise<ListNodesResponse> {
    return this.#ask((service) => service.listNodes.bind(service) as Unary<ListNodesResponse>, {});
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listTopics(): Promise<ListTopicsResponse> {
    return this.#ask((service) => service.listTopics.bind(service) as Unary<ListTopicsResponse>, {});
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listSubscriptions(): Promise<ListSubscriptionsResponse> {
    return this.#ask((service) => service.listSubscriptions.bind(service) as Unary<ListSubscriptionsResponse>, {});
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  getStatus(): Promise<GetStatusResponse> {
    return this.#ask((service) => service.getStatus.bind(service) as Unary<GetStatusResponse>, {});
  }

  /**
   * Iterates the subscription. Ends when the broker ends it or the signal is
   * aborted; a consumer that stops reading stops the broker from sending.
   *
   * @throws BackplaneError what the broker refused, or unavailable when at the start no broker answers; once
   * accepted, a lost broker is tried again until the signal is aborted.
   */
  async *subscribe(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem, void, undefined> {
    let state: StreamState = { request, accepted: false, finished: false };
    for (let attempt = 0; !signal.aborted; attempt++) {
      const broker = this.#broker(attempt);
      let cause: BackplaneError;
      try {
        const recovered = state.accepted && attempt > 0;
        for await (const item of this.#stream(broker, state.request, signal)) {
          if (item.kind === 'accepted') {
            if (recovered) yield { kind: 'link', broker, cause: undefined };
            attempt = this.#brokerAnswered(broker);
          }
          yield item;
          state = advance(state, item);
        }
        if (signal.aborted || ends(state)) return;
        cause = new BackplaneError('unavailable', 'the broker ended the stream');
      } catch (thrown) {
        if (signal.aborted) return;
        cause = asClientError(thrown, broker);
        if (cause.code !== 'unavailable') throw cause;
      }
      if (!state.accepted && attempt + 1 >= this.#brokers.length) throw this.#noBroker(cause);
      if (state.accepted) {
        yield { kind: 'link', broker, cause };
        await this.#backOff(attempt, signal);
      }
    }
  }

  close(): void {
    for (const service of this.#services.values()) service.close();
    this.#services.clear();
  }
}
