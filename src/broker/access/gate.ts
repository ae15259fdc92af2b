/**
 * The one place where the broker decides who a caller is. Callers with the
 * broker's token are accepted; if the token is switched off, all callers are.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { type CertificateNames, certificateIdentity } from '../../access/certificate-identity.js';
import { tokenOfCredential } from '../../access/token.js';
import { BackplaneError } from '../../errors.js';
import { REFUSALS_LOGGED_INTERVAL_MS } from '../../limits.js';
import { isLoopback } from './listen.js';
import type { BrokerToken } from './token-file.js';

export interface Identity {
  /**
   * `local` has the broker's own token and may do everything. `anonymous`: the token is switched off. Else the one that
   * the caller's certificate states.
   */
  readonly name: string;
}

/** The caller of a request. */
export interface Caller {
  /** The connection's own address, host:port. */
  readonly peer: string;
  readonly identity: string;
}

const LOCAL: Identity = { name: 'local' };
const ANONYMOUS: Identity = { name: 'anonymous' };

type Reason = 'missing' | 'malformed' | 'wrong' | 'certificate';

const WHAT_CAME: Readonly<Record<Exclude<Reason, 'certificate'>, string>> = {
  missing: 'no token came',
  malformed: 'what came is no token',
  wrong: 'another token came',
};

export class Gate {
  /** Calls that were refused, by reason. */
  readonly refusals = new Map<Reason, number>([
    ['missing', 0],
    ['malformed', 0],
    ['wrong', 0],
    ['certificate', 0],
  ]);
  readonly #token: BrokerToken | undefined;
  readonly #digest: Buffer | undefined;
  readonly #logger: Logger;
  #unlogged = 0;
  #lastPeer = '';
  #quiet: NodeJS.Timeout | undefined;

  /** Without a token all callers are accepted. */
  constructor(token: BrokerToken | undefined, logger: Logger) {
    this.#token = token;
    this.#digest = token && digest(token.token);
    this.#logger = logger;
  }

  /**
   * `authorization` has the values of all headers of that name, `peer` is the caller's address without its port,
   * `certificate` is one that was verified: it does where no token came.
   * @throws BackplaneError unauthenticated
   */
  identify(authorization: readonly string[], peer: string, certificate?: CertificateNames): Identity {
    const name = certificate && this.#named(certificate, peer);
    if (name !== undefined && authorization.length === 0) return { name };
    if (this.#token === undefined || this.#digest === undefined) return ANONYMOUS;
    const reason = this.#refusalOf(authorization, this.#digest);
    if (reason === undefined) return LOCAL;
    this.#count(reason, peer);
    throw new BackplaneError('unauthenticated', `${WHAT_CAME[reason]}: ${this.#whereItIs(this.#token, peer)}`);
  }

  close(): void {
    clearTimeout(this.#quiet);
  }

  #named(certificate: CertificateNames, peer: string): string {
    try {
      return certificateIdentity(certificate);
    } catch (cause) {
      this.#count('certificate', peer);
      throw cause;
    }
  }

  #refusalOf(authorization: readonly string[], expected: Buffer): Exclude<Reason, 'certificate'> | undefined {
    const [value, ...others] = authorization;
    if (value === undefined) return 'missing';
    const token = others.length === 0 ? tokenOfCredential(value) : undefined;
    if (token === undefined) return 'malformed';
    return timingSafeEqual(digest(token), expected) ? undefined : 'wrong';
  }

  /** Only loopback callers are told the token's file and owner, so that these do not leak to the network. */
  #whereItIs({ file, owner }: BrokerToken, peer: string): string {
    if (!isLoopback(peer.replace(/^::ffff:/, '')))
      return 'this broker wants its token, in BACKPLANE_TOKEN or in the file that BACKPLANE_TOKEN_FILE names';
    return `the token of this broker is in ${file}, owned by ${owner}, mode 0600: run as ${owner}, or set BACKPLANE_TOKEN_FILE`;
  }

  /** Logs the first refusal, then one line per interval for all others, so that a stranger cannot fill the log. */
  #count(reason: Reason, peer: string): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
    this.#unlogged++;
    this.#lastPeer = peer;
    if (this.#quiet === undefined) this.#log();
  }

  #log(): void {
    if (this.#unlogged === 0) {
      this.#quiet = undefined;
      return;
    }
    const calls = this.#unlogged === 1 ? 'a call was' : `${this.#unlogged} calls were`;
    this.#logger.warn(
      { peer: this.#lastPeer, ...Object.fromEntries(this.refusals) },
      `${calls} refused for want of the broker's token`,
    );
    this.#unlogged = 0;
    this.#quiet = setTimeout(() => this.#log(), REFUSALS_LOGGED_INTERVAL_MS).unref();
  }
}

/** Hashes to a fixed length, so that the time of the comparison does not depend on the token. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
