/**
 * What an executable file says of how it starts: read from its ELF header and program headers alone (System V ABI,
 * "Object Files"). Nothing in a file is trusted: whoever made it may want to be read wrongly.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type Place, pathOf } from '../places.js';

const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
/** Linkers and compilers write some ten. */
const PROGRAM_HEADERS_MAX = 64;
const INTERPRETER_BYTES_MAX = 1_024;

const MAGIC = 0x7f454c46;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PF_X = 1;

/** An executable or a shared object for 64-bit little-endian machines. */
export interface Executable {
  /** Both together identify the file while it exists. */
  readonly device: bigint;
  readonly inode: bigint;
  /** Of an overlay the same for each of those that show one file. */
  readonly changedNs: bigint;
  /** Only root may write to it. */
  readonly isRoots: boolean;
  /** The machine it is for, by ELF's number: 62 is x86-64, 183 arm64. */
  readonly machine: number;
  /** Where in the file its first instruction lies. */
  readonly entryOffset: number;
  /** The dynamic linker that starts it, as its own root has it; undefined where it starts by itself. */
  readonly interpreter: string | undefined;
}

/**
 * What the file at a place says. Undefined where it is no regular file, which is not even opened, as that may block or do
 * something; or no 64-bit ELF file with an entry.
 */
export function readExecutable(place: Place): Executable | undefined {
  let fd = -1;
  try {
    // Inodes of overlays may be beyond what a number holds.
    const { dev: device, ino: inode, ctimeNs: changedNs, uid, mode: bits } = fstatSync(place.fd, { bigint: true });
    const mode = Number(bits);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) return undefined;
    fd = openSync(pathOf(place), 'r');
    const found = parse((at, bytes) => {
      const buffer = Buffer.alloc(bytes);
      return buffer.subarray(0, readSync(fd, buffer, 0, bytes, at));
    });
    const isRoots = uid === 0n && (mode & (constants.S_IWGRP | constants.S_IWOTH)) === 0;
    return found && { device, inode, changedNs, isRoots, ...found };
  } catch {
    return undefined;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function parse(
  read: (at: number, bytes: number) => Buffer,
): Omit<Executable, 'device' | 'inode' | 'changedNs' | 'isRoots'> | undefined {
  const header = read(0, HEADER_BYTES);
  if (header.length < HEADER_BYTES || header.readUInt32BE(0) !== MAGIC) return undefined;
  if (header[4] !== CLASS_64 || header[5] !== LITTLE_ENDIAN) return undefined;
  const machine = header.readUInt16LE(18);
  const entry = header.readBigUInt64LE(24);
  const tableAt = Number(header.readBigUInt64LE(32));
  const count = Math.min(header.readUInt16LE(56), PROGRAM_HEADERS_MAX);
  if (header.readUInt16LE(54) !== PROGRAM_HEADER_BYTES || !Number.isSafeInteger(tableAt)) return undefined;
  const table = read(tableAt, count * PROGRAM_HEADER_BYTES);
  let entryOffset: number | undefined;
  let interpreter: string | undefined;
  for (let at = 0; at + PROGRAM_HEADER_BYTES <= table.length; at += PROGRAM_HEADER_BYTES) {
    const type = table.readUInt32LE(at);
    const offset = table.readBigUInt64LE(at + 8);
    const address = table.readBigUInt64LE(at + 16);
    const bytes = table.readBigUInt64LE(at + 32);
    if (type === PT_LOAD && (table.readUInt32LE(at + 4) & PF_X) !== 0 && entry >= address && entry - address < bytes)
      entryOffset = Number(entry - address + offset);
    if (type === PT_INTERP && bytes <= BigInt(INTERPRETER_BYTES_MAX))
      interpreter = read(Number(offset), Number(bytes)).toString('utf8').replace(/\0.*$/s, '');
  }
  if (entryOffset === undefined || !Number.isSafeInteger(entryOffset)) return undefined;
  return { machine, entryOffset, interpreter };
}
