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

/** How deep unnamed structures are looked through, as they have no names but their members' own. */
const UNNAMED_DEPTH_MAX = 4;

/** The offset in bytes of a member of a structure, `linux_binprm.p`; undefined where the kernel does not say. */
export function kernelOffset(structure: string, member: string, path = PATH): number | undefined {
  return KernelTypes.read(path)?.offset(structure, member);
}

/** A description, read once for several questions. */
export class KernelTypes {
  readonly #types: Buffer;
  readonly #names: Buffer;
  /** Where each type begins, by its id; the first has the id 1. */
  readonly #begins: number[] = [0];

  /** Undefined where the kernel does not describe itself. */
  static read(path = PATH): KernelTypes | undefined {
    try {
      return KernelTypes.parse(readFileSync(path));
    } catch {
      return undefined;
    }
  }

  /** Undefined for what is no description. */
  static parse(bytes: Buffer): KernelTypes | undefined {
    if (bytes.length < 24 || bytes.readUInt16LE(0) !== MAGIC) return undefined;
    const header = bytes.readUInt32LE(4);
    const [typesAt, typesBytes, namesAt, namesBytes] = [8, 12, 16, 20].map((at) => bytes.readUInt32LE(at)) as [
      number,
      number,
      number,
      number,
    ];
    const types = bytes.subarray(header + typesAt, header + typesAt + typesBytes);
    return new KernelTypes(types, bytes.subarray(header + namesAt, header + namesAt + namesBytes));
  }

  private constructor(types: Buffer, names: Buffer) {
    this.#types = types;
    this.#names = names;
    for (let at = 0; at + TYPE_BYTES <= types.length; ) {
      const { kind, next } = this.#type(at);
      if (kind === 0 || kind > KINDS_MAX || next > types.length) return;
      this.#begins.push(at);
      at = next;
    }
  }

  /** In bytes; undefined where it is not said. */
  offset(structure: string, member: string): number | undefined {
    const at = this.#begins.find(
      (begin, id) =>
        id > 0 && this.#type(begin).kind === STRUCT && this.#isNamed(this.#types.readUInt32LE(begin), structure),
    );
    const bits = at === undefined ? undefined : this.#memberBits(at, member, 0);
    return bits === undefined ? undefined : bits / 8;
  }

  #memberBits(at: number, member: string, depth: number): number | undefined {
    const { kind, named, members, next } = this.#type(at);
    if (kind !== STRUCT && kind !== UNION) return undefined;
    for (let one = members; one < next; one += MEMBER_BYTES) {
      const [name, type, offset] = [0, 4, 8].map((each) => this.#types.readUInt32LE(one + each)) as [
        number,
        number,
        number,
      ];
      const bits = named ? offset & 0xff_ffff : offset;
      if (this.#isNamed(name, member)) return bits;
      const inner = this.#isNamed(name, '') && depth < UNNAMED_DEPTH_MAX ? this.#begins[type] : undefined;
      const within = inner === undefined || type === 0 ? undefined : this.#memberBits(inner, member, depth + 1);
      if (within !== undefined) return bits + within;
    }
    return undefined;
  }

  #type(at: number): {
    readonly kind: number;
    readonly named: boolean;
    readonly members: number;
    readonly next: number;
  } {
    const info = this.#types.readUInt32LE(at + 4);
    const [count, kind] = [info & 0xffff, (info >>> 24) & 0x1f];
    const [once, each] = ADDED_BYTES[kind] ?? [0, 0];
    const members = at + TYPE_BYTES + once;
    return { kind, named: info >>> 31 === 1, members, next: members + each * count };
  }

  #isNamed(at: number, name: string): boolean {
    const names = this.#names;
    return names[at + name.length] === 0 && names.toString('latin1', at, at + name.length) === name;
  }
}
