/** A member of a group in tests: what it was given, and what it commits. */
import type { GroupsClient, SubscribeRequest } from '../../../src/wire/messages.js';
import type { Harness, Subscriber } from './harness.js';

export interface HeldSlice {
  readonly epoch: string;
  /** Newest cursor that it was given in this epoch; empty before the first. */
  cursor: string;
}

export interface Commit {
  readonly slice: number;
  readonly epoch: string | number;
  readonly cursor: string;
}

/** A commit at any broker, by whoever it is. */
export function commitBy(client: GroupsClient, group: string, slices: readonly Commit[]): Promise<void> {
  return new Promise((resolve, reject) => {
    client.commit({ group, slices: [...slices] }, (error: unknown) => (error ? reject(error) : resolve()));
  });
}

export class TestMember {
  readonly subscriber: Subscriber;
  readonly #client: GroupsClient;
  readonly #group: string;

  constructor(harness: Harness, group: string, request: SubscribeRequest = {}, member = '', address?: string) {
    this.#group = group;
    this.#client = harness.groupsClient();
    const membership = { name: group, member, ...request.group };
    this.subscriber = harness.subscribe({ follow: true, ...request, group: membership }, undefined, address);
  }

  /** What it has now, by slice. */
  get slices(): ReadonlyMap<number, HeldSlice> {
    const held = new Map<number, HeldSlice>();
    for (const { group, events, watermark, coverage } of this.subscriber.responses) {
      if (group?.assigned)
        held.set(group.assigned.slice, { epoch: group.assigned.epoch, cursor: group.assigned.cursor });
      if (group?.revoking) held.delete(group.revoking.slice);
      const item = events ?? watermark ?? coverage;
      const slice = item && held.get(item.slice);
      if (item?.cursor && slice) slice.cursor = item.cursor;
    }
    return held;
  }

  /** The last epoch of each slice that it had, as it says when it comes back. */
  get had(): { readonly slice: number; readonly epoch: string }[] {
    const had = new Map<number, string>();
    for (const { group } of this.subscriber.responses) {
      if (group?.assigned) had.set(group.assigned.slice, group.assigned.epoch);
    }
    return Array.from(had, ([slice, epoch]) => ({ slice, epoch }));
  }

  /** Waits until it has so many slices. */
  async has(count: number): Promise<void> {
    await this.subscriber.until(
      `${count} slices`,
      () => this.slices.size === count || this.subscriber.error !== undefined,
    );
    if (this.subscriber.error) throw this.subscriber.error;
  }

  /** Commits all that it was given of these slices, by default of all that it has. */
  async commit(slices: Iterable<number> = this.slices.keys()): Promise<void> {
    const commits = [...slices].flatMap((slice) => {
      const { epoch, cursor } = this.slices.get(slice)!;
      return cursor === '' ? [] : [{ slice, epoch, cursor }];
    });
    if (commits.length > 0) await this.commitAs(commits);
  }

  commitAs(slices: readonly Commit[]): Promise<void> {
    return commitBy(this.#client, this.#group, slices);
  }

  /** What it would commit of all that it was given. */
  get commits(): Commit[] {
    return [...this.slices].map(([slice, held]) => ({ slice, ...held }));
  }

  cancel(): void {
    this.subscriber.cancel();
  }
}
