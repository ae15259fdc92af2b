/**
 * A log's identity and salt: chosen once, kept in the file `identity`, and repeated in every segment header, so that a
 * lost file can be restored.
 *
 *   Identity := magic "BPLOGID1" | identity u64 | salt u32 | crc32 u32 (of the 20 bytes before)
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type FileOps, readSmallFile, writeSmallFile } from './file-ops.js';
import type { LogKey } from './segment-log/format.js';

const MAGIC = Buffer.from('BPLOGID1', 'latin1');
const BYTES = 24;

export function readIdentity(files: FileOps, dir: string): LogKey | undefined {
  const bytes = readSmallFile(files, join(dir, 'identity'), BYTES);
  if (bytes?.length !== BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (crc32(bytes.subarray(0, 20)) !== bytes.readUInt32LE(20)) return undefined;
  return { identity: bytes.readBigUInt64LE(8), salt: bytes.readUInt32LE(16) };
}

/** Durable when it returns: no record may outlive the salt that its checksum starts from. */
export function writeIdentity(files: FileOps, dir: string, key: LogKey): void {
  const bytes = Buffer.alloc(BYTES);
  MAGIC.copy(bytes, 0);
  bytes.writeBigUInt64LE(key.identity, 8);
  bytes.writeUInt32LE(key.salt, 16);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 20)), 20);
  writeSmallFile(files, join(dir, 'identity'), bytes, true);
  files.syncDirectoryNow(dir);
}

export function newIdentity(): LogKey {
  const random = randomBytes(12);
  return { identity: random.readBigUInt64LE(0), salt: random.readUInt32LE(8) };
}
