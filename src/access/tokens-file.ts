/** The file of issued tokens, as the command line changes it: whole, or not at all. */
import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { asBackplaneError, BackplaneError } from '../errors.js';
import { TOKENS_BYTES_MAX } from '../limits.js';
import { readBoundedFile, readFailure } from '../storage/bounded-file.js';
import { nodeFileOps, systemErrorCode, writeAll } from '../storage/file-ops.js';
import { giveToOwner } from '../storage/file-owner.js';
import { type IssuedToken, parseTokens, tokensText } from './issued-tokens.js';

/** In the data directory, where no setting names another file. */
const TOKENS_FILE_NAME = 'tokens.yaml';

/** A change takes far less; what is older was left by one that was killed. */
const CHANGE_MS_MAX = 10_000;

export function tokensFile(setting: string, dataDir: string): string {
  return setting === '' ? join(dataDir, TOKENS_FILE_NAME) : setting;
}

/** Nothing where there is no file. @throws BackplaneError invalid_argument: one line that names the file and the place. */
export function readTokens(path: string, nowMs: number): readonly IssuedToken[] {
  let text: string;
  try {
    text = readBoundedFile(path, TOKENS_BYTES_MAX).toString('utf8');
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return [];
    throw new BackplaneError('invalid_argument', `${path} cannot be read: ${readFailure(cause)}`);
  }
  try {
    return parseTokens(text, nowMs);
  } catch (cause) {
    throw new BackplaneError('invalid_argument', `${path}: ${asBackplaneError(cause).message}`);
  }
}

/**
 * Replaces the file by what `change` makes of it, durably; nobody else changes it meanwhile. It keeps its owner and
 * mode; a new one belongs to whom its directory belongs, so that the broker can read what root has written.
 * @throws BackplaneError what `change` and readTokens throw; failed_precondition when it cannot be written.
 */
export function changeTokens<T>(
  path: string,
  nowMs: number,
  change: (known: readonly IssuedToken[]) => { readonly tokens: readonly IssuedToken[]; readonly answer: T },
): T {
  const target = existing(path);
  const temporary = `${target}.new`;
  const fd = reserve(temporary);
  try {
    const { tokens, answer } = change(readTokens(target, nowMs));
    const bytes = Buffer.from(tokensText(tokens, /\.json$/.test(target)));
    takeAfter(fd, target);
    writeAll(nodeFileOps, fd, [bytes], bytes.length, 0);
    fsyncSync(fd);
    renameSync(temporary, target);
    nodeFileOps.syncDirectoryNow(dirname(target));
    return answer;
  } catch (cause) {
    remove(temporary);
    throw cause instanceof BackplaneError ? cause : unwritable(target, cause);
  } finally {
    closeSync(fd);
  }
}

/** What a link leads to is replaced, not the link. */
function existing(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** The new file, which exists only while it is written: two changes at once would lose one of them. */
function reserve(temporary: string): number {
  for (let attempt = 0; ; attempt++) {
    try {
      return openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    } catch (cause) {
      if (systemErrorCode(cause) !== 'EEXIST') throw unwritable(temporary, cause);
      const stats = statsOf(temporary);
      if (attempt > 0 || (stats !== undefined && Date.now() - stats.mtimeMs < CHANGE_MS_MAX)) {
        throw new BackplaneError(
          'failed_precondition',
          `${temporary} exists: somebody else changes the tokens, try again`,
        );
      }
      remove(temporary);
    }
  }
}

function takeAfter(fd: number, target: string): void {
  const before = statsOf(target);
  if (before !== undefined) fchmodSync(fd, before.mode & 0o777);
  giveToOwner(fd, target);
}

function statsOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was renamed, or nobody can help it.
  }
}

function unwritable(path: string, cause: unknown): BackplaneError {
  const why = systemErrorCode(cause) ?? String(cause);
  return new BackplaneError('failed_precondition', `${path} cannot be written: ${why}`);
}
