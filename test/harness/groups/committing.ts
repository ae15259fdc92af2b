/** A group on a real state whose members come, commit and go: what of it was acknowledged, and whether epochs fall. */
import { pino } from 'pino';
import type { SharedState } from '../../../src/broker/cluster/shared-state.js';
import { Group } from '../../../src/broker/groups/group.js';
import type { GroupRecord } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import type { MemberStream } from '../../../src/broker/groups/member-stream.js';
import { ALONE } from '../../../src/broker/groups/presence/group-presence.js';
import type { SliceLease } from '../../../src/broker/groups/slice-lease.js';
import { decodeCursor, encodeCursor } from '../../../src/wire/cursor.js';
import { until } from '../until.js';

const SLICES = 8;
/** How long a member stays: slices move less often than once a second. */
const STAYS_MS = 1_500;
const RECORD: Omit<GroupRecord, 'name' | 'slices'> = {
  ...{ owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: 1 },
};

/** Says a whole number. */
const cursorOf = (number: number) =>
  encodeCursor({
    ...{ clusterId: '0123456789abcdef', predicateId: 1n, sinceNs: BigInt(number), places: [], nodes: [] },
  })!;

/** A broker's group, for as long as the broker runs. */
export class CommittingGroup {
  /** Commits of a slice that were acknowledged. */
  commits = 0;
  /** The number of the last of them: every one was of all slices. */
  committed = 0;
  /** The latest epoch of each slice that a member was given. */
  readonly epochs: number[] = Array.from({ length: SLICES }, () => 0);
  /** Epochs that were not later than all before. */
  readonly fallen: string[] = [];
  /** Epochs that were given. */
  given = 0;
  readonly #name: string;
  readonly #store: GroupStore;
  readonly #group: Group;
  readonly #leases = new Map<number, SliceLease>();
  readonly #unwatch: () => void;
  #number = 0;

  /** @param before what ran before on the same state: its epochs were given, whoever knows of it */
  private constructor(name: string, store: GroupStore, before?: CommittingGroup) {
    this.#name = name;
    this.#store = store;
    this.#number = before?.committed ?? 0;
    for (const [slice, epoch] of before?.epochs.entries() ?? []) this.epochs[slice] = epoch;
    this.#group = new Group(name, SLICES, {
      ...{ store, presence: ALONE, times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 1 } },
      parkAhead: async () => () => undefined,
      deliver: (_stream, lease) => this.#deliver(lease),
      onAttended: () => undefined,
      logger: pino({ level: 'silent' }),
    });
    this.#unwatch = store.watch((other, record) => {
      if (other === name && record !== undefined) this.#group.changed(record);
    });
  }

  static async open(name: string, state: SharedState, before?: CommittingGroup): Promise<CommittingGroup> {
    const store = new GroupStore(state, state);
    const slice = { epoch: Math.floor(Date.now() / 1000), cursor: '', committedMs: 0 };
    const slices = Array.from({ length: SLICES }, () => slice);
    if (store.get(name) === undefined) await store.create({ name, slices, ...RECORD });
    return new CommittingGroup(name, store, before);
  }

  /** The number that was committed last, of the slice that the state has the earliest of. */
  get kept(): number {
    const cursors = this.#store.get(this.#name)!.slices.map(({ cursor }) => cursor);
    return Math.min(...cursors.map((cursor) => (cursor === '' ? 0 : Number(decodeCursor(cursor).sinceNs))));
  }

  /** Members, one after the other, each of which gets all slices, commits, and says nothing of what another had. */
  async run(goesOn: () => boolean): Promise<void> {
    while (goesOn()) await this.member(goesOn);
  }

  close(): void {
    this.#unwatch();
    this.#group.close();
  }

  /** One of them. */
  async member(goesOn = () => true): Promise<void> {
    this.#leases.clear();
    const goesMs = performance.now() + STAYS_MS;
    const stream = {
      ...{ isOver: false, stop: () => undefined, tell: () => undefined, fail: () => undefined },
      ...{ asked: { client: '' }, caller: { peer: '', identity: { name: '' } } },
    } as unknown as MemberStream;
    const member = this.#group.join({ name: this.#name, member: '', slices: SLICES, had: [], whatItHas: true }, stream);
    await until(
      'a member to have all slices',
      () => this.#leases.size === SLICES || !goesOn(),
      () => [this.given, this.commits],
    );
    while (goesOn() && performance.now() < goesMs) await this.#commit();
    this.#group.leave(member, stream, false);
  }

  #deliver(lease: SliceLease): void {
    const { slice, epoch } = lease;
    this.given++;
    if (epoch <= this.epochs[slice]!) this.fallen.push(`slice ${slice}: ${epoch} after ${this.epochs[slice]}`);
    this.epochs[slice] = Math.max(epoch, this.epochs[slice]!);
    this.#leases.set(slice, lease);
  }

  /** Of all slices at once; what is not acknowledged may be there or not. */
  async #commit(): Promise<void> {
    const number = ++this.#number;
    const cursor = cursorOf(number);
    const leases = [...this.#leases.values()];
    const commits = leases.map((lease) => ({
      ...{ slice: lease.slice, epoch: lease.epoch, cursor: lease.give(cursor, Date.now()) },
    }));
    const isMade = await this.#group.commit(commits).then(
      () => true,
      () => false,
    );
    if (!isMade) return;
    this.commits += commits.length;
    this.committed = number;
  }
}
