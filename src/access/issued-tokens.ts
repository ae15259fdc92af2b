/**
 * Tokens that are issued to people and programs, each with an identity and an end. The broker knows them by a file of
 * their hashes, so whoever reads the file learns no token.
 *
 *   Token := "bp_" Id "_" 43 of A-Z a-z 0-9 - _         (32 random bytes as base64url)
 *   Id    := 12 of a-z 0-9, not secret: it names the token in lists
 *   File  := YAML or JSON { tokens: [{ id, sha256 (hex, of the whole token), identity, expires (RFC 3339) }] }
 *
 * An identity has at most two live tokens: the second replaces the first without a moment in which neither holds.
 */
import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { parse as parseYaml, stringify } from 'yaml';
import { BackplaneError } from '../errors.js';
import { IDENTITY_CHARACTERS_MAX, TOKENS_MAX, TOKENS_PER_IDENTITY_MAX } from '../limits.js';
import { nsToMs } from '../nanoseconds.js';
import { shown } from '../text/shown.js';
import { parseTimestamp } from '../text/time-text.js';

export interface IssuedToken {
  readonly id: string;
  /** Hex, 64 digits. */
  readonly sha256: string;
  readonly identity: string;
  /** Milliseconds since 1970; the token holds before it. */
  readonly expiresMs: number;
}

const SECRET_BYTES = 32;
const ID_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const ID_LENGTH = 12;
const TOKEN = /^bp_([a-z0-9]{12})_[A-Za-z0-9_-]{43}$/;
const PREFIX = 'bp_';
const IDENTITY = /^[\x21-\x7e]+$/;
const FIELDS: readonly string[] = ['id', 'sha256', 'identity', 'expires'];

/** Whether a credential is meant to be an issued token, whole or not. */
export function isIssued(token: string): boolean {
  return token.startsWith(PREFIX);
}

export interface NewToken {
  /** Shown once, and kept nowhere. */
  readonly token: string;
  readonly entry: IssuedToken;
}

