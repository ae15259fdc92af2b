/** The slices of one group in this broker: who has which, in which epoch, and which are being given up. */
import type { Member } from './member.js';
import type { SliceLease } from './slice-lease.js';

interface Slot {
  /** Undefined: nobody has the slice. */
  owner: Member | undefined;
  /** What its owner may commit; undefined while it is being given to it. */
  lease: SliceLease | undefined;
  /** Set while its owner gives it up. */
  revoking: NodeJS.Timeout | undefined;
  /** Who had it last, and in which epoch, to know whose late commits are fenced. */
  before: { readonly owner: Member; readonly epoch: number } | undefined;
}

export class Slots {
  readonly #slots: readonly Slot[];

  constructor(count: number) {
    this.#slots = Array.from({ length: count }, () => {
      return { owner: undefined, lease: undefined, revoking: undefined, before: undefined };
    });
  }

  get count(): number {
    return this.#slots.length;
  }

  owner(slice: number): Member | undefined {
    return this.#slots[slice]?.owner;
  }

  lease(slice: number): SliceLease | undefined {
    return this.#slots[slice]?.lease;
  }

  before(slice: number): Slot['before'] {
    return this.#slots[slice]?.before;
  }

  isRevoking(slice: number): boolean {
    return this.#slots[slice]?.revoking !== undefined;
  }

  /** Slices that are being given up. */
  get busy(): ReadonlySet<number> {
    return new Set(this.#slots.flatMap(({ revoking }, slice) => (revoking === undefined ? [] : [slice])));
  }

  /** The slices of a member, those that it gives up among them. */
  of(member: Member): number[] {
    return this.#slots.flatMap(({ owner }, slice) => (owner === member ? [slice] : []));
  }

  /** Slices with an owner that has no lease yet: it came back, and gets a new epoch. */
  get reserved(): [slice: number, owner: Member][] {
    return this.#slots.flatMap(({ owner, lease }, slice): [number, Member][] =>
      owner !== undefined && lease === undefined ? [[slice, owner]] : [],
    );
  }

  /** All that members have, with their leases. */
  get held(): { readonly slice: number; readonly owner: Member; readonly lease: SliceLease }[] {
    return this.#slots.flatMap(({ owner, lease }, slice) => (owner && lease ? [{ slice, owner, lease }] : []));
  }

  give(slice: number, owner: Member, lease: SliceLease): void {
    Object.assign(this.#slots[slice]!, { owner, lease });
  }

  /** Its owner keeps the slice, and nothing of the epoch can be committed any more. */
  reserve(slice: number): void {
    const slot = this.#slots[slice]!;
    this.#end(slot);
  }

  /** The owner may commit until `timer` releases the slice. */
  revoke(slice: number, timer: NodeJS.Timeout): void {
    this.#slots[slice]!.revoking = timer;
  }

  /** Nobody has the slice any more. */
  release(slice: number): void {
    const slot = this.#slots[slice]!;
    this.#end(slot);
    slot.owner = undefined;
  }

  #end(slot: Slot): void {
    clearTimeout(slot.revoking);
    slot.revoking = undefined;
    if (slot.owner && slot.lease) slot.before = { owner: slot.owner, epoch: slot.lease.epoch };
    slot.lease = undefined;
  }
}
