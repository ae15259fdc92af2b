/** Binary search. */

/**
 * The first index in [from, to) for which `before` is false; `to` where it is true for all.
 *
 * @param before true up to some index, and false from there on
 */
export function partitionPoint(from: number, to: number, before: (index: number) => boolean): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
