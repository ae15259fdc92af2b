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

/** The offset in bytes of a member of a structure, `linux_binprm.p`; undefined where the kernel does not say. */
export function kernelOffset(structure: string, member: string, path = PATH): number | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  return offsetIn(bytes, structure, member);
}

/** The same, of a description's bytes. */
export function offsetIn(bytes: Buffer, structure: string, member: string): number | undefined {
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
  return memberOffset(types, names, structure, member);
}

function memberOffset(types: Buffer, names: Buffer, structure: string, member: string): number | undefined {
  const isNamed = (at: number, name: string) =>
    names[at + name.length] === 0 && names.toString('latin1', at, at + name.length) === name;
  for (let at = 0; at + TYPE_BYTES <= types.length; ) {
    const info = types.readUInt32LE(at + 4);
    const [count, kind] = [info & 0xffff, (info >>> 24) & 0x1f];
    if (kind === 0 || kind > KINDS_MAX) return undefined;
    const [once, each] = ADDED_BYTES[kind] ?? [0, 0];
    const next = at + TYPE_BYTES + once + each * count;
    if (kind === STRUCT && next <= types.length && isNamed(types.readUInt32LE(at), structure)) {
      for (let one = at + TYPE_BYTES; one < next; one += MEMBER_BYTES) {
        if (!isNamed(types.readUInt32LE(one), member)) continue;
        const bits = types.readUInt32LE(one + 8) & (info >>> 31 ? 0xff_ffff : 0xffff_ffff);
        return (bits >>> 0) / 8;
      }
    }
    at = next;
  }
  return undefined;
}
