/** The files that `certs` writes: certificates for all to read, keys for this user alone, none ever half. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { BackplaneError } from '../../errors.js';
import { ISSUED_DAYS_DEFAULT, ISSUED_DAYS_MAX } from '../../limits.js';
import { readFailure } from '../../storage/bounded-file.js';
import { giveToOwner } from '../../storage/file-owner.js';

const DAY_MS = 86_400_000;

export interface FileOptions {
  readonly dir: string;
  readonly force: boolean;
  readonly days: string;
}

/** Flags of all that write certificates. */
export function addFileOptions(command: Command): void {
  command
    .option('--dir <directory>', 'where the files are', './certs')
    .option('--days <count>', 'how long the certificate holds', String(ISSUED_DAYS_DEFAULT))
    .option('--force', 'replace files that are there', false);
}

/** @throws BackplaneError invalid_argument */
export function validMs({ days }: FileOptions): number {
  const count = /^\d{1,9}$/.test(days) ? Number(days) : 0;
  if (count >= 1 && count <= ISSUED_DAYS_MAX) return count * DAY_MS;
  throw new BackplaneError('invalid_argument', `--days must be 1 to ${ISSUED_DAYS_MAX}, got ${days.slice(0, 20)}`);
}

export interface NewFile {
  readonly name: string;
  readonly text: string;
}

/** For this user alone are those that end in .key. @throws BackplaneError already_exists before anything is written */
export function writeNewFiles({ dir, force }: FileOptions, files: readonly NewFile[]): void {
  checkAbsent(
    { dir, force },
    files.map(({ name }) => name),
  );
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    for (const { name, text } of files) writeNewFile(join(dir, name), text, name.endsWith('.key') ? 0o600 : 0o644);
  } catch (cause) {
    throw new BackplaneError('failed_precondition', `nothing can be written to ${dir}: ${readFailure(cause)}`);
  }
}

/** @throws BackplaneError already_exists */
export function checkAbsent({ dir, force }: Pick<FileOptions, 'dir' | 'force'>, names: readonly string[]): void {
  const found = names.map((name) => join(dir, name)).filter((path) => existsSync(path));
  if (found.length === 0 || force) return;
  throw new BackplaneError('already_exists', `${found.join(', ')}: there already; --force replaces what is there`);
}

/**
 * Made aside with its mode, so that no key is ever open to others, and renamed. A broker that runs as another user can
 * read what root replaces.
 */
function writeNewFile(path: string, text: string, mode: number): void {
  const aside = `${path}.new`;
  rmSync(aside, { force: true });
  const fd = openSync(aside, 'wx', mode);
  try {
    giveToOwner(fd, path);
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, path);
}
