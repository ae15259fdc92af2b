/**
 * The broker's token: its holder may use everything that the broker offers. One line of text, which the broker makes
 * and keeps in a file that only its own user can read; agents, subscribers and HTTP clients send it with every call.
 *
 *   Token      := 32 to 8192 of A-Z a-z 0-9 - . _ ~ + / =          (RFC 6750's b64token)
 *   Credential := "Bearer" " "+ Token
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { BackplaneError } from '../errors.js';
import { TOKEN_CHARACTERS_MAX, TOKEN_CHARACTERS_MIN } from '../limits.js';
import { readFailure } from '../storage/bounded-file.js';
import { systemErrorCode } from '../storage/file-ops.js';

/** Bytes of randomness in a token that a broker makes. */
const TOKEN_RANDOM_BYTES = 32;
const TOKEN = new RegExp(`^[A-Za-z0-9._~+/=-]{${TOKEN_CHARACTERS_MIN},${TOKEN_CHARACTERS_MAX}}$`);
const CREDENTIAL = /^Bearer +(\S+)$/i;
/** A token and a line end, with room for spaces around it. */
const FILE_BYTES_MAX = TOKEN_CHARACTERS_MAX + 64;
const FORM = `${TOKEN_CHARACTERS_MIN} to ${TOKEN_CHARACTERS_MAX} characters of A-Z a-z 0-9 - . _ ~ + / =`;

export function newToken(): string {
  return randomBytes(TOKEN_RANDOM_BYTES).toString('base64url');
}

/** The error names `where`, but never shows the text. @throws BackplaneError invalid_argument */
export function checkToken(where: string, text: string): string {
  const token = text.trim();
  if (TOKEN.test(token)) return token;
  const found = token === '' ? 'it is empty' : `got ${token.length} characters that are not`;
  throw new BackplaneError('invalid_argument', `${where} must hold a token, ${FORM}: ${found}`);
}

/** Whether an Authorization header's value is longer than any token's. */
export function isOversized(value: string): boolean {
  return value.length > FILE_BYTES_MAX;
}

/** The token of an Authorization header's value; undefined when it has another form. */
export function tokenOfCredential(value: string): string | undefined {
  if (isOversized(value)) return undefined;
  const token = CREDENTIAL.exec(value.trim())?.[1];
  return token !== undefined && TOKEN.test(token) ? token : undefined;
}

/**
 * The token in a file, and the file's attributes, such as its owner. Symbolic links are followed, because mounted
 * secrets use them.
 * @throws BackplaneError invalid_argument; `details.system` has the system's code where the file could not be read.
 */
export function readTokenFile(path: string): { readonly token: string; readonly stats: Stats } {
  const refuse = (reason: string, system?: string) =>
    new BackplaneError('invalid_argument', `the token file ${path} ${reason}`, { system });
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO would block here.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    throw refuse(`cannot be read: ${readFailure(cause)}`, systemErrorCode(cause));
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw refuse('is not a regular file');
    const buffer = Buffer.alloc(FILE_BYTES_MAX + 1);
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    if (length > FILE_BYTES_MAX) throw refuse(`must hold at most ${FILE_BYTES_MAX} bytes`);
    return { token: checkToken(`the token file ${path}`, buffer.toString('latin1', 0, length)), stats };
  } catch (cause) {
    if (cause instanceof BackplaneError) throw cause;
    throw refuse(`cannot be read: ${readFailure(cause)}`, systemErrorCode(cause));
  } finally {
    closeSync(fd);
  }
}
