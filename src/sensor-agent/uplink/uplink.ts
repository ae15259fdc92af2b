/**
 * The agent's connection to its broker: control, live and history streams on
 * one channel. Reconnects for ever, with jitter, to whichever broker takes it;
 * every session begins with a Hello and knows nothing of the one before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { inTheClear, type SecurityFor } from '../../access/secure-channel.js';
import { secureTrouble } from '../../access/secure-trouble.js';
import type { CredentialFor } from '../../access/token-lookup.js';
import { asBackplaneError } from '../../errors.js';
import { BrokerRing, isSentAway } from '../../flow/reconnect.js';
import { within } from '../../flow/within.js';
import { UPLINK_SILENCE_MS } from '../../limits.js';
import { createUplinkClient, type UplinkClient } from '../../wire/grpc/rpc.js';
import type { Hello, NodeReport } from '../../wire/messages.js';
import type { Membership } from './membership.js';
import { type UplinkNode, UplinkSession } from './uplink-session.js';

export interface UplinkOptions {
  /** `host:port` or `host:port@zone`: see BrokerRing. */
  readonly brokers: readonly string[];
  readonly zone?: string | undefined;
  /** Asked anew for each session. */
  readonly credentialFor: CredentialFor;
  readonly securityFor?: SecurityFor | undefined;
  /** Has the certificate of a node that joins. */
  readonly membership?: Membership | undefined;
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

  readonly #options: UplinkOptions;

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  report(): void {
    this.#session?.report(this.#options.report());
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#options.membership?.close();
    await this.#session?.close();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { brokers, zone, log } = this.#options;
    const { signal } = this.#abort;
    const ring = new BrokerRing(brokers, zone);
    while (!signal.aborted) {
      const broker = ring.next();
      await sleep(ring.waitMs(broker), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      let isAway = true;
      let isSecure = false;
      let sentAway = false;
      let client: UplinkClient | undefined;
      try {
        const { membership, securityFor = inTheClear } = this.#options;
        await membership?.ensure(broker);
        const security = (membership?.securityFor ?? securityFor)(broker);
        isSecure = security.isSecure;
        const token = membership ? undefined : this.#options.credentialFor(broker)?.token;
        client = createUplinkClient(broker, token, security);
        await this.#serve(client, broker, ring);
      } catch (cause) {
        const error = asBackplaneError(cause);
        const { code, message } = secureTrouble(broker, error.message, isSecure) ?? error;
        isAway = code === 'unavailable';
        sentAway = isSentAway(error);
        if (!signal.aborted && message !== this.failure) log.warn({ broker, code }, `uplink: ${message}`);
        this.failure = message;
      } finally {
        this.#session = undefined;
        client?.close();
      }
      ring.failed(broker, isAway, sentAway);
    }
  }

  /** Serves one session and throws why it ended; returns when the uplink was stopped while it connected. */
  async #serve(client: UplinkClient, broker: string, ring: BrokerRing): Promise<void> {
    const hello = { ...this.#options.hello(), prefersBroker: ring.prefers(broker) };
    const session = await within(UPLINK_SILENCE_MS, this.#abort.signal, (deadline) =>
      UplinkSession.open(client, hello, this.#options.node, deadline),
    );
    if (this.#abort.signal.aborted) return session.close();
    this.#session = session;
    this.failure = undefined;
    ring.answered(broker);
    this.#options.log.info({ broker, session: session.id }, 'uplink connected');
    this.report();
    await session.ended;
    throw session.failure;
  }
}
