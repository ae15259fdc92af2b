/**
 * What an exec lane thread writes of one exec: /proc's own bytes, because its
 * time is dear and the main thread's is not.
 *
 *   Entry := lane u16 | superseded u8 | deleted u8 | pid u32 | timeNs u64 | uid i32 | parentPid u32 (0: unknown)
 *            | loginUid f64 | tty f64 (-1: unknown) | Part{5}
 *   Part  := length u16 (ABSENT: could not be read) | bytes
 *   The parts: filename, cmdline, exe, cwd, cgroup.
 */
import { ARGUMENTS_BYTES_MAX, EVENT_STRING_BYTES_MAX } from '../../../limits.js';

export interface ExecEvent {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly pid: number;
  /** The path as it was given to execve: may be relative, a link or a script. */
  readonly filename: string;
  /** A later exec of the same pid is known already. */
  readonly superseded: boolean;
}

/** Absent parts could not be read: the process was gone, or this agent may not read them. */
export interface ExecEntry extends ExecEvent {
  readonly uid: number | undefined;
  readonly parentPid: number | undefined;
  /** 4294967295 is nobody's. */
  readonly loginUid: number | undefined;
  /** As `stat` has its number. */
  readonly tty: number | undefined;
  /** Nothing led to `exe` any more. */
  readonly deleted: boolean;
  readonly cmdline: Buffer | undefined;
  readonly exe: Buffer | undefined;
  readonly cwd: Buffer | undefined;
  readonly cgroup: Buffer | undefined;
}

const HEAD_BYTES = 40;
const ABSENT = 0xffff;
/** Of uid, loginUid and tty. */
const UNKNOWN = -1;
const PARTS = 5;

export const EXEC_ENTRY_BYTES_MAX = HEAD_BYTES + PARTS * 2 + ARGUMENTS_BYTES_MAX + 4 * EVENT_STRING_BYTES_MAX;

/** Writes an entry part by part; the parts must come in their order. */
export class ExecEntryWriter {
  #into: Buffer = Buffer.alloc(0);
  #at = 0;

  /** `into` has room for EXEC_ENTRY_BYTES_MAX. */
  begin(into: Buffer, event: ExecEvent): void {
    into.writeUInt16LE(event.lane, 0);
    into.writeUInt16LE(event.superseded ? 1 : 0, 2);
    into.writeUInt32LE(event.pid, 4);
    into.writeBigUInt64LE(event.timeNs, 8);
    into.writeInt32LE(UNKNOWN, 16);
    into.writeUInt32LE(0, 20);
    into.writeDoubleLE(UNKNOWN, 24);
    into.writeDoubleLE(UNKNOWN, 32);
    this.#into = into;
    this.#at = HEAD_BYTES;
    this.text(event.filename);
  }

  uid(uid: number): void {
    // 4294967295 is (uid_t) -1: nobody has it.
    this.#into.writeInt32LE(uid | 0, 16);
  }

  deleted(): void {
    this.#into[3] = 1;
  }

  parentPid(pid: number): void {
    this.#into.writeUInt32LE(pid, 20);
  }

  loginUid(uid: number): void {
    this.#into.writeDoubleLE(uid, 24);
  }

  tty(device: number): void {
    this.#into.writeDoubleLE(device, 32);
  }

  /** The next part: `length` of `bytes`, or undefined. */
  part(bytes: Uint8Array | undefined, length: number = bytes?.length ?? 0): void {
    this.#into.writeUInt16LE(bytes === undefined ? ABSENT : length, this.#at);
    this.#at += 2;
    if (bytes === undefined) return;
    this.#into.set(bytes.length === length ? bytes : bytes.subarray(0, length), this.#at);
    this.#at += length;
  }

  /** The next part, cut to EVENT_STRING_BYTES_MAX bytes of UTF-8. */
  text(text: string): void {
    const length = this.#into.write(text, this.#at + 2, EVENT_STRING_BYTES_MAX, 'utf8');
    this.#into.writeUInt16LE(length, this.#at);
    this.#at += 2 + length;
  }

  /** The entry's length. */
  end(): number {
    return this.#at;
  }
}

/** Reads an entry. Its parts are views of `entry`, so copy those that are kept. */
export function readExecEntry(entry: Buffer): ExecEntry {
  let at = HEAD_BYTES;
  const part = (): Buffer | undefined => {
    const length = entry.readUInt16LE(at);
    at += 2;
    if (length === ABSENT) return undefined;
    at += length;
    return entry.subarray(at - length, at);
  };
  const uid = entry.readInt32LE(16);
  const [loginUid, tty] = [entry.readDoubleLE(24), entry.readDoubleLE(32)];
  return {
    lane: entry.readUInt16LE(0),
    superseded: entry[2] === 1,
    deleted: entry[3] === 1,
    pid: entry.readUInt32LE(4),
    timeNs: entry.readBigUInt64LE(8),
    uid: uid === UNKNOWN ? undefined : uid >>> 0,
    parentPid: entry.readUInt32LE(20) || undefined,
    loginUid: loginUid === UNKNOWN ? undefined : loginUid,
    tty: tty === UNKNOWN ? undefined : tty,
    filename: part()?.toString() ?? '',
    cmdline: part(),
    exe: part(),
    cwd: part(),
    cgroup: part(),
  };
}
