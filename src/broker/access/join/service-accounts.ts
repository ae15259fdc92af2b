/**
 * Kubernetes' word for which node an agent is on: the token that it mounts into the agent's pod, bound to the pod and
 * with it to the node. All agents of a cluster have the same configuration, so that no token of ours could tell them
 * apart.
 */
import type { JSONWebKeySet, jwtVerify } from 'jose';
import { BackplaneError } from '../../../errors.js';
import {
  SERVICE_ACCOUNT_KEYS_AGE_MS,
  SERVICE_ACCOUNT_KEYS_BYTES_MAX,
  SERVICE_ACCOUNT_KEYS_MS,
  SERVICE_ACCOUNT_TOKEN_CHARACTERS_MAX,
} from '../../../limits.js';
import { readBoundedFile, readFailure } from '../../../storage/bounded-file.js';
import { checkName } from '../../../subscriptions/request/names.js';

export interface ServiceAccountOptions {
  /** A file of public keys (JWKS), or the https URL of one. */
  readonly keys: string;
  /** The agents' own: namespace:name. Pods of others could mount such a token, too. */
  readonly account: string;
}

/** For whom the token must be. */
const AUDIENCE = 'backplane';
/** What clusters sign with; the list is closed, so that no token chooses how it is checked. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CLOCK_TOLERANCE_S = 5;

type Keys = Parameters<typeof jwtVerify>[1];

export class ServiceAccounts {
  readonly #options: ServiceAccountOptions;
  #remote: Keys | undefined;

  constructor(options: ServiceAccountOptions) {
    this.#options = options;
  }

  /** The node of the pod that the token is bound to. Rejects with unauthenticated for a token that is not good. */
  async node(token: string): Promise<string> {
    if (token.length > SERVICE_ACCOUNT_TOKEN_CHARACTERS_MAX) throw refusal('it is too long');
    const { jwtVerify } = await import('jose');
    const keys = await this.#keys();
    const [namespace, name] = this.#options.account.split(':');
    const { payload } = await jwtVerify(token, keys as never, {
      audience: AUDIENCE,
      algorithms: ALGORITHMS,
      subject: `system:serviceaccount:${namespace}:${name}`,
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE_S,
    }).catch((cause: Error) => {
      throw refusal(cause.message);
    });
    const { node } = (payload['kubernetes.io'] ?? {}) as { readonly node?: { readonly name?: unknown } };
    if (typeof node?.name !== 'string') throw refusal('it names no node: Kubernetes tells it from 1.30 on');
    checkName('the node of the service account token', node.name);
    return node.name;
  }

  /** A file is read each time, which is seldom: it may have been replaced. */
  async #keys(): Promise<Keys> {
    const { createLocalJWKSet, createRemoteJWKSet } = await import('jose');
    const { keys } = this.#options;
    if (/^https?:/.test(keys)) {
      const bounds = { timeoutDuration: SERVICE_ACCOUNT_KEYS_MS, cacheMaxAge: SERVICE_ACCOUNT_KEYS_AGE_MS };
      this.#remote ??= createRemoteJWKSet(new URL(keys), bounds);
      return this.#remote;
    }
    try {
      const text = readBoundedFile(keys, SERVICE_ACCOUNT_KEYS_BYTES_MAX).toString('utf8');
      return createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
    } catch (cause) {
      throw new BackplaneError('failed_precondition', `the keys in ${keys} cannot be used: ${readFailure(cause)}`);
    }
  }
}

function refusal(problem: string): BackplaneError {
  return new BackplaneError('unauthenticated', `the service account token is not good: ${problem}`);
}
