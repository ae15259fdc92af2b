/**
 * What the kernel's functions are handed and where its structures have their members, which differs from kernel to
 * kernel, and which the kernel itself describes in /sys/kernel/btf/vmlinux (Documentation/bpf/btf.rst):
 *
 *   Header := 0xeB9F u16 | version u8 | flags u8 | header's bytes u32 | (types' offset, bytes | names' offset, bytes) u32
 *   Type   := name u32 | info u32 (count 0–15, kind 24–28, kind_flag 31) | size or type u32 | what its kind adds
 *   Member := name u32 | type u32 | offset u32, in bits; with kind_flag in the lower 24
 *   Parameter := name u32 | type u32
 *
 * A type is named by its number: the first is 1, and 0 is void.
 */
import { readFileSync } from 'node:fs';

const PATH = '/sys/kernel/btf/vmlinux';
const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_WORDS = 3;
const MEMBER_WORDS = 3;
const PARAMETER_WORDS = 2;
const POINTER = 2;
const STRUCT = 4;
const UNION = 5;
const CONST = 10;
const FUNCTION = 12;
const PROTOTYPE = 13;
/** What follows a type, by its kind: words in all, and for each that it counts. Kinds that are missing add nothing. */
const ADDED_WORDS: Readonly<Record<number, readonly [number, number]>> = {
  1: [1, 0],
  3: [3, 0],
  [STRUCT]: [0, MEMBER_WORDS],
  [UNION]: [0, MEMBER_WORDS],
  6: [0, 2],
  [PROTOTYPE]: [0, PARAMETER_WORDS],
  14: [1, 0],
  15: [0, 3],
  17: [1, 0],
  19: [0, 3],
};
const KINDS_MAX = 19;
/** Anonymous structures and unions within each other, and pointers to pointers. */
const DEPTH_MAX = 4;

/** A kernel's description; of bytes that are none it knows nothing. */
export class KernelTypes {
  readonly #words: Uint32Array;
  readonly #names: Buffer;
  /** Where each type begins among the words, by its number less one. */
  readonly #starts: number[] = [];

  constructor(bytes: Buffer) {
    const sound = bytes.length >= HEADER_BYTES && bytes.readUInt16LE(0) === MAGIC;
    const part = (at: number) => {
      const from = sound ? bytes.readUInt32LE(4) + bytes.readUInt32LE(at) : 0;
      return bytes.subarray(from, sound ? from + bytes.readUInt32LE(at + 4) : 0);
    };
    // A copy begins where words may.
    this.#words = new Uint32Array(new Uint8Array(part(8)).buffer, 0, part(8).length >>> 2);
    this.#names = part(16);
    for (let at = 0; at + TYPE_WORDS <= this.#words.length; ) {
      const { count, kind } = this.#info(at);
      if (kind === 0 || kind > KINDS_MAX) break;
      const [once, each] = ADDED_WORDS[kind] ?? [0, 0];
      const next = at + TYPE_WORDS + once + each * count;
      if (next > this.#words.length) break;
      this.#starts.push(at);
      at = next;
    }
  }

  /**
   * The offset in bytes of a member of a structure, `linux_binprm.p`; undefined where the kernel does not say, or where
   * the member is a part of a byte.
   */
  offset(structure: string, member: string): number | undefined {
    const name = this.#nameAt(member);
    if (name === undefined) return undefined;
    for (const at of this.#called(structure, STRUCT)) {
      const bits = this.#memberBits(at, name, 0);
      if (bits !== undefined) return bits % 8 === 0 ? bits / 8 : undefined;
    }
    return undefined;
  }

  /** Those of several, `structure.member`; undefined where the kernel does not say all of them. */
  offsets(members: readonly `${string}.${string}`[]): number[] | undefined {
    const found = members.map((member) => this.offset(...(member.split('.') as [string, string])));
    return found.every((offset) => offset !== undefined) ? found : undefined;
  }

  /**
   * What a function is handed, in order: `path *` for a pointer to a structure, `char *` for one to text, '' for
   * anything else. Undefined where the kernel has no such function, or more than one.
   */
  parameters(name: string): readonly string[] | undefined {
    const found = this.#called(name, FUNCTION);
    const prototype = found.length === 1 ? this.#start(this.#words[found[0]! + 2]!) : undefined;
    if (prototype === undefined || this.#info(prototype).kind !== PROTOTYPE) return undefined;
    return Array.from({ length: this.#info(prototype).count }, (_, index) =>
      this.#pointerText(this.#words[prototype + TYPE_WORDS + index * PARAMETER_WORDS + 1]!),
    );
  }

  #called(name: string, kind: number): readonly number[] {
    const nameAt = this.#nameAt(name);
    if (nameAt === undefined) return [];
    return this.#starts.filter((at) => this.#words[at] === nameAt && this.#info(at).kind === kind);
  }

  /** Each name stands there once. */
  #nameAt(name: string): number | undefined {
    const at = this.#names.indexOf(`\0${name}\0`, 0, 'latin1');
    return at < 0 ? undefined : at + 1;
  }

  #pointerText(number: number): string {
    let [pointers, at] = [0, this.#start(number)];
    for (let depth = 0; at !== undefined && depth < 2 * DEPTH_MAX; depth++) {
      const { kind } = this.#info(at);
      if (kind !== POINTER && kind !== CONST) {
        return pointers === 0 ? '' : `${this.#name(at)} ${'*'.repeat(pointers)}`;
      }
      if (kind === POINTER) pointers += 1;
      at = this.#start(this.#words[at + 2]!);
    }
    return '';
  }

  #memberBits(structure: number, name: number, depth: number): number | undefined {
    const { count, flagged } = this.#info(structure);
    for (let index = 0; index < count; index++) {
      const at = structure + TYPE_WORDS + index * MEMBER_WORDS;
      const offset = this.#words[at + 2]!;
      const bits = flagged ? offset & 0xff_ffff : offset;
      if (this.#words[at] === name) return bits;
      const inner = this.#words[at] === 0 ? this.#start(this.#words[at + 1]!) : undefined;
      if (inner === undefined || depth === DEPTH_MAX || ![STRUCT, UNION].includes(this.#info(inner).kind)) continue;
      const within = this.#memberBits(inner, name, depth + 1);
      if (within !== undefined) return bits + within;
    }
    return undefined;
  }

  #start(number: number): number | undefined {
    return this.#starts[number - 1];
  }

  #info(at: number): { count: number; kind: number; flagged: boolean } {
    const info = this.#words[at + 1]!;
    return { count: info & 0xffff, kind: (info >>> 24) & 0x1f, flagged: info >>> 31 === 1 };
  }

  #name(at: number): string {
    const from = this.#words[at]!;
    const end = this.#names.indexOf(0, from);
    return end < 0 ? '' : this.#names.toString('latin1', from, end);
  }
}

/** How long a description is kept: it is some megabytes, takes a tenth of a second to read, and is asked for at starts. */
const KEPT_MS = 5_000;
const kept = new Map<string, KernelTypes>();

/** This kernel's; undefined where it does not describe itself. */
export function kernelTypes(path = PATH): KernelTypes | undefined {
  try {
    const types = kept.get(path) ?? new KernelTypes(readFileSync(path));
    if (!kept.has(path)) setTimeout(() => kept.delete(path), KEPT_MS).unref();
    kept.set(path, types);
    return types;
  } catch {
    return undefined;
  }
}
