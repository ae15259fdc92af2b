/**
 * The token by which a node gets its first certificate: whoever has it may join once, in the name of a node that it
 * allows. It names the authority, so that the node knows its broker before it has anything else to know it by.
 *
 *   JoinToken := "bpj" "." id "." secret "." pin      each of base64url
 *   id        := 9 bytes                              public: under it the broker keeps what the token allows
 *   secret    := 32 bytes                             the broker keeps its SHA-256
 *   pin       := SHA-256 of the authority's certificate (DER)
 */
import { randomBytes } from 'node:crypto';
import { BackplaneError } from '../errors.js';

const FORM = /^bpj\.([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/;

export interface JoinToken {
  readonly id: string;
  readonly secret: string;
  readonly pin: string;
}

export function newJoinToken(pin: string): JoinToken {
  return { id: randomBytes(9).toString('base64url'), secret: randomBytes(32).toString('base64url'), pin };
}

export function joinTokenText({ id, secret, pin }: JoinToken): string {
  return ['bpj', id, secret, pin].join('.');
}

/** Undefined for a text of another form. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [, id, secret, pin] = FORM.exec(text) ?? [];
  return id === undefined || secret === undefined || pin === undefined ? undefined : { id, secret, pin };
}

/** `where` is named in the error, which never shows the text. @throws BackplaneError invalid_argument */
export function checkJoinToken(where: string, text: string): JoinToken {
  const token = parseJoinToken(text.trim());
  if (token !== undefined) return token;
  throw new BackplaneError(
    'invalid_argument',
    `${where} must be a token of "backplane certs join-token", got ${text.length} characters that are none`,
  );
}