/** @throws BackplaneError failed_precondition when the identity has two live ones, or the file is full. */
export function issueToken(
  known: readonly IssuedToken[],
  identity: string,
  expiresMs: number,
  nowMs: number,
): NewToken {
  const name = checkIdentity('the identity', identity);
  const live = known.filter((each) => each.identity === name && each.expiresMs > nowMs);
  if (live.length >= TOKENS_PER_IDENTITY_MAX) {
    const ids = live.map(({ id }) => id).join(' and ');
    throw new BackplaneError(
      'failed_precondition',
      `${shown(name)} has ${live.length} live tokens, ${ids}: revoke one (tokens revoke ID)`,
    );
  }
  if (known.length >= TOKENS_MAX) {
    throw new BackplaneError(
      'failed_precondition',
      `the file has ${TOKENS_MAX} tokens, more are not kept: revoke some`,
    );
  }
  const id = Array.from({ length: ID_LENGTH }, () => ID_CHARACTERS[randomInt(ID_CHARACTERS.length)]).join('');
  const token = `${PREFIX}${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  return { token, entry: { id, sha256: hashOf(token).toString('hex'), identity: name, expiresMs } };
}

/** What a presented token is: 'wrong' also where its id is known. */
export type Verdict = { readonly kind: 'valid'; readonly token: IssuedToken } | { readonly kind: 'wrong' | 'expired' };

/** The issued tokens by their id. */
export class IssuedTokens {
  readonly #byId: ReadonlyMap<string, { readonly token: IssuedToken; readonly hash: Buffer }>;

  constructor(tokens: readonly IssuedToken[]) {
    this.#byId = new Map(tokens.map((token) => [token.id, { token, hash: Buffer.from(token.sha256, 'hex') }]));
  }

  get size(): number {
    return this.#byId.size;
  }

  /** An expired token is told so only to whoever has it whole. */
  verify(presented: string, nowMs: number): Verdict {
    const [, id = ''] = TOKEN.exec(presented) ?? [];
    const known = this.#byId.get(id);
    // Hashed also where the id is unknown, so that the time tells nothing about ids.
    const isRight = timingSafeEqual(hashOf(presented), known?.hash ?? NO_HASH);
    if (known === undefined || !isRight) return { kind: 'wrong' };
    return known.token.expiresMs > nowMs ? { kind: 'valid', token: known.token } : { kind: 'expired' };
  }

  /** Those of these tokens that others have, too; of two ends the earlier. */
  only(others: IssuedTokens): IssuedTokens {
    const kept = [...this.#byId.values()].flatMap(({ token }) => {
      const other = others.#byId.get(token.id)?.token;
      if (other?.sha256 !== token.sha256 || other.identity !== token.identity) return [];
      return [{ ...token, expiresMs: Math.min(token.expiresMs, other.expiresMs) }];
    });
    return new IssuedTokens(kept);
  }

  /** Whether a token that was let in still holds: it was neither revoked nor replaced by another of its id. */
  holds({ id, sha256 }: Pick<IssuedToken, 'id' | 'sha256'>): boolean {
    return this.#byId.get(id)?.token.sha256 === sha256;
  }
}

/** The hash of no token. */
const NO_HASH = randomBytes(SECRET_BYTES);

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** @throws BackplaneError invalid_argument: one line that names the entry and the field. */
export function parseTokens(text: string, nowMs: number): readonly IssuedToken[] {
  let document: unknown;
  try {
    document = parseYaml(text, { maxAliasCount: 0, logLevel: 'error' });
  } catch (cause) {
    throw refused(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause));
  }
  const { tokens = [], ...others } = recordOf(document ?? {}, 'the file');
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw refused(`unknown key ${shown(unknown)}: it holds "tokens"`);
  if (!Array.isArray(tokens)) throw refused('tokens must be a list');
  if (tokens.length > TOKENS_MAX) throw refused(`tokens must be at most ${TOKENS_MAX}, got ${tokens.length}`);
  const parsed = tokens.map((entry, index) => parseEntry(entry, `tokens[${index}]`));
  checkTogether(parsed, nowMs);
  return parsed;
}

function parseEntry(entry: unknown, where: string): IssuedToken {
  const fields = recordOf(entry, where);
  const unknown = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) throw refused(`${where}: unknown key ${shown(unknown)}`);
  const { id, sha256, identity, expires } = fields;
  if (typeof id !== 'string' || !/^[a-z0-9]{12}$/.test(id)) throw refused(`${where}.id must be 12 of a-z 0-9`);
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
    throw refused(`${where}.sha256 must be 64 hex digits`);
  const expiresNs = typeof expires === 'string' ? parseTimestamp(expires) : undefined;
  if (expiresNs === undefined) {
    throw refused(
      `${where}.expires must be a time such as "2026-01-31T12:00:00Z": tokens without an end are not taken`,
    );
  }
  const name = checkIdentity(`${where}.identity`, identity);
  return { id, sha256, identity: name, expiresMs: nsToMs(expiresNs) };
}

function checkIdentity(field: string, value: unknown): string {
  const isName = typeof value === 'string' && value.length <= IDENTITY_CHARACTERS_MAX && IDENTITY.test(value);
  if (isName) return value;
  throw refused(`${field} must be 1 to ${IDENTITY_CHARACTERS_MAX} printable ASCII characters without spaces`);
}

function checkTogether(tokens: readonly IssuedToken[], nowMs: number): void {
  const ids = new Set<string>();
  const live = new Map<string, number>();
  for (const { id, identity, expiresMs } of tokens) {
    if (ids.has(id)) throw refused(`the id ${id} is there twice`);
    ids.add(id);
    if (expiresMs > nowMs) live.set(identity, (live.get(identity) ?? 0) + 1);
  }
  for (const [identity, count] of live) {
    if (count <= TOKENS_PER_IDENTITY_MAX) continue;
    throw refused(`${shown(identity)} must have at most ${TOKENS_PER_IDENTITY_MAX} live tokens, has ${count}`);
  }
}

function recordOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refused(`${where} must hold keys`);
}

function refused(reason: string): BackplaneError {
  return new BackplaneError('invalid_argument', reason);
}

/** YAML, or JSON for a file whose name ends so. */
export function tokensText(tokens: readonly IssuedToken[], json: boolean): string {
  const document = {
    tokens: tokens.map(({ id, sha256, identity, expiresMs }) => {
      return { id, sha256, identity, expires: new Date(expiresMs).toISOString() };
    }),
  };
  return json ? `${JSON.stringify(document, undefined, 2)}\n` : stringify(document, { lineWidth: 0 });
}
