/**
 * The one place where the broker decides who a caller is. A call has exactly one credential: the certificate of its
 * connection, the broker's own token, a token that was issued, or a signed web token. Where no token is wanted, a call
 * without any is anonymous.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import type { CertificateFacts, StatedIdentity } from '../../access/certificate-identity.js';
import { type IssuedTokens, isIssued, type Verdict } from '../../access/issued-tokens.js';
import { isOversized, tokenOfCredential } from '../../access/token.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { REFUSALS_LOGGED_INTERVAL_MS } from '../../limits.js';
import { isLoopback } from './listen.js';
import type { BrokerToken } from './token-file.js';

export interface Identity {
  readonly name: string;
  /** `local` holds the broker's own token. `anonymous` has no credential, where none is wanted. */
  readonly kind: 'local' | 'anonymous' | 'certificate' | 'token' | 'jwt';
  /** jwt: the groups that its token names. */
  readonly groups?: readonly string[];
  /** When the credential ends, milliseconds since 1970; undefined: not known, or never. */
  readonly untilMs?: number | undefined;
  /** token: which one, so that it is noticed when it is revoked. */
  readonly token?: { readonly id: string; readonly sha256: string } | undefined;
  /** certificate: likewise. */
  readonly certificate?: CertificateFacts | undefined;
}

/** The caller of a request. */
export interface Caller {
  /** The connection's own address, host:port. */
  readonly peer: string;
  readonly identity: Identity;
}

/** Checks web tokens. Rejects with unauthenticated. */
export interface WebTokens {
  verify(token: string): Promise<Identity>;
}

/** The tokens that are issued. */
export interface IssuedNow {
  readonly value: IssuedTokens;
  /** Resolves when `value` is what the file says at this moment. */
  look(): Promise<void>;
}

export interface GateOptions {
  /** Undefined: no call wants a token, and whoever sends none is anonymous. */
  readonly token: BrokerToken | undefined;
  readonly issued?: IssuedNow | undefined;
  readonly webTokens?: WebTokens | undefined;
  /** Whether an identity by certificate stands on one that was revoked. */
  readonly isRevoked?: ((identity: Identity) => boolean) | undefined;
  /** Told of each refusal. */
  readonly onRefused?: (peer: string, reason: Reason, error: BackplaneError) => void;
  readonly logger: Logger;
}

/** Of calls that need no credential. */
export const NOBODY: Identity = { name: '', kind: 'anonymous' };
const LOCAL: Identity = { name: 'local', kind: 'local' };
const ANONYMOUS: Identity = { name: 'anonymous', kind: 'anonymous' };

const WHAT_CAME = {
  missing: 'no token came',
  malformed: 'what came is no token',
  wrong: 'another token came',
  oversized: 'what came is too long for a token',
  doubled: 'more than one credential came',
  expired: 'the token has expired',
  certificate: 'the certificate states no identity',
  revoked: 'the certificate was revoked: join again, or have another one issued',
} as const;
export type Reason = keyof typeof WHAT_CAME;

/** Three parts of base64url, the first an object's. */
const WEB_TOKEN = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

