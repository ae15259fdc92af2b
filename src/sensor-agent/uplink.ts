/**
 * The agent's connection to its broker: control, live and history streams on
 * one channel. Reconnects for ever, with jitter; every session begins with a
 * Hello and knows nothing of the one before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { asBackplaneError, BackplaneError } from '../errors.js';
import { reconnectDelayMs } from '../flow/reconnect.js';
import { RECONNECT_MS_MAX, UPLINK_SILENCE_MS } from '../limits.js';
import type { Hello, NodeReport } from '../wire/messages.js';
import { createUplinkClient, type UplinkClient } from '../wire/rpc.js';
import { type UplinkNode, UplinkSession } from './uplink-session.js';

export interface UplinkOptions {
  /** host:port, tried in turn. */
  readonly brokers: readonly string[];
  readonly log: Logger;
  hello(): Hello;
  report(): NodeReport;
  readonly node: UplinkNode;
}

export class Uplink {
  #abort = new AbortController();
  #session: UplinkSession | undefined;
  #done: Promise<void>;
  /** The last failure, or undefined while connected: for people. */
  failure: string | undefined = 'not connected yet';

  constructor(private readonly options: UplinkOptions) {
    this.#done = this.#run();
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  report(): void {
    this.#session?.report(this.options.report());
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#session?.close();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { brokers, log } = this.options;
    const { signal } = this.#abort;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const broker = brokers[attempt % brokers.length]!;
      const startedMs = performance.now();
      const client = createUplinkClient(broker);
      try {
        await this.#serve(client, broker);
      } catch (cause) {
        const { message } = asBackplaneError(cause);
        if (!signal.aborted && message !== this.failure) log.warn({ broker }, `uplink: ${message}`);
        this.failure = message;
      } finally {
        this.#session = undefined;
        client.close();
      }
      // A connection that held counts as a new beginning.
      if (performance.now() - startedMs > RECONNECT_MS_MAX * 2) attempt = 0;
      await sleep(reconnectDelayMs(attempt + 1), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Until the session ends, one way or another. */
  async #serve(client: UplinkClient, broker: string): Promise<void> {
    const deadline = AbortSignal.any([AbortSignal.timeout(UPLINK_SILENCE_MS), this.#abort.signal]);
    const session = await UplinkSession.open(client, this.options.hello(), this.options.node, deadline);
    if (this.#abort.signal.aborted) return session.close();
    this.#session = session;
    this.failure = undefined;
    this.options.log.info({ broker, session: session.id }, 'uplink connected');
    this.report();
    await session.ended;
    throw new BackplaneError('unavailable', session.reason);
  }
}
