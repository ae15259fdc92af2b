/**
 * Reads settings and state files whole. A user may name any path: a device has no end, and reading a pipe without a
 * writer would block for ever.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { BackplaneError } from '../errors.js';
import { systemErrorCode } from './file-ops.js';

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a directory',
};

/** Why a file could not be opened or read, in words; the error's code or text where there are none. */
export function readFailure(cause: unknown): string {
  if (cause instanceof BackplaneError) return cause.message;
  const code = systemErrorCode(cause);
  return READ_FAILURES[code ?? ''] ?? code ?? (cause instanceof Error ? cause.message : String(cause));
}

/**
 * The file's bytes. Opening never blocks, and at most `bytesMax` and one byte are read.
 * @throws BackplaneError invalid_argument: no regular file, or longer than `bytesMax`
 * @throws the system's error, for example ENOENT
 */
export function readBoundedFile(path: string, bytesMax: number): Buffer {
  // Checked before opening as well, because opening some devices has an effect.
  checkRegular(path, statSync(path));
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const stats = fstatSync(fd);
    checkRegular(path, stats);
    if (stats.size > bytesMax) throw tooLong(path, bytesMax, String(stats.size));
    return readUpTo(fd, path, bytesMax, stats.size);
  } finally {
    closeSync(fd);
  }
}

/** Reads to the end, not to the stated size: files of /proc state 0 bytes, and other files may grow meanwhile. */
function readUpTo(fd: number, path: string, bytesMax: number, bytesLikely: number): Buffer {
  let buffer = Buffer.alloc(Math.min(bytesMax, Math.max(bytesLikely, 4096)) + 1);
  let length = 0;
  for (;;) {
    const got = readSync(fd, buffer, length, buffer.length - length, length);
    if (got === 0) return buffer.subarray(0, length);
    length += got;
    if (length > bytesMax) throw tooLong(path, bytesMax, 'longer');
    if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(bytesMax, 2 * length) + 1);
  }
}

function checkRegular(path: string, stats: Stats): void {
  if (!stats.isFile())
    throw new BackplaneError('invalid_argument', `${path} must be a regular file, is ${kind(stats)}`);
}

function tooLong(path: string, bytesMax: number, bytes: string): BackplaneError {
  return new BackplaneError('invalid_argument', `${path} must be at most ${bytesMax} bytes, is ${bytes}`);
}

function kind(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a pipe';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}
