/**
 * The file operations of storage, passed as a parameter, so that tests can drop unsynced data, fill the disk and flip
 * bits. All but the syncs of group commit are synchronous: an append is one write into the page cache.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

export interface FileOps {
  /** Flags: 'r', 'r+', 'w+' (created or emptied). */
  open(path: string, flags: 'r' | 'r+' | 'w+'): number;
  close(fd: number): void;
  /** Bytes read: fewer than asked for at the end of the file, or before a bad block. */
  read(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number;
  /** Bytes written: may be fewer than given when the disk fills up. */
  writev(fd: number, buffers: readonly Uint8Array[], position: number): number;
  truncate(fd: number, bytes: number): void;
  size(fd: number): number;
  /** When content or name were last changed, wall milliseconds with a fraction: only ever compared for equality. */
  changedMs(fd: number): number;
  /** Durable when it returns. */
  makeDirectory(path: string): void;
  /** File names, in no order. */
  list(path: string): string[];
  unlink(path: string): void;
  rename(from: string, to: string): void;
  /** fdatasync, in a thread. */
  sync(fd: number): Promise<void>;
  syncNow(fd: number): void;
  /** Makes created, renamed and removed names durable. */
  syncDirectory(path: string): Promise<void>;
  syncDirectoryNow(path: string): void;
}

const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);

const { O_RDONLY, O_RDWR, O_CREAT, O_TRUNC } = fs.constants;
const OPEN_FLAGS = { r: O_RDONLY, 'r+': O_RDWR, 'w+': O_RDWR | O_CREAT | O_TRUNC };

export const nodeFileOps: FileOps = {
  open: openRegular,
  close: (fd) => fs.closeSync(fd),
  read: (fd, buffer, offset, length, position) => fs.readSync(fd, buffer, offset, length, position),
  writev: (fd, buffers, position) => fs.writevSync(fd, buffers, position),
  truncate: (fd, bytes) => fs.ftruncateSync(fd, bytes),
  size: (fd) => fs.fstatSync(fd).size,
  changedMs: (fd) => fs.fstatSync(fd).ctimeMs,
  makeDirectory,
  list: (path) => fs.readdirSync(path),
  unlink: (path) => fs.unlinkSync(path),
  rename: (from, to) => fs.renameSync(from, to),
  sync: (fd) => fdatasync(fd),
  syncNow: (fd) => fs.fdatasyncSync(fd),
  async syncDirectory(path) {
    const fd = fs.openSync(path, 'r');
    try {
      await fsync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  syncDirectoryNow,
};

/** Opens without waiting for a pipe's other end; throws EINVAL unless it is a regular file. */
function openRegular(path: string, flags: 'r' | 'r+' | 'w+'): number {
  const fd = fs.openSync(path, OPEN_FLAGS[flags] | fs.constants.O_NONBLOCK, 0o600);
  if (fs.fstatSync(fd).isFile()) return fd;
  fs.closeSync(fd);
  throw Object.assign(new Error(`${path} must be a regular file`), { code: 'EINVAL' });
}

function syncDirectoryNow(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** `ENOSPC` and the like; undefined when the cause is not a system error. */
export function systemErrorCode(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  const code = (cause as NodeJS.ErrnoException).code;
  return typeof code === 'string' ? code : undefined;
}

/** A small file's bytes, at most bytesMax; undefined when it is missing, longer or unreadable. */
export function readSmallFile(files: FileOps, path: string, bytesMax: number): Buffer | undefined {
  let fd: number;
  try {
    fd = files.open(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const bytes = files.size(fd);
    if (bytes > bytesMax) return undefined;
    const buffer = Buffer.alloc(bytes);
    let have = 0;
    while (have < bytes) {
      const got = files.read(fd, buffer, have, bytes - have, have);
      if (got === 0) return undefined;
      have += got;
    }
    return buffer;
  } catch {
    return undefined;
  } finally {
    files.close(fd);
  }
}

/** Replaces a small file in one step: nobody ever reads half of it. The name is durable after a directory sync. */
export function writeSmallFile(files: FileOps, path: string, content: Buffer, durable: boolean): void {
  const temporary = `${path}.new`;
  const fd = files.open(temporary, 'w+');
  try {
    writeAll(files, fd, [content], content.length, 0);
    if (durable) files.syncNow(fd);
  } finally {
    files.close(fd);
  }
  files.rename(temporary, path);
}

/** The same, durable with its name when it resolves; whoever waits for the disk is a thread. */
export async function replaceSmallFile(files: FileOps, path: string, content: Buffer): Promise<void> {
  const temporary = `${path}.new`;
  const fd = files.open(temporary, 'w+');
  try {
    writeAll(files, fd, [content], content.length, 0);
    await files.sync(fd);
  } finally {
    files.close(fd);
  }
  files.rename(temporary, path);
  await files.syncDirectory(dirname(path));
}

/** Writes all of it or throws. After a short write the rest is tried, whose error gives the reason. */
export function writeAll(
  files: FileOps,
  fd: number,
  buffers: readonly Uint8Array[],
  bytes: number,
  position: number,
): void {
  let done = files.writev(fd, buffers, position);
  while (done < bytes) {
    const wrote = files.writev(fd, rest(buffers, done), position + done);
    if (wrote === 0) throw Object.assign(new Error('wrote nothing'), { code: 'ENOSPC' });
    done += wrote;
  }
}

function rest(buffers: readonly Uint8Array[], skip: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (skip < buffer.length) left.push(buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.length);
  }
  return left;
}

/**
 * Creates a directory and its parents, for its owner only, durable when it returns: synced files are lost if their
 * directory is. mkdir's own `recursive` is not used: where a parent exists and answers ENOENT all the same, as /proc
 * does, Node 20 tries for ever.
 */
export function makeDirectory(path: string): void {
  try {
    fs.mkdirSync(path, { mode: 0o700 });
    syncDirectoryNow(dirname(path));
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === 'EEXIST' && fs.statSync(path).isDirectory()) return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || fs.existsSync(parent)) throw cause;
    makeDirectory(parent);
    makeDirectory(path);
  }
}
