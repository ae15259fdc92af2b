/**
 * Where something is mounted, or a file is, as a probe fetches it from a `struct path` that a function is handed. The
 * kernel has no text of it, but the entries that it has found: an entry of a directory, its parent, and so on to the root
 * of its mount, and from the entry on which that is mounted further up, until a mount is its own parent. So the links are
 * followed and nobody can exchange the text meanwhile (mounted-place.ts puts it together).
 *
 *   space     the mount namespace that the first mount is in, by address: 0, or an error's number, where it is in none
 *   number    that namespace's number, as /proc/PID/ns/mnt has it
 *   m1 …      the mounts above the first, by address: the last one twice
 *   r0 …      each mount's root entry, by address
 *   d0_0 …    entries from the place upwards, by address, for each mount; behind the last one's only its root can come
 *   n0_0 …    their names
 */
import { FETCH_CHARACTERS_MAX } from '../../../limits.js';
import type { KernelTypes } from '../probe/btf.js';

/**
 * Names that are fetched of each mount, the place's own first: a definition has at most 4,094 characters. The last mount is
 * what the machine was started from, below its real root.
 */
const NAMES: readonly number[] = [9, 8, 6, 5, 2, 0];

/**
 * Undefined where the kernel does not say how its structures look. `register` has the address of the path, or of a
 * structure that holds one as a member, `within`.
 */
export function placeFetch(
  types: KernelTypes,
  register: string,
  within?: readonly [structure: string, member: string],
): string | undefined {
  const base = within === undefined ? 0 : types.offset(...within);
  const offsets = [
    types.offset('path', 'mnt'),
    types.offset('path', 'dentry'),
    types.offset('vfsmount', 'mnt_root'),
    types.offset('mount', 'mnt'),
    types.offset('mount', 'mnt_parent'),
    types.offset('mount', 'mnt_mountpoint'),
    types.offset('dentry', 'd_parent'),
    types.offset('dentry', 'd_name'),
    types.offset('qstr', 'name'),
    types.offset('mount', 'mnt_ns'),
    types.offset('mnt_namespace', 'ns'),
    types.offset('ns_common', 'inum'),
  ];
  if (base === undefined || offsets.some((offset) => offset === undefined)) return undefined;
  const [mnt, dentry, root, inMount, above, mountpoint, parent, name, text, space, ns, number] = offsets as number[];
  // A path has the address of the part of a mount that others may see.
  const seen = at(base + mnt!, register);
  const first = at(above! - inMount!, seen);
  const namespace = at(space! - inMount!, seen);
  const places = NAMES.flatMap((count, mount) => {
    const place = repeated(mount - 1, first, (below) => at(above!, below));
    const before = repeated(mount - 2, first, (below) => at(above!, below));
    const holder = mount === 0 ? seen : place;
    const start = [at(base + dentry!, register), at(mountpoint! - inMount!, seen)][mount] ?? at(mountpoint!, before);
    const entries = Array.from({ length: count + 1 }, (_, up) => repeated(up, start, (below) => at(parent!, below)));
    return [
      `r${mount}=${at(root! + (mount === 0 ? 0 : inMount!), holder)}:x64`,
      `m${mount + 1}=${repeated(mount, first, (below) => at(above!, below))}:x64`,
      ...entries.map((entry, up) => `d${mount}_${up}=${entry}:x64`),
      ...entries.slice(0, count).map((entry, up) => `n${mount}_${up}=${at(0, at(name! + text!, entry))}:string`),
    ];
  });
  // What is further up in a mount has longer fetches: a place that needs one of those left out is not told.
  const fetches = [`space=${namespace}:x64`, `number=${at(ns! + number!, namespace)}:u32`, ...places];
  return fetches.filter((fetch) => fetch.length - fetch.indexOf('=') - 1 <= FETCH_CHARACTERS_MAX).join(' ');
}

/** What stands at an offset from an address. */
function at(offset: number, address: string): string {
  return `${offset < 0 ? '-' : '+'}${Math.abs(offset)}(${address})`;
}

function repeated(times: number, start: string, step: (address: string) => string): string {
  return times <= 0 ? start : repeated(times - 1, step(start), step);
}
