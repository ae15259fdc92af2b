/**
 * Signed web tokens (JWT): whose signature a key of a set verifies, by one of a few algorithms, and that say who issued
 * them, for whom, and until when.
 */
import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { BackplaneError } from '../../errors.js';
import {
  IDENTITY_CHARACTERS_MAX,
  JWT_CLOCK_TOLERANCE_S,
  JWT_GROUPS_MAX,
  JWT_KEYS_AGE_MS,
  JWT_KEYS_TIMEOUT_MS,
  KEYS_BYTES_MAX,
} from '../../limits.js';
import { WatchedFile } from '../../storage/watched-file.js';
import type { Identity, WebTokens } from './gate.js';

/** None of them is symmetric: a public key never passes for a secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];

export interface WebTokenOptions {
  /** Path of a JSON Web Key Set, or its https address. */
  readonly keys: string;
  readonly issuer: string;
  readonly audience: string;
  /** The claim that names the identity, and the one that names groups. */
  readonly identityClaim: string;
  readonly groupsClaim: string;
}

type Jose = typeof import('jose');
interface KeySet {
  readonly keys: readonly unknown[];
}

export class SignedWebTokens implements WebTokens {
  readonly #options: WebTokenOptions;
  readonly #file: WatchedFile<KeySet> | undefined;
  /** Loaded with the first token. */
  #jose: Promise<Jose> | undefined;
  #keys: { readonly of: KeySet | undefined; readonly find: JWTVerifyGetKey } | undefined;

  /** @throws BackplaneError invalid_argument for a file of keys that cannot be read, or is none. */
  constructor(options: WebTokenOptions, warn: (message: string) => void, onChange: (file: string) => Promise<void>) {
    this.#options = options;
    const isFile = !/^https?:/.test(options.keys);
    this.#file = isFile
      ? new WatchedFile({
          path: options.keys,
          bytesMax: KEYS_BYTES_MAX,
          parse: parseKeys,
          lessened: keysOfBoth,
          onChange,
          onApplied: () => undefined,
          warn,
        })
      : undefined;
  }

  /** Call this about once a second. */
  look(): void {
    void this.#file?.look();
  }

  async verify(token: string): Promise<Identity> {
    const { issuer, audience } = this.#options;
    this.#jose ??= import('jose');
    const jose = await this.#jose;
    let payload: JWTPayload;
    try {
      ({ payload } = await jose.jwtVerify(token, this.#find(jose), {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        requiredClaims: ['iss', 'aud', 'exp'],
        clockTolerance: JWT_CLOCK_TOLERANCE_S,
      }));
    } catch (cause) {
      throw refusalOf(jose, cause);
    }
    return this.#identityOf(payload);
  }

  #find(jose: Jose): JWTVerifyGetKey {
    const of = this.#file?.value;
    if (this.#keys === undefined || this.#keys.of !== of) {
      const find =
        of === undefined
          ? jose.createRemoteJWKSet(new URL(this.#options.keys), {
              timeoutDuration: JWT_KEYS_TIMEOUT_MS,
              cacheMaxAge: JWT_KEYS_AGE_MS,
            })
          : jose.createLocalJWKSet(of as Parameters<Jose['createLocalJWKSet']>[0]);
      this.#keys = { of, find };
    }
    return this.#keys.find;
  }

  #identityOf(payload: JWTPayload): Identity {
    const { identityClaim, groupsClaim } = this.#options;
    const name = payload[identityClaim];
    if (typeof name !== 'string' || name.length > IDENTITY_CHARACTERS_MAX || !/^[\x21-\x7e]+$/.test(name)) {
      const form = `1 to ${IDENTITY_CHARACTERS_MAX} printable ASCII characters without spaces`;
      throw new BackplaneError('unauthenticated', `the web token's ${identityClaim} must be ${form}`);
    }
    const groups = groupsOf(payload[groupsClaim]);
    return { name, kind: 'jwt', groups, untilMs: ((payload.exp ?? 0) + JWT_CLOCK_TOLERANCE_S) * 1000 };
  }
}

/** What counts of a change that is not on record: a key that was taken away verifies nothing any more. */
function keysOfBoth(before: KeySet, after: KeySet): KeySet {
  const known = new Set(before.keys.map((key) => JSON.stringify(key)));
  return { keys: after.keys.filter((key) => known.has(JSON.stringify(key))) };
}

function parseKeys(text: string): KeySet {
  let keys: unknown;
  try {
    keys = JSON.parse(text);
  } catch {
    throw new BackplaneError('invalid_argument', 'it is no JSON');
  }
  if (typeof keys === 'object' && keys !== null && 'keys' in keys && Array.isArray(keys.keys)) {
    return { keys: keys.keys };
  }
  throw new BackplaneError('invalid_argument', 'it must be a JSON Web Key Set: {"keys": [...]}');
}

/** What is no name of a group grants nothing. */
function groupsOf(claim: unknown): readonly string[] {
  const groups: readonly unknown[] = Array.isArray(claim) ? claim : typeof claim === 'string' ? [claim] : [];
  const isName = (group: unknown): group is string =>
    typeof group === 'string' && group.length <= IDENTITY_CHARACTERS_MAX;
  return groups.slice(0, JWT_GROUPS_MAX).filter(isName);
}

/** Keys that cannot be had are the broker's trouble; everything else is the token's. */
function refusalOf(jose: Jose, cause: unknown): BackplaneError {
  const { JOSEError, JWTExpired, JWTClaimValidationFailed, JWKSTimeout } = jose.errors;
  if (cause instanceof JWTExpired) return new BackplaneError('unauthenticated', 'the web token has expired');
  if (cause instanceof JWTClaimValidationFailed) {
    return new BackplaneError(
      'unauthenticated',
      `the web token's ${cause.claim} is missing or not what this broker takes`,
    );
  }
  const isTrouble = cause instanceof JWKSTimeout || !(cause instanceof JOSEError) || cause.code === 'ERR_JOSE_GENERIC';
  return isTrouble
    ? new BackplaneError('unavailable', 'the keys that verify web tokens cannot be had now')
    : new BackplaneError('unauthenticated', 'the web token is not valid: no key of the broker has signed it');
}
