/**
 * Max-min fair shares: nobody gets more than asked while another gets less than asked; the rest is spread evenly, so
 * that new demand finds room.
 *
 * @param demands what each asks for, 0 or more
 * @param weights how many each counts for, more than 0, which share its demand evenly; one each by default
 * @returns as many shares; their sum is `total`
 */
export function maxMinShares(
  demands: readonly number[],
  total: number,
  weights: readonly number[] = demands.map(() => 1),
): number[] {
  const shares = demands.map(() => 0);
  const one = demands.map((demand, index) => demand / weights[index]!);
  const order = demands.map((_, index) => index).sort((a, b) => one[a]! - one[b]!);
  const weight = weights.reduce((sum, each) => sum + each, 0);
  let [left, weightLeft] = [total, weight];
  for (const index of order) {
    const share = Math.min(demands[index]!, (left * weights[index]!) / weightLeft);
    shares[index] = share;
    left -= share;
    weightLeft -= weights[index]!;
  }
  return shares.map((share, index) => share + (left * weights[index]!) / weight);
}
