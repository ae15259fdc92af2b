/** The latest epoch that is known of each slice of a group: the next one is later, also where the state lost some. */
import { GROUP_EPOCHS_AHEAD_MAX } from '../../../limits.js';
import type { SliceEpoch } from '../../../subscriptions/request/group-request.js';
import type { SliceRecord } from '../group-record.js';
import type { Slots } from '../slots.js';

export class SliceEpochs {
  readonly #latest: number[];

  constructor(count: number) {
    this.#latest = Array.from({ length: count }, () => 0);
  }

  /** Of any slice. */
  get max(): number {
    return Math.max(...this.#latest);
  }

  /** The state has these slices. */
  read(slices: readonly SliceRecord[]): void {
    for (const [slice, { epoch }] of slices.entries()) this.#raise(slice, epoch);
  }

  /** A member says that it had these: nobody may use up the epochs by that. */
  had(had: readonly SliceEpoch[], slices: readonly SliceRecord[]): void {
    this.read(slices);
    for (const { slice, epoch } of had) {
      if (epoch <= (this.#latest[slice] ?? 0) + GROUP_EPOCHS_AHEAD_MAX) this.#raise(slice, epoch);
    }
  }

  /**
   * @param seconds since 1970, by one clock for all brokers: a power cut of all machines leaves nobody who knows the epochs
   *   that it took
   */
  next(slice: number, epoch: number, seconds: number): number {
    return Math.max(epoch, this.#latest[slice]!, seconds) + 1;
  }

  /** Slices that the state has in an epoch before one that is known: it went back, and whoever has them must not go on. */
  fallen(slices: readonly SliceRecord[], slots: Slots): ReadonlySet<number> {
    const fallen = slices.flatMap(({ epoch }, slice) => {
      const held = slots.lease(slice)?.epoch ?? epoch;
      // What is here in another epoch is about to be taken from its member, and given anew.
      return held === epoch && epoch < this.#latest[slice]! ? [slice] : [];
    });
    return new Set(fallen);
  }

  /** Whether any is of an epoch that this broker has not read of yet. */
  isAhead(commits: readonly SliceEpoch[], slices: readonly SliceRecord[]): boolean {
    this.read(slices);
    return commits.some(({ slice, epoch }) => epoch > (this.#latest[slice] ?? Number.POSITIVE_INFINITY));
  }

  #raise(slice: number, epoch: number): void {
    const known = this.#latest[slice];
    if (known !== undefined && epoch > known) this.#latest[slice] = epoch;
  }
}
