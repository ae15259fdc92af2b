/**
 * The files that overlays show. Containers of one image have overlays of their own over the same layers, and a breakpoint
 * in a layer's file is in all of them, also those that come later; a definition there keeps no overlay busy.
 */
import { MOUNT_LAYERS_MAX } from '../../limits.js';
import { layersOf } from './mounts.js';
import { atName, type Place, placeOnMount } from './places.js';

/**
 * Calls `use` with what the layers of an overlay have at the name of a file that it shows, by its place below this
 * agent's own root, until it returns something; the lowest layer first, where images have what they seldom replace. It
 * may be another file than the one that is shown, which is for `use` to find out.
 * @param pid a process that sees the overlay
 */
export function atLayers<Result>(
  pid: number,
  place: Place,
  use: (layer: Place) => Result | undefined,
): Result | undefined {
  const { mount, name } = placeOnMount(pid, place) ?? {};
  if (mount === undefined || name === undefined) return undefined;
  for (const layer of layersOf(mount.options).slice(-MOUNT_LAYERS_MAX).reverse()) {
    const result = atName(process.pid, `${layer}/${name}`, use);
    if (result !== undefined) return result;
  }
  return undefined;
}
