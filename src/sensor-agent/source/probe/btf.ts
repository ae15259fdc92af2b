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
const TYPE_BYTES = 12;
const MEMBER_BYTES = 12;
const PARAMETER_BYTES = 8;
const POINTER = 2;
const STRUCT = 4;
const UNION = 5;
const CONST = 10;
const FUNCTION = 12;
const PROTOTYPE = 13;
/** What follows a type, by its kind: bytes in all, and for each that it counts. Kinds that are missing add nothing. */
const ADDED_BYTES: Readonly<Record<number, readonly [number, number]>> = {
  1: [4, 0],
  3: [12, 0],
  [STRUCT]: [0, MEMBER_BYTES],
  [UNION]: [0, MEMBER_BYTES],
  6: [0, 8],
  [PROTOTYPE]: [0, PARAMETER_BYTES],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
};
const KINDS_MAX = 19;
/** Anonymous structures and unions within each other, and pointers to pointers. */
const DEPTH_MAX = 4;

/** A kernel's description; of bytes that are none it knows nothing. */
export class KernelTypes {
  readonly #types: Buffer;
  readonly #names: Buffer;
  /** Where each type begins, by its number less one. */
  readonly #starts: number[] = [];

  constructor(bytes: Buffer) {
    const sound = bytes.length >= 24 && bytes.readUInt16LE(0) === MAGIC;
    const header = sound ? bytes.readUInt32LE(4) : 0;
    const part = (at: number) => {
      const from = header + bytes.readUInt32LE(at);
      return bytes.subarray(from, from + bytes.readUInt32LE(at + 4));
    };
    this.#types = sound ? part(8) : Buffer.alloc(0);
    this.#names = sound ? part(16) : Buffer.alloc(0);
    for (let at = 0; at + TYPE_BYTES <= this.#types.length; ) {
      const { count, kind } = this.#info(at);
      if (kind === 0 || kind > KINDS_MAX) break;
      const [once, each] = ADDED_BYTES[kind] ?? [0, 0];
      const next = at + TYPE_BYTES + once + each * count;
      if (next > this.#types.length) break;
      this.#starts.push(at);
      at = next;
    }
  }

  /**
   * The offset in bytes of a member of a structure, `linux_binprm.p`; undefined where the kernel does not say, or where
   * the member is a part of a byte.
   */
  offset(structure: string, member: string): number | undefined {
    for (const at of this.#starts) {
      if (this.#info(at).kind !== STRUCT || !this.#isNamed(at, structure)) continue;
      const bits = this.#memberBits(at, member, 0);
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
    const found = this.#starts.filter((at) => this.#info(at).kind === FUNCTION && this.#isNamed(at, name));
    const prototype = found.length === 1 ? this.#start(this.#types.readUInt32LE(found[0]! + 8)) : undefined;
    if (prototype === undefined || this.#info(prototype).kind !== PROTOTYPE) return undefined;
    return Array.from({ length: this.#info(prototype).count }, (_, index) =>
      this.#pointerText(this.#types.readUInt32LE(prototype + TYPE_BYTES + index * PARAMETER_BYTES + 4)),
    );
  }

  #pointerText(number: number): string {
    let [pointers, at] = [0, this.#start(number)];
    for (let depth = 0; at !== undefined && depth < 2 * DEPTH_MAX; depth++) {
      const { kind } = this.#info(at);
      if (kind !== POINTER && kind !== CONST) {
        return pointers === 0 ? '' : `${this.#name(at)} ${'*'.repeat(pointers)}`;
      }
      if (kind === POINTER) pointers += 1;
      at = this.#start(this.#types.readUInt32LE(at + 8));
    }
    return '';
  }

  #memberBits(structure: number, member: string, depth: number): number | undefined {
    const { count, flagged } = this.#info(structure);
    for (let index = 0; index < count; index++) {
      const at = structure + TYPE_BYTES + index * MEMBER_BYTES;
      const offset = this.#types.readUInt32LE(at + 8);
      const bits = flagged ? offset & 0xff_ffff : offset;
      if (this.#isNamed(at, member)) return bits;
      const inner = this.#isNamed(at, '') ? this.#start(this.#types.readUInt32LE(at + 4)) : undefined;
      if (inner === undefined || depth === DEPTH_MAX || ![STRUCT, UNION].includes(this.#info(inner).kind)) continue;
      const within = this.#memberBits(inner, member, depth + 1);
      if (within !== undefined) return bits + within;
    }
    return undefined;
  }

  #start(number: number): number | undefined {
    return this.#starts[number - 1];
  }

  #info(at: number): { count: number; kind: number; flagged: boolean } {
    const info = this.#types.readUInt32LE(at + 4);
    return { count: info & 0xffff, kind: (info >>> 24) & 0x1f, flagged: info >>> 31 === 1 };
  }

  /** Of a type or a member: both begin with their name. */
  #isNamed(at: number, name: string): boolean {
    const from = this.#types.readUInt32LE(at);
    if (this.#names[from + name.length] !== 0) return false;
    return this.#names.toString('latin1', from, from + name.length) === name;
  }

  #name(at: number): string {
    const from = this.#types.readUInt32LE(at);
    const end = this.#names.indexOf(0, from);
    return end < 0 ? '' : this.#names.toString('latin1', from, end);
  }
}

/** This kernel's; undefined where it does not describe itself. */
export function kernelTypes(path = PATH): KernelTypes | undefined {
  try {
    return new KernelTypes(readFileSync(path));
  } catch {
    return undefined;
  }
}
