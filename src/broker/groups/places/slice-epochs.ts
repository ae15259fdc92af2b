/** By slice, the latest epoch that is known of it: the next is later, also where the state lost some. */
export class SliceEpochs {
  readonly #latest: number[];

  /** @param count number of slices */
  constructor(count: number) {
    this.#latest = Array.from({ length: count }, () => 0);
  }

  get max(): number {
    return Math.max(...this.#latest);
  }

  /** 0 where there is no such slice, or none was given. */
  of(slice: number): number {
    return this.#latest[slice] ?? 0;
  }

  /** An epoch was read, or a member has had it. */
  raise(slice: number, epoch: number): void {
    const known = this.#latest[slice];
    if (known !== undefined && epoch > known) this.#latest[slice] = epoch;
  }

  /** @param epoch the slice's in the state */
  next(slice: number, epoch: number): number {
    return Math.max(epoch, this.of(slice)) + 1;
  }
}
