/** The number of random cases per property: `npm run check` tries more than `npm test`. */

/** @param usual in `npm test`; BACKPLANE_TEST_FACTOR times as many otherwise */
export function runs(usual: number): number {
  return Math.ceil(usual * Number(process.env.BACKPLANE_TEST_FACTOR ?? 1));
}
