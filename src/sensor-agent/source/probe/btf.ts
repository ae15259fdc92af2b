/**
 * Where the kernel's structures have their members, which differs from kernel to kernel, and which the kernel itself
 * describes in /sys/kernel/btf/vmlinux (Documentation/bpf/btf.rst):
 *
 *   Header := 0xeB9F u16 | version u8 | flags u8 | header's bytes u32 | (types' offset, bytes | names' offset, bytes) u32
 *   Type   := name u32 | info u32 (count 0–15, kind 24–28, kind_flag 31) | size or type u32 | what its kind adds
 *   Member := name u32 | type u32 | offset u32, in bits; with kind_flag in the lower 24
 */
import { readFileSync } from 'node:fs';

const PATH = '/sys/kernel/btf/vmlinux';
const MAGIC = 0xeb9f;
const TYPE_BYTES = 12;
const MEMBER_BYTES = 12;
const STRUCT = 4;
const UNION = 5;
/** What follows a type, by its kind: bytes in all, and for each that it counts. Kinds that are missing add nothing. */
const ADDED_BYTES: Readonly<Record<number, readonly [number, number]>> = {
  1: [4, 0],
  3: [12, 0],
  [STRUCT]: [0, MEMBER_BYTES],
  [UNION]: [0, MEMBER_BYTES],
  6: [0, 8],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
};
const KINDS_MAX = 19;
const ONCE_BYTES = Array.from({ length: KINDS_MAX + 1 }, (_, kind) => ADDED_BYTES[kind]?.[0] ?? 0);
const EACH_BYTES = Array.from({ length: KINDS_MAX + 1 }, (_, kind) => ADDED_BYTES[kind]?.[1] ?? 0);
const UNNAMED = Buffer.of(0);

/** Unnamed structures within each other, at most: no kernel has as many. */
const NESTED_MAX = 8;

/** `structure.member`. */
export type KernelMember = `${string}.${string}`;

/** The offset in bytes of a member of a structure; undefined where the kernel does not say. */
export function kernelOffset(structure: string, member: string, path = PATH): number | undefined {
  return kernelOffsets([`${structure}.${member}`], path)?.[0];
}

/**
 * The offsets in bytes of members of structures, `linux_binprm.p`, also of those within unnamed structures or unions in
 * them; undefined where the kernel does not say all of them, or where one is a part of a byte.
 */
export function kernelOffsets(members: readonly KernelMember[], path = PATH): number[] | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  return offsetsIn(bytes, members);
}

/** The same, of a description's bytes. */
export function offsetsIn(bytes: Buffer, members: readonly KernelMember[]): number[] | undefined {
  if (bytes.length < 24 || bytes.readUInt16LE(0) !== MAGIC) return undefined;
  const header = bytes.readUInt32LE(4);
  const [typesAt, typesBytes, namesAt, namesBytes] = [8, 12, 16, 20].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const types = bytes.subarray(header + typesAt, header + typesAt + typesBytes);
  const names = bytes.subarray(header + namesAt, header + namesAt + namesBytes);
  const all = new Types(types, names);
  const offsets = members.map((member) => all.offset(...(member.split('.') as [string, string])));
  return offsets.every((offset) => offset !== undefined) ? offsets : undefined;
}

/** There are some hundred thousand: they are walked once, and looked at where they lie. */
class Types {
  readonly #types: Buffer;
  readonly #names: Buffer;
  /** By a type's number less 1: where it begins. */
  readonly #starts: Uint32Array;
  readonly #structures = new Map<string, readonly number[]>();

  constructor(types: Buffer, names: Buffer) {
    this.#types = types;
    this.#names = names;
    const starts = new Uint32Array(Math.floor(types.length / TYPE_BYTES));
    let count = 0;
    for (let at = 0; at + TYPE_BYTES <= types.length; ) {
      const info = types.readUInt32LE(at + 4);
      const kind = kindOf(info);
      if (kind === 0 || kind > KINDS_MAX) break;
      const next = at + TYPE_BYTES + ONCE_BYTES[kind]! + EACH_BYTES[kind]! * (info & 0xffff);
      if (next > types.length) break;
      starts[count++] = at;
      at = next;
    }
    this.#starts = starts.subarray(0, count);
  }

  offset(structure: string, member: string): number | undefined {
    const within = Buffer.from(`${member}\0`, 'latin1');
    for (const at of this.#named(structure)) {
      const bits = this.#bitsOf(at, within, NESTED_MAX);
      if (bits !== undefined) return bits % 8 === 0 ? bits / 8 : undefined;
    }
    return undefined;
  }

  /** Where structures of that name begin. */
  #named(structure: string): readonly number[] {
    const known = this.#structures.get(structure);
    if (known) return known;
    const types = this.#types;
    const name = Buffer.from(`${structure}\0`, 'latin1');
    const found: number[] = [];
    for (const at of this.#starts)
      if (kindOf(types.readUInt32LE(at + 4)) === STRUCT && this.#isNamed(at, name)) found.push(at);
    this.#structures.set(structure, found);
    return found;
  }

  #bitsOf(at: number, member: Buffer, nested: number): number | undefined {
    const types = this.#types;
    const info = types.readUInt32LE(at + 4);
    const end = at + TYPE_BYTES + MEMBER_BYTES * (info & 0xffff);
    for (let one = at + TYPE_BYTES; one < end; one += MEMBER_BYTES) {
      const bits = (types.readUInt32LE(one + 8) & (info >>> 31 ? 0xff_ffff : 0xffff_ffff)) >>> 0;
      if (this.#isNamed(one, member)) return bits;
      const inner = this.#isNamed(one, UNNAMED) ? this.#starts[types.readUInt32LE(one + 4) - 1] : undefined;
      if (inner === undefined || nested === 0) continue;
      const kind = kindOf(types.readUInt32LE(inner + 4));
      const found = kind === STRUCT || kind === UNION ? this.#bitsOf(inner, member, nested - 1) : undefined;
      if (found !== undefined) return bits + found;
    }
    return undefined;
  }

  /** `name` ends with its NUL. The name's place stands first in types and members alike. */
  #isNamed(at: number, name: Buffer): boolean {
    const from = this.#types.readUInt32LE(at);
    const names = this.#names;
    for (let index = 0; index < name.length; index += 1) if (names[from + index] !== name[index]) return false;
    return true;
  }
}

function kindOf(info: number): number {
  return (info >>> 24) & 0x1f;
}
