/** The HTTP API by fetch. Runs in browsers. */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { BrokerRing } from '../../flow/reconnect.js';
import { CLIENT_ANSWER_MS } from '../../limits/client.js';
import { withWideTexts } from '../../wire/typed/json-values.js';
import type { SubscribeRequest } from '../../wire/typed/messages.js';
import { PublishRetries } from '../publish-retries.js';
import { askInTurn, pause, resumingStream, type StreamSource } from '../resuming-stream.js';
import type { Carrier, Question } from './bus.js';
import type { SliceCommit } from './group.js';
import type { ConnectOptions } from './http.js';
import { type BatchItem, batchFacts } from './items.js';
import { readItems } from './lines.js';
import { type Problem, problemError } from './problem.js';
import type { SendBatch } from './publishing.js';

const ROUTES: Readonly<Record<Question, string>> = {
  explain: 'POST /v1/explain',
  listNodes: 'GET /v1/nodes',
  listTopics: 'GET /v1/topics',
  listSubscriptions: 'GET /v1/subscriptions',
  getStatus: 'GET /v1/status',
};

export class HttpCarrier implements Carrier {
  readonly #ring: BrokerRing;
  readonly #options: ConnectOptions;
  readonly #closing = new AbortController();
  readonly #retries: PublishRetries;
  readonly #source: StreamSource<SubscribeRequest, BatchItem> = {
    open: (broker, request, signal) => this.#stream(broker, request, signal),
    facts: batchFacts,
    failure: (_broker, thrown) => asBackplaneError(thrown),
    lost: () => {},
    link: (broker, cause) => ({ kind: 'link', broker, cause }),
    nobody: (brokers, { message }) => new BackplaneError('unavailable', `${brokers.join(', ')}: ${message}`),
  };

  constructor(options: ConnectOptions) {
    this.#ring = new BrokerRing(options.brokers, options.zone);
    this.#options = options;
    // Each try asks all brokers in turn.
    this.#retries = new PublishRetries(this.#ring, 1);
  }

  stream(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<BatchItem, void, undefined> {
    return resumingStream(this.#source, this.#ring, request, signal);
  }

  readonly publish: SendBatch = async (topic, events, signal) => {
    const delayMs = this.#retries.batch();
    for (;;) {
      try {
        const answer = await this.#answer('POST', `/v1/app/${encodeURIComponent(topic)}`, { events });
        this.#retries.answered();
        return answer;
      } catch (thrown) {
        const waitMs = delayMs(asBackplaneError(thrown));
        if (waitMs === undefined) throw thrown;
        await pause(waitMs, signal);
        if (signal.aborted) throw new BackplaneError('cancelled', 'the bus was closed');
      }
    }
  };

  ask(question: Question, body?: object): Promise<unknown> {
    const [method = '', path = ''] = ROUTES[question].split(' ');
    if (question !== 'listSubscriptions' && question !== 'listNodes') return this.#answer(method, path, body);
    const { pageToken = '' } = body as { readonly pageToken?: string };
    return this.#answer(method, `${path}?page_token=${encodeURIComponent(pageToken)}`, undefined);
  }

  async commit(group: string, slices: readonly SliceCommit[]): Promise<void> {
    await this.#answer('POST', `/v1/groups/${encodeURIComponent(group)}/commit`, { slices });
  }

  #answer(method: string, path: string, body: object | undefined): Promise<unknown> {
    return askInTurn(this.#source, this.#ring, async (broker) => {
      const asking = new Deadline(this.#closing.signal);
      try {
        const response = await this.#request(broker, method, path, body, asking.signal);
        return await response.json().catch(unavailable);
      } catch (thrown) {
        if (this.#closing.signal.aborted) throw new BackplaneError('cancelled', 'the bus was closed');
        throw asking.reason(thrown);
      } finally {
        asking.end();
      }
    });
  }

  close(): void {
    this.#closing.abort();
  }

  /** One stream at one broker, until it ends or fails. */
  async *#stream(broker: string, request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<BatchItem> {
    const asking = new Deadline(signal);
    try {
      const response = await this.#request(broker, 'POST', '/v1/events', request, asking.signal);
      for await (const item of readItems(response)) {
        asking.met();
        yield item;
      }
    } catch (thrown) {
      throw asking.reason(thrown);
    } finally {
      asking.end();
    }
  }

  /** Resolves with the head of an answer that is no refusal. */
  async #request(
    broker: string,
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const { token, headers, requestOptions, fetch: ask = fetch } = this.#options;
    const sent = typeof token === 'function' ? token() : token;
    const init = {
      // Browsers would keep answers.
      cache: 'no-store',
      ...requestOptions,
      method,
      signal,
      headers: {
        accept: 'application/x-ndjson, application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(sent === undefined ? {} : { authorization: `Bearer ${sent}` }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body, withWideTexts) }),
    };
    const response = await ask(`${originOf(broker)}${path}`, init).catch(unavailable);
    if (response.ok) return response;
    const problem = (await response.json().catch(() => ({}))) as Problem;
    throw problemError({ status: response.status, ...problem });
  }
}

function originOf(broker: string): string {
  return broker === '' || broker.includes('://') ? broker.replace(/\/+$/, '') : `http://${broker}`;
}

/** What fetch throws says little, its cause says more. */
function unavailable(thrown: unknown): never {
  const { message = String(thrown), cause } = thrown as { message?: string; cause?: { message?: string } };
  throw new BackplaneError('unavailable', cause?.message || message);
}

/**
 * A request that is aborted by a signal, or where no answer comes in time. AbortSignal.any is not for it: in Node 20 what
 * it returns may be collected while a request waits for it.
 */
class Deadline {
  readonly #ending = new AbortController();
  readonly #outer: AbortSignal;
  readonly #abort = () => this.#ending.abort();
  readonly #timer = setTimeout(() => {
    this.#passed = true;
    this.#abort();
  }, CLIENT_ANSWER_MS);
  #passed = false;

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    outer.addEventListener('abort', this.#abort, { once: true });
    if (outer.aborted) this.#abort();
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** The answer has begun. */
  met(): void {
    clearTimeout(this.#timer);
  }

  reason(thrown: unknown): unknown {
    return this.#passed ? new BackplaneError('unavailable', `no answer within ${CLIENT_ANSWER_MS} ms`) : thrown;
  }

  /** Ends the request where it has not ended itself. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#abort);
    this.#abort();
  }
}