export class Gate {
  /** Calls that were refused, by reason. */
  readonly refusals = new Map(Object.keys(WHAT_CAME).map((reason) => [reason as Reason, 0]));
  readonly #digest: Buffer | undefined;
  #unlogged = 0;
  #lastPeer = '';
  #quiet: NodeJS.Timeout | undefined;

  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#digest = options.token && digest(options.token.token);
  }

  /**
   * A promise only for web tokens, whose keys may have to be fetched. `authorization` has the values of all headers of
   * that name, `peer` is the caller's address without its port, `certificate` gives what the connection's certificate
   * states, where it has one that was verified, or throws unauthenticated.
   * Throws, or rejects with, BackplaneError unauthenticated.
   */
  identify(
    authorization: readonly string[],
    peer: string,
    certificate?: (() => StatedIdentity) | undefined,
  ): Identity | Promise<Identity> {
    try {
      const found = this.#identify(authorization, certificate);
      if (!(found instanceof Promise)) return found;
      return found.catch((cause) => {
        throw this.#refused(cause, peer, 'wrong');
      });
    } catch (cause) {
      throw this.#refused(cause, peer, 'certificate');
    }
  }

  /** Whether a credential that was let in still holds. */
  holds(identity: Identity): boolean {
    const { untilMs, token } = identity;
    if (untilMs !== undefined && untilMs <= Date.now()) return false;
    if (this.#options.isRevoked?.(identity) === true) return false;
    return token === undefined || this.#options.issued?.value.holds(token) === true;
  }

  close(): void {
    clearTimeout(this.#quiet);
  }

  #identify(
    authorization: readonly string[],
    certificate: (() => StatedIdentity) | undefined,
  ): Identity | Promise<Identity> {
    const [value] = authorization;
    if (authorization.length + (certificate === undefined ? 0 : 1) > 1) throw new Refused('doubled');
    if (certificate !== undefined) return this.#certified(certificate());
    const { token: own, webTokens, issued } = this.#options;
    if (own === undefined) return this.#withoutToken(value);
    if (value === undefined) throw new Refused('missing');
    if (isOversized(value)) throw new Refused('oversized');
    const token = tokenOfCredential(value);
    if (token === undefined) throw new Refused('malformed');
    if (timingSafeEqual(digest(token), this.#digest!)) return LOCAL;
    if (issued !== undefined && isIssued(token)) return identityOfIssued(issued, token);
    if (webTokens !== undefined && WEB_TOKEN.test(token)) return webTokens.verify(token);
    throw new Refused('wrong');
  }

  #certified({ name, ...facts }: StatedIdentity): Identity {
    const identity: Identity = { name, kind: 'certificate', certificate: facts };
    if (this.#options.isRevoked?.(identity) === true) throw new Refused('revoked');
    return identity;
  }

  /** Nobody is asked for a token, so what is no token of this broker is as good as none. */
  #withoutToken(value: string | undefined): Identity | Promise<Identity> {
    const token = value === undefined ? undefined : tokenOfCredential(value);
    const { webTokens, issued } = this.#options;
    if (token === undefined) return ANONYMOUS;
    if (issued !== undefined && isIssued(token)) return identityOfIssued(issued, token);
    return webTokens !== undefined && WEB_TOKEN.test(token) ? webTokens.verify(token) : ANONYMOUS;
  }

  /** @param reason of a refusal that does not say so itself */
  #refused(cause: unknown, peer: string, reason: Reason): BackplaneError {
    if (cause instanceof Refused) {
      const { token: own } = this.#options;
      const hint = own === undefined || cause.reason === 'revoked' ? '' : `: ${this.#whereItIs(own, peer)}`;
      const error = new BackplaneError('unauthenticated', `${WHAT_CAME[cause.reason]}${hint}`);
      return this.#count(cause.reason, peer, error);
    }
    const error = asBackplaneError(cause);
    return error.code === 'unauthenticated' ? this.#count(reason, peer, error) : error;
  }

  /** Only loopback callers are told the token's file and owner, so that these do not leak to the network. */
  #whereItIs({ file, owner }: BrokerToken, peer: string): string {
    if (!isLoopback(peer.replace(/^::ffff:/, '')))
      return 'this broker wants its token, in BACKPLANE_TOKEN or in the file that BACKPLANE_TOKEN_FILE names';
    return `the token of this broker is in ${file}, owned by ${owner}, mode 0600: run as ${owner}, or set BACKPLANE_TOKEN_FILE`;
  }

  /** Logs the first refusal, then one line per interval for all others, so that a stranger cannot fill the log. */
  #count(reason: Reason, peer: string, error: BackplaneError): BackplaneError {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
    this.#options.onRefused?.(peer, reason, error);
    this.#unlogged++;
    this.#lastPeer = peer;
    if (this.#quiet === undefined) this.#log();
    return error;
  }

  #log(): void {
    if (this.#unlogged === 0) {
      this.#quiet = undefined;
      return;
    }
    const calls = this.#unlogged === 1 ? 'a call was' : `${this.#unlogged} calls were`;
    this.#options.logger.warn(
      { peer: this.#lastPeer, ...Object.fromEntries(this.refusals) },
      `${calls} refused for want of the broker's token`,
    );
    this.#unlogged = 0;
    this.#quiet = setTimeout(() => this.#log(), REFUSALS_LOGGED_INTERVAL_MS).unref();
  }
}

/** Turned into an error with the hint that the peer may have. */
class Refused extends Error {
  constructor(readonly reason: Reason) {
    super(reason);
  }
}

/** A token that is not known may have been issued just now. */
function identityOfIssued(issued: IssuedNow, presented: string): Identity | Promise<Identity> {
  const verdict = issued.value.verify(presented, Date.now());
  if (verdict.kind !== 'wrong') return identityOfVerdict(verdict);
  return issued.look().then(() => identityOfVerdict(issued.value.verify(presented, Date.now())));
}

function identityOfVerdict(verdict: Verdict): Identity {
  if (verdict.kind !== 'valid') throw new Refused(verdict.kind);
  const { id, sha256, identity: name, expiresMs: untilMs } = verdict.token;
  return { name, kind: 'token', untilMs, token: { id, sha256 } };
}

/** Hashes to a fixed length, so that the time of the comparison does not depend on the token. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
