/** Puts together where something is mounted, or a file is, from what a probe has of it (place-fetch.ts). */

import { copiedText } from '../pages/copied-text.js';
import type { FieldValue, FieldValues } from '../pages/decoder.js';

/** Addresses from here on are errors: the kernel's own mounts have such a namespace. */
const ERRORS_FROM = 0xffff_ffff_ffff_f000n;
/** A mount that is nowhere yet (fsmount) has a namespace of its own, which has no number, or this one: nsfs.h */
const NOWHERE: readonly number[] = [0, 0xeffffff7];

export interface MountedPlace {
  /** From the root of the mount namespace. */
  readonly path: string;
  /** The number of that namespace. */
  readonly namespace: number;
}

/** Whether an entry has what placeFetch() fetches. */
export function hasPlace(values: FieldValues): boolean {
  return 'd0_0' in values;
}

/**
 * Undefined where it is in no mount namespace (in memory only, or in a mount that is not in place), and where the record
 * has not all of it: more mounts on each other, or more entries in one, than are fetched.
 */
export function mountedPlace(values: FieldValues): MountedPlace | undefined {
  const [space, namespace] = [address(values['space']), Number(address(values['number']))];
  if (space === 0n || space >= ERRORS_FROM || NOWHERE.includes(namespace)) return undefined;
  let path = '';
  for (let mount = 0; ; mount++) {
    // The first mount's own address is not among them: what is mounted on nothing comes up to itself one step later.
    const above = values[`m${mount}`];
    if (mount > 1 && above !== undefined && above === values[`m${mount - 1}`])
      return { path: path === '' ? '/' : path, namespace };
    const below = belowMount(values, mount);
    if (below === undefined) return undefined;
    path = below + path;
  }
}

/** From a mount's root to the place in it; '' for the root itself. */
function belowMount(values: FieldValues, mount: number): string | undefined {
  const root = values[`r${mount}`];
  if (typeof root !== 'bigint' || root === 0n) return undefined;
  let path = '';
  for (let up = 0; ; up++) {
    const entry = values[`d${mount}_${up}`];
    if (entry === undefined) return undefined;
    if (entry === root) return path;
    const name = copiedText(values[`n${mount}_${up}`]);
    if (!name) return undefined;
    path = `/${name}${path}`;
  }
}

function address(value: FieldValue | undefined): bigint {
  return typeof value === 'bigint' || typeof value === 'number' ? BigInt.asUintN(64, BigInt(value)) : 0n;
}
