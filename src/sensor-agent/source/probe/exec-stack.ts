/**
 * The start of a process's stack as an exec leaves it (System V ABI, "Process Initialization"; the same on every 64-bit
 * Linux), of which a probe copied a fixed number of bytes:
 *
 *   Stack   := argc u64 | argv u64{argc} | 0 u64 | environment u64* | 0 u64 | (tag u64 | value u64)*
 *   Strings := argument\0{argc} | variable\0* | …      from argv[0] on, in one piece
 *
 * The environment lies behind the arguments: it is never looked at, and nothing behind the arguments is returned.
 */
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX } from '../../../limits.js';

const WORD_BYTES = 8;
/** It is an int in the kernel. In that of a 32-bit program, whose words are half as long, an address stands beside it. */
const COUNT_MAX = 0x7fff_ffffn;
/** Tags of the auxiliary vector, <linux/auxvec.h>. */
const AT_NULL = 0;
const AT_EUID = 12;

export interface ExecStack {
  /** Undefined where not one of them is whole. */
  readonly args: readonly string[] | undefined;
  /** There was more than was copied, or than `args` may hold: the last may be a part of one. */
  readonly truncated: boolean;
  /** Of the copy, as far as they are arguments. */
  readonly bytes: number;
  /** The effective user after the exec, set-uid included; undefined where the environment is too long to see it. */
  readonly uid: number | undefined;
}

/**
 * `words`: the copy from the stack's start. `strings`: the copy from where argv[0] points to. Undefined where the two do
 * not belong together: what the kernel cannot read it leaves as it was, and that may be of another process, its
 * environment too. So each argument, and behind the last one the environment, must begin where `words` say.
 */
export function readExecStack(words: Buffer, strings: Buffer): ExecStack | undefined {
  const count = words.readBigUInt64LE(0);
  if (count > COUNT_MAX) return undefined;
  const uid = effectiveUser(words, count);
  // A program may be started without any argument, not even its name: what stands there belongs to the environment.
  if (count === 0n) return { args: undefined, truncated: false, bytes: 0, uid };
  const args: string[] = [];
  const wanted = count < BigInt(ARGUMENTS_MAX) ? Number(count) : ARGUMENTS_MAX;
  const room = Math.min(strings.length, ARGUMENTS_BYTES_MAX);
  const first = words.readBigUInt64LE(WORD_BYTES);
  const pointers = Math.floor(words.length / WORD_BYTES) - 1;
  let at = 0;
  while (args.length < wanted && at < room) {
    const index = args.length;
    if (index < pointers && words.readBigUInt64LE((index + 1) * WORD_BYTES) - first !== BigInt(at)) return undefined;
    const nul = strings.indexOf(0, at);
    const end = nul < 0 || nul >= room ? room : nul;
    const text = strings.toString('utf8', at, end);
    // Cut within a character: a part of one is none.
    args.push(end === room ? text.replace(/\uFFFD$/, '') : text);
    if (end === room) return { args, truncated: true, bytes: room, uid };
    at = end + 1;
  }
  const isWhole = BigInt(args.length) === count;
  const environment =
    isWhole && args.length + 1 < pointers ? words.readBigUInt64LE((args.length + 2) * WORD_BYTES) : 0n;
  if (environment !== 0n && environment - first !== BigInt(at)) return undefined;
  return { args, truncated: !isWhole, bytes: at, uid };
}

/**
 * By halves of words, signed: a BigInt, or a number beyond 31 bits, for each word of the environment would be most of what an
 * exec leaves for collection.
 */
function effectiveUser(words: Buffer, count: bigint): number | undefined {
  const length = Math.floor(words.length / WORD_BYTES);
  if (count > BigInt(length)) return undefined;
  let at = Number(count) + 2;
  while (at < length && (low(words, at) !== 0 || high(words, at) !== 0)) at += 1;
  for (at += 1; at + 1 < length; at += 2) {
    if (high(words, at) !== 0) continue;
    if (low(words, at) === AT_NULL) return undefined;
    if (low(words, at) === AT_EUID) return low(words, at + 1) >>> 0;
  }
  return undefined;
}

function low(words: Buffer, at: number): number {
  return words.readInt32LE(at * WORD_BYTES);
}

function high(words: Buffer, at: number): number {
  return words.readInt32LE(at * WORD_BYTES + WORD_BYTES / 2);
}
