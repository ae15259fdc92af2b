/** Small files of a log are sealed: a magic of eight bytes first, and last a CRC-32 of all bytes before it. */
import { crc32 } from 'node:zlib';

/** Bytes of the checksum at the end. */
const SUM_BYTES = 4;

/** Writes magic and checksum into their places, around the contents, and returns the same buffer. */
export function seal(bytes: Buffer, magic: Buffer): Buffer {
  magic.copy(bytes, 0);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -SUM_BYTES)), bytes.length - SUM_BYTES);
  return bytes;
}

export function isSealed(bytes: Buffer, magic: Buffer): boolean {
  if (bytes.length < magic.length + SUM_BYTES || !bytes.subarray(0, magic.length).equals(magic)) return false;
  return crc32(bytes.subarray(0, -SUM_BYTES)) === bytes.readUInt32LE(bytes.length - SUM_BYTES);
}
