/**
 * The certificate of a node that joined, in its data directory: asked for with a join token where there is none, and
 * renewed long before it ends. Connections that are open go on; the next one shows the new certificate.
 *
 *   DATA_DIR/tls/node.pem := key and certificates, in one file, so that they always belong together
 *   DATA_DIR/tls/ca.crt   := who signs certificates of brokers
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import type { Logger } from 'pino';
import { spiffeId } from '../../access/authority.js';
import { certificateIdentity } from '../../access/certificate-identity.js';
import { join, joinByServiceAccount, type NodeCertificate, renew, type ServiceAccount } from '../../access/join.js';
import type { JoinToken } from '../../access/join-token.js';
import { type KeyPair, readKeyPair } from '../../access/key-pair.js';
import { type SecurityFor, securedBy } from '../../access/secure-channel.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { startLongTimer } from '../../flow/long-timer.js';
import { BrokerRing } from '../../flow/reconnect.js';
import {
  CERTIFICATE_EARLY_MS,
  RENEWAL_RETRY_MS_MAX,
  RENEWAL_RETRY_MS_MIN,
  RENEWAL_RETRY_SHARE,
  RENEWAL_SHARE,
} from '../../limits.js';
import { nodeFileOps, writeSmallFile } from '../../storage/file-ops.js';
import type { AgentOptions } from '../agent-options.js';

const FOLDER = 'tls';
const FILE = 'node.pem';

/** What lets a node join; neither: it has joined before. */
export interface JoinCredential {
  readonly token?: JoinToken | undefined;
  readonly serviceAccount?: ServiceAccount | undefined;
}

export interface MembershipOptions {
  readonly dataDir: string;
  readonly node: string;
  /** `host:port` or `host:port@zone`: see BrokerRing. */
  readonly brokers: readonly string[];
  readonly zone?: string | undefined;
  readonly credential: JoinCredential;
  readonly log: Logger;
}

/** Whether the node of this data directory has a certificate of its own, or had one. */
export function hasJoined(dataDir: string): boolean {
  return existsSync(joinPath(dataDir, FOLDER, FILE));
}

/** Undefined for an agent whose certificate, if any, others see to. */
export function membershipOf({ joins, nodeName, ...options }: AgentOptions): Membership | undefined {
  return joins && new Membership({ ...options, node: nodeName, credential: joins });
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #dir: string;
  readonly #file: string;
  readonly #securityFor: SecurityFor;
  readonly #ring: BrokerRing;
  #cancel: (() => void) | undefined;
  /** Failed renewals since the last that did not fail. */
  #failures = 0;
  #closed = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#ring = new BrokerRing(options.brokers, options.zone);
    this.#dir = joinPath(options.dataDir, FOLDER);
    this.#file = joinPath(this.#dir, FILE);
    const ca = joinPath(this.#dir, 'ca.crt');
    this.#securityFor = securedBy({ ca, own: { cert: this.#file, key: this.#file } });
  }

  /** How to connect with the certificate. Throws invalid_argument where there is none. */
  readonly securityFor: SecurityFor = (broker) => this.#securityFor(broker);

  /**
   * Resolves when there is a certificate, which is renewed from then on. Rejects as join() does, and with
   * failed_precondition where there is no certificate that still holds and no token.
   */
  async ensure(broker: string): Promise<void> {
    if (this.#pair() === undefined) {
      const { node, log } = this.#options;
      this.#keep(await this.#join(broker));
      log.info(
        { broker, until: this.#pair()?.certificate.validTo },
        `joined as ${spiffeId({ kind: 'node', name: node })}`,
      );
    }
    if (this.#cancel === undefined) this.#schedule();
  }

  #join(broker: string): Promise<NodeCertificate> {
    const { credential, node } = this.#options;
    const { token, serviceAccount } = credential;
    if (serviceAccount !== undefined) return joinByServiceAccount(broker, serviceAccount, node);
    if (token !== undefined) return join(broker, token, node);
    const reason = `the certificate in ${this.#file} no longer holds`;
    throw new BackplaneError('failed_precondition', `${reason}: join again, with a new --join-token`);
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  /** Undefined where there is none that holds, of this node. */
  #pair(): KeyPair | undefined {
    try {
      const pair = readKeyPair(this.#file, this.#file, Date.now());
      const id = certificateIdentity(pair.certificate.toLegacyObject());
      return id === spiffeId({ kind: 'node', name: this.#options.node }) ? pair : undefined;
    } catch {
      return undefined;
    }
  }

  #keep({ own, authorities }: NodeCertificate): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    // Both for this user alone. The authority first: it is believed only beside a certificate.
    writeSmallFile(nodeFileOps, joinPath(this.#dir, 'ca.crt'), Buffer.from(authorities), true);
    writeSmallFile(nodeFileOps, this.#file, Buffer.from(own), true);
    nodeFileOps.syncDirectoryNow(this.#dir);
  }

  #schedule(): void {
    const pair = this.#pair();
    if (this.#closed || pair === undefined) return;
    const nowMs = Date.now();
    const madeMs = Date.parse(pair.certificate.validFrom) + CERTIFICATE_EARLY_MS;
    const dueMs = madeMs + (pair.endsMs - madeMs) * RENEWAL_SHARE;
    const retryMs = Math.min(RENEWAL_RETRY_MS_MAX, (pair.endsMs - nowMs) * RENEWAL_RETRY_SHARE);
    const waitMs = Math.max(RENEWAL_RETRY_MS_MIN, this.#failures === 0 ? dueMs - nowMs : retryMs);
    this.#cancel = startLongTimer(waitMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { log } = this.#options;
    const broker = this.#ring.next();
    try {
      this.#keep(await renew(broker, this.securityFor(broker)));
      this.#ring.answered(broker);
      this.#failures = 0;
      log.info({ broker, until: this.#pair()?.certificate.validTo }, 'the certificate of this node was renewed');
    } catch (cause) {
      this.#ring.failed(broker);
      this.#failures++;
      const until = this.#pair()?.certificate.validTo;
      log.warn(
        { broker, until },
        `the certificate of this node is not renewed yet: ${asBackplaneError(cause).message}`,
      );
    }
    this.#schedule();
  }
}
