/** How often values fall where, counted cheaply enough for every frame: a cumulative histogram when it is read. */
export class Distribution {
  readonly #counts: number[];
  #sum = 0;

  /** @param bounds ascending; a value belongs to the first bound that is not below it */
  constructor(readonly bounds: readonly number[]) {
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** Values that are no number, or below 0 (clocks differ), count as 0. */
  observe(value: number): void {
    const counted = value > 0 ? value : 0;
    let at = 0;
    while (at < this.bounds.length && counted > this.bounds[at]!) at++;
    this.#counts[at]! += 1;
    this.#sum += counted;
  }

  /** For each bound the number of values up to it; then the number and the sum of all. */
  read(): { readonly upTo: readonly number[]; readonly count: number; readonly sum: number } {
    let count = 0;
    const upTo = this.#counts.map((each) => (count += each)).slice(0, -1);
    return { upTo, count, sum: this.#sum };
  }
}
