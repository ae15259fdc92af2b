/** Puts together where something is mounted, from what a probe has of it (source/calls/place-fetch.ts). */

import { copiedText } from '../../source/pages/copied-text.js';
import type { FieldValues } from '../../source/pages/decoder.js';

/**
 * The path from the root of the mount namespace; undefined where the record has not all of it: more mounts on each
 * other, or more entries in one, than are fetched.
 */
export function mountedPlace(values: FieldValues): string | undefined {
  let path = '';
  for (let mount = 0; ; mount++) {
    // The first mount's own address is not among them: what is mounted on nothing comes up to itself one step later.
    const above = values[`m${mount}`];
    if (mount > 1 && above !== undefined && above === values[`m${mount - 1}`]) return path === '' ? '/' : path;
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
