/**
 * Where a file is, of functions that are handed its `struct path`: a directory entry, and the mount that it was reached
 * by. The kernel has no text of it, so a probe copies the names from the entry upwards, of that mount, of the mount that
 * it is mounted on, and so on:
 *
 *   mountK  the mount's address; of the first its vfsmount's, which lies `inside` the mount
 *   rootK   the directory entry that is the mount's root, where its names end
 *   entryK_I, nameK_I   the entry, and those above it, with their names; of the next mount from where this one is mounted
 *   space   the mount namespace; 0 where the mount was detached
 *
 * A fetch argument has at most 63 characters, which bounds how far up a name can be copied: 8 or 9 names of the first
 * mount, a few less of each further one. What is deeper is not told, and never a part of it.
 */
import { FETCH_CHARACTERS_MAX } from '../../../limits.js';
import { copiedText } from '../pages/copied-text.js';
import type { FieldValue, FieldValues } from '../pages/decoder.js';
import type { KernelTypes } from '../probe/btf.js';

/** Mounts whose names are copied; of the one above it only the root may follow, as that which programs never see. */
const MOUNTS = 3;
const NAMES_MAX = 9;
/** Addresses above are none but errors: the kernel's own mounts have such a namespace. */
const ERRORS_FROM = 0xffff_ffff_ffff_f000n;

type Offset = (structure: string, member: string) => number;

/**
 * The fetch arguments of a probe whose `register` has the address of a `struct path`, or of a structure that holds one at
 * `within` (`file.f_path`). Undefined where the kernel does not describe its structures.
 */
export function mountedPathFetch(
  types: KernelTypes | undefined,
  register: string,
  within?: readonly [structure: string, member: string],
): string | undefined {
  let known = types !== undefined;
  const offset: Offset = (structure, member) => {
    const found = types?.offset(structure, member);
    known &&= found !== undefined;
    return found ?? 0;
  };
  const text = fetchOf(offset, register, within === undefined ? 0 : offset(...within));
  return known ? text : undefined;
}

function fetchOf(offset: Offset, register: string, base: number): string {
  const at = (bytes: number, from: string) => `${bytes < 0 ? '' : '+'}${bytes}(${from})`;
  const inside = offset('mount', 'mnt');
  const root = offset('vfsmount', 'mnt_root');
  const text = offset('dentry', 'd_name') + offset('qstr', 'name');
  const nameOf = (entry: string) => `+0(${at(text, entry)}):string`;
  const parts = [`inside=\\${inside}:u64`];
  let mount = at(base + offset('path', 'mnt'), register);
  let entry = at(base + offset('path', 'dentry'), register);
  parts.push(`space=${at(offset('mount', 'mnt_ns') - inside, mount)}:x64`);
  for (let level = 0; level <= MOUNTS; level += 1) {
    const begin = level === 0 ? -inside : 0;
    parts.push(`mount${level}=${mount}:x64`, `root${level}=${at(begin + inside + root, mount)}:x64`);
    parts.push(...namesOf(level, entry, (above) => at(offset('dentry', 'd_parent'), above), nameOf));
    entry = at(begin + offset('mount', 'mnt_mountpoint'), mount);
    mount = at(begin + offset('mount', 'mnt_parent'), mount);
  }
  parts.push(`mount${MOUNTS + 1}=${mount}:x64`);
  return parts.join(' ');
}

/** One entry more than names, to see that the last name was the mount's topmost. */
function namesOf(
  level: number,
  entry: string,
  above: (entry: string) => string,
  nameOf: (entry: string) => string,
): string[] {
  const parts: string[] = [];
  for (let up = 0; ; up += 1) {
    parts.push(`entry${level}_${up}=${entry}:x64`);
    const name = nameOf(entry);
    if (level === MOUNTS || up === NAMES_MAX || name.length > FETCH_CHARACTERS_MAX) return parts;
    parts.push(`name${level}_${up}=${name}`);
    entry = above(entry);
  }
}

/** Whether an entry has the names that such a probe copied. */
export function hasMountedPath(values: FieldValues): boolean {
  return 'entry0_0' in values;
}

/**
 * The path in the process's mount namespace, from that one's root; undefined where the names do not lead there: the file
 * is too deep, or in no namespace (memfd, or a mount that was detached).
 */
export function mountedPath(values: FieldValues): string | undefined {
  const space = address(values['space']);
  if (space === 0n || space >= ERRORS_FROM) return undefined;
  let path = '';
  for (let level = 0; level <= MOUNTS; level += 1) {
    const names = namesBelowRoot(values, level);
    if (names === undefined) return undefined;
    path = names + path;
    const mount = address(values[`mount${level}`]) - (level === 0 ? address(values['inside']) : 0n);
    // The namespace's root is mounted on itself.
    if (address(values[`mount${level + 1}`]) === mount) return path === '' ? '/' : path;
  }
  return undefined;
}

function namesBelowRoot(values: FieldValues, level: number): string | undefined {
  const root = values[`root${level}`];
  let path = '';
  for (let up = 0; ; up += 1) {
    const [entry, name] = [values[`entry${level}_${up}`], copiedText(values[`name${level}_${up}`])];
    if (entry !== undefined && entry === root) return path;
    if (!name) return undefined;
    path = `/${name}${path}`;
  }
}

function address(value: FieldValue | undefined): bigint {
  return typeof value === 'bigint' || typeof value === 'number' ? BigInt.asUintN(64, BigInt(value)) : 0n;
}
