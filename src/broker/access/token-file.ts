/** The broker's own token in its data directory: made at the first start and reused at every later one. */
import { closeSync, fsyncSync, openSync, renameSync, unlinkSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { newToken, readTokenFile } from '../../access/token.js';
import { TOKEN_FILE_NAME } from '../../access/token-lookup.js';
import { BackplaneError } from '../../errors.js';
import { nodeFileOps, systemErrorCode, writeAll } from '../../storage/file-ops.js';

export interface BrokerToken {
  readonly token: string;
  /** Absolute path. */
  readonly file: string;
  /** Name of the user who may read the file. */
  readonly owner: string;
}

/**
 * Call while holding the data directory's lock. A token file that another user owns is replaced, because that user
 * knows the token, and `warn` is called. A file that others can read is refused, because somebody chose that mode.
 * @throws BackplaneError failed_precondition, invalid_argument: one line that says what to do.
 */
export function brokerToken(dataDir: string, warn: (message: string) => void): BrokerToken {
  const file = resolve(dataDir, TOKEN_FILE_NAME);
  const token = existingToken(file, warn) ?? makeToken(file);
  return { token, file, owner: ownName() };
}

function existingToken(file: string, warn: (message: string) => void): string | undefined {
  let found: ReturnType<typeof readTokenFile>;
  try {
    found = readTokenFile(file);
  } catch (cause) {
    if (!(cause instanceof BackplaneError)) throw cause;
    if (cause.details.system === 'ENOENT') return undefined;
    throw new BackplaneError('failed_precondition', `${cause.message}; remove it, and a new one is made`);
  }
  const { token, stats } = found;
  if (stats.uid !== process.geteuid?.()) {
    warn(`the token in ${file} belonged to another user (${stats.uid}), who knows it: a new one takes its place`);
    return undefined;
  }
  const mode = stats.mode & 0o777;
  if ((mode & 0o077) === 0) return token;
  throw new BackplaneError(
    'failed_precondition',
    `the token in ${file} can be read by others (mode 0${mode.toString(8)}): set its mode to 0600, or remove it, and a new one is made`,
  );
}

/** Writes a new file and renames it, so that the token is never partial. `wx` refuses a file prepared by others. */
function makeToken(file: string): string {
  const token = newToken();
  const temporary = join(dirname(file), `.${TOKEN_FILE_NAME}.new`);
  try {
    removeFile(temporary);
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeAll(nodeFileOps, fd, [Buffer.from(`${token}\n`)], token.length + 1, 0);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
    nodeFileOps.syncDirectoryNow(dirname(file));
  } catch (cause) {
    const why = systemErrorCode(cause) ?? String(cause);
    throw new BackplaneError('failed_precondition', `the token cannot be written to ${file}: ${why}`);
  }
  return token;
}

/** Removes a file that a killed start may have left; it need not exist. */
function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
  }
}

function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    // In a container the user may be missing from /etc/passwd.
    return `user ${process.geteuid?.()}`;
  }
}
