/**
 * Max-min fair shares: nobody gets more than asked while another gets less than asked; the rest is spread evenly, so
 * that new demand finds room.
 *
 * @param demands what each asks for, 0 or more
 * @returns as many shares; their sum is `total`
 */
export function maxMinShares(demands: readonly number[], total: number): number[] {
  const shares = demands.map(() => 0);
  const order = demands.map((_, index) => index).sort((a, b) => demands[a]! - demands[b]!);
  let left = total;
  for (const [at, index] of order.entries()) {
    const share = Math.min(demands[index]!, left / (order.length - at));
    shares[index] = share;
    left -= share;
  }
  return shares.map((share) => share + left / Math.max(1, shares.length));
}
