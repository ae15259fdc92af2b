/**
 * Notes of where the token of each of this user's brokers is, so that commands find it from any directory: a note per
 * listening address in the user's runtime directory, which only that user can enter. An address means something only
 * within a network namespace, so that is part of the note's name. A note whose broker no longer runs is ignored. The
 * broker writes its note again if somebody removes it.
 *
 *   Directory := /run/backplane for root, else $XDG_RUNTIME_DIR/backplane; mode 0700
 *   Name      := host ":" port [ "@" inode of the network namespace ]
 *   Note      := process (see dir-lock.ts) "\n" absolute path of the token file "\n"
 *                inode of the pid namespace, or nothing "\n"
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { processName } from '../storage/dir-lock.js';
import { nodeFileOps, readSmallFile, systemErrorCode, writeSmallFile } from '../storage/file-ops.js';

const NOTE_BYTES_MAX = 8192;

type Environment = Readonly<Record<string, string | undefined>>;

/** Undefined when this user has none. */
export function runtimeDirectory(environment: Environment, uid = process.geteuid?.()): string | undefined {
  if (uid === 0) return '/run/backplane';
  const parent = environment.XDG_RUNTIME_DIR;
  return parent !== undefined && isAbsolute(parent) ? join(parent, 'backplane') : undefined;
}

export interface TokenNote {
  /** Writes the note again if it was removed. Throws as noteToken does. */
  keep(): void;
  /** Removes the note. */
  forget(): void;
}

/**
 * Notes that the broker of this process listens on `address` (host:port) and has its token in `tokenFile`. Throws where
 * the directory cannot be made or is not this user's alone.
 */
export function noteToken(dir: string, address: string, tokenFile: string): TokenNote {
  const path = join(dir, noteName(address));
  const own = processName(process.pid) ?? '';
  const write = () => {
    makePrivate(dir);
    writeSmallFile(nodeFileOps, path, Buffer.from(`${own}\n${tokenFile}\n${namespaceInode('pid')}\n`), false);
  };
  makePrivate(dir);
  removeStale(dir);
  write();
  return {
    keep: () => {
      if (!existsSync(path)) write();
    },
    // Another broker may have taken the address since.
    forget: () => {
      if (readNote(path)?.holder === own) remove(path);
    },
  };
}

function makePrivate(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EEXIST') throw cause;
  }
  if (!isPrivate(dir)) throw new Error(`${dir} is not a directory that only this user can enter`);
}

/** The token file of the broker that listens where `address` (host:port) leads; undefined when nothing is noted. */
export function notedTokenFile(dir: string, address: string): string | undefined {
  if (!isPrivate(dir)) return undefined;
  for (const listening of listeningAddresses(address)) {
    const note = readNote(join(dir, noteName(listening)));
    if (note !== undefined && isAlive(note.holder)) return note.tokenFile;
  }
  return undefined;
}

/** Whether the directory is this user's and closed to others: another user could have created it first. */
function isPrivate(dir: string): boolean {
  try {
    const stats = lstatSync(dir);
    return stats.isDirectory() && stats.uid === process.geteuid?.() && (stats.mode & 0o077) === 0;
  } catch {
    return false;
  }
}

/**
 * Addresses at which a broker reached by `address` may listen: that address, and the ones that stand for every address
 * of this machine.
 */
function listeningAddresses(address: string): readonly string[] {
  const at = address.lastIndexOf(':');
  const [host, port] = [address.slice(0, at).toLowerCase(), address.slice(at + 1)];
  const plain = host.replace(/^\[|\]$/g, '');
  const loopback = plain === 'localhost' || plain === '::1' || plain.startsWith('127.');
  if (!loopback && !isOwnHost(plain)) return [`${host}:${port}`];
  const hosts = [host, '0.0.0.0', '[::]', ...(loopback ? ['127.0.0.1', '[::1]', 'localhost'] : [])];
  return [...new Set(hosts)].map((one) => `${one}:${port}`);
}

function isOwnHost(host: string): boolean {
  if (host === hostname().toLowerCase()) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host));
}

function noteName(address: string): string {
  const inode = namespaceInode('net');
  return `${address.toLowerCase().replaceAll('/', '_')}${inode === '' ? '' : `@${inode}`}`;
}

/** The namespace of this process; empty where /proc does not say. */
function namespaceInode(kind: 'net' | 'pid'): string {
  try {
    return /\d+/.exec(readlinkSync(`/proc/self/ns/${kind}`))?.[0] ?? '';
  } catch {
    return '';
  }
}

interface Note {
  readonly holder: string;
  readonly tokenFile: string;
  /** Empty where the broker that wrote it did not know. */
  readonly pidNamespace: string;
}

function readNote(path: string): Note | undefined {
  const lines = readSmallFile(nodeFileOps, path, NOTE_BYTES_MAX)?.toString('utf8').split('\n');
  const [holder, tokenFile, pidNamespace = ''] = lines ?? [];
  if (holder === undefined || tokenFile === undefined || !isAbsolute(tokenFile)) return undefined;
  return { holder, tokenFile, pidNamespace };
}

function isAlive(holder: string): boolean {
  const pid = Number(holder.split(':')[0]);
  return Number.isInteger(pid) && pid > 0 && processName(pid) === holder;
}

/**
 * Removes notes of brokers that were killed. Nobody here can see whether a broker of another pid namespace runs, so its
 * note stays; otherwise a container would remove the host's notes. All notes stay where /proc is missing.
 */
function removeStale(dir: string): void {
  const here = namespaceInode('pid');
  if (here === '' || processName(process.pid) === undefined) return;
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    const note = readNote(path);
    const elsewhere = note !== undefined && note.pidNamespace !== '' && note.pidNamespace !== here;
    if (!elsewhere && (note === undefined || !isAlive(note.holder))) remove(path);
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process removed it already.
  }
}
