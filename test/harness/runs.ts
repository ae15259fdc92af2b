/** How much is tried, at random or under load: more by `npm run check` than by `npm test`. */

/** @param usual random cases, rounds or milliseconds in `npm test`; BACKPLANE_TEST_FACTOR times as many otherwise */
export function runs(usual: number): number {
  return Math.ceil(usual * Number(process.env.BACKPLANE_TEST_FACTOR ?? 1));
}
