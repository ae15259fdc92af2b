/**
 * Where something is mounted, as a probe fetches it from a `struct path *` that a function is handed. The kernel has no
 * text of it, but the entries that it has found: an entry of a directory, its parent, and so on to the root of its
 * mount, and from the entry on which that is mounted further up, until a mount is its own parent. So the links are
 * followed and nobody can exchange the text meanwhile (timeline/calls/mounted-place.ts puts it together).
 *
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

/** Undefined where the kernel does not say how its structures look. `register` has the path's address. */
export function placeFetch(types: KernelTypes, register: string): string | undefined {
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
  ];
  if (offsets.some((offset) => offset === undefined)) return undefined;
  const [mnt, dentry, root, inMount, above, mountpoint, parent, name, text] = offsets as number[];
  // A path has the address of the part of a mount that others may see.
  const seen = at(mnt!, register);
  const first = at(above! - inMount!, seen);
  const fetches = NAMES.flatMap((count, mount) => {
    const place = repeated(mount - 1, first, (below) => at(above!, below));
    const before = repeated(mount - 2, first, (below) => at(above!, below));
    const within = mount === 0 ? seen : place;
    const start = [at(dentry!, register), at(mountpoint! - inMount!, seen)][mount] ?? at(mountpoint!, before);
    const entries = Array.from({ length: count + 1 }, (_, up) => repeated(up, start, (below) => at(parent!, below)));
    return [
      `r${mount}=${at(root! + (mount === 0 ? 0 : inMount!), within)}:x64`,
      `m${mount + 1}=${repeated(mount, first, (below) => at(above!, below))}:x64`,
      ...entries.map((entry, up) => `d${mount}_${up}=${entry}:x64`),
      ...entries.slice(0, count).map((entry, up) => `n${mount}_${up}=${at(0, at(name! + text!, entry))}:string`),
    ];
  });
  // What is further up in a mount has longer fetches: a place that needs one of those left out is not told.
  return fetches.filter((fetch) => fetch.length - fetch.indexOf('=') - 1 <= FETCH_CHARACTERS_MAX).join(' ');
}

/** What stands at an offset from an address. */
function at(offset: number, address: string): string {
  return `${offset < 0 ? '-' : '+'}${Math.abs(offset)}(${address})`;
}

function repeated(times: number, start: string, step: (address: string) => string): string {
  return times <= 0 ? start : repeated(times - 1, step(start), step);
}
