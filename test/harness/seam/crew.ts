/**
 * Members of one group that come, commit and go, over whichever broker. Each epoch of a slice is given all that was not
 * committed before it, in order of each node and topic, and nothing that was.
 */
import assert from 'node:assert/strict';
import { type ServiceError, status } from '@grpc/grpc-js';
import { sliceOf } from '../../../src/broker/groups/slice.js';
import type { GroupsClient } from '../../../src/wire/messages.js';
import { Random } from '../../fault/schedule.js';
import { commitBy, TestMember } from '../broker/group-member.js';
import type { Harness } from '../broker/harness.js';

const SLICES = 8;
const NAMES = ['', '', 'm', 'n'];
const GROUP = 'crew';
/** What ends a member's stream and is not its fault: its broker goes, or another has its name. */
const ENDS = [status.UNAVAILABLE, status.ABORTED, status.ALREADY_EXISTS];
/** After these a commit may be written or not. */
const IN_DOUBT = [status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.DEADLINE_EXCEEDED];

export interface CrewRequest {
  readonly topics: readonly string[];
  readonly filter: string;
}

/** Events of one node and topic that the group is to have, in order. */
export type Due = readonly [node: string, topic: string, names: readonly string[]];

interface Joined {
  readonly member: TestMember;
  readonly name: string;
  readonly broker: Harness;
}

/** What a slice was given in one epoch, and up to how many of these each of its cursors goes. */
interface Epoch {
  readonly slice: number;
  readonly epoch: string;
  readonly given: string[];
  readonly cursors: { readonly cursor: string; readonly count: number }[];
}

interface Committed {
  readonly slice: number;
  readonly epoch: string;
  readonly count: number;
  outcome: 'in doubt' | 'written' | 'refused';
}

/** How many events of each node and topic are committed. */
type Place = ReadonlyMap<string, number>;

export class Crew {
  readonly #request: CrewRequest;
  readonly #random: Random;
  readonly #brokers: readonly Harness[];
  readonly #members: Joined[] = [];
  readonly #gone: Joined[] = [];
  readonly #commits: Committed[] = [];
  readonly #clients = new Map<string, GroupsClient>();
  readonly #asked = new Set<Promise<void>>();

  constructor(brokers: readonly Harness[], random: Random, request: CrewRequest) {
    this.#brokers = brokers;
    this.#random = random;
    this.#request = request;
  }

  get topics(): readonly string[] {
    return this.#request.topics;
  }

  matches(pid: number): boolean {
    return this.#request.filter === '' || pid % 3 === 0;
  }

  join(broker: Harness, name = this.#random.pick(NAMES)): string {
    const former =
      this.#gone.length > 0 && this.#random.between(0, 1) === 0 ? this.#random.pick(this.#gone) : undefined;
    const had = former?.member.had ?? [];
    const { topics, filter } = this.#request;
    const group = { slices: SLICES, had };
    const request = { topics: [...topics], filter, since: '1h', group };
    this.#members.push({ member: new TestMember(broker, GROUP, request, name), name, broker });
    return `member ${this.#members.length - 1 + this.#gone.length} joins as '${name}', had ${had.length}`;
  }

  /** Nobody was told that something is missing. */
  sawNoGap(): void {
    for (const { member } of this.#members) assert.deepEqual(member.subscriber.gaps, []);
  }

  /** Members whose streams have ended are gone; what ended them must be one of what may. */
  reap(): void {
    for (const each of this.#members.slice()) {
      const { error, ended } = each.member.subscriber;
      if (!ended) continue;
      if (error) assert.ok(ENDS.includes(error.code), `a member's stream ended: ${error.message}`);
      this.#drop(each);
    }
  }

  leave(): string | undefined {
    if (this.#members.length === 0) return undefined;
    const each = this.#random.pick(this.#members);
    this.#drop(each);
    return `a member ('${each.name}') leaves`;
  }

  /** Its broker is gone. */
  lost(broker: Harness): number {
    const lost = this.#members.filter((each) => each.broker === broker);
    for (const each of lost) this.#drop(each);
    return lost.length;
  }

  pause(isPaused: boolean): string | undefined {
    if (this.#members.length === 0) return undefined;
    const { member, name } = this.#random.pick(this.#members);
    if (isPaused) member.subscriber.pause();
    else member.subscriber.resume();
    return `a member ('${name}') ${isPaused ? 'pauses' : 'reads on'}`;
  }

  readOn(): void {
    for (const { member } of this.#members) member.subscriber.resume();
  }

  get count(): number {
    return this.#members.length;
  }

  /** Commits something of what somebody was given, at whichever broker; also of slices that are another's by now. */
  commit(): string | undefined {
    const all = [...this.#members, ...this.#gone.slice(-1)];
    if (all.length === 0) return undefined;
    const random = this.#random;
    const { member } = random.pick(all);
    const epochs = epochsOf(member).filter(({ cursors }) => cursors.length > 0);
    const newest = new Map(epochs.map((epoch) => [epoch.slice, epoch]));
    const chosen = [...newest.values()].filter(() => random.between(0, 3) > 0);
    return this.#commitAll(
      chosen.map((epoch) => [epoch, random.between(0, 1) === 0 ? epoch.cursors.at(-1)! : random.pick(epoch.cursors)]),
      random.pick(this.#brokers),
    );
  }

  #commitAll(
    chosen: readonly (readonly [Epoch, { readonly cursor: string; readonly count: number }])[],
    broker: Harness,
  ): string | undefined {
    if (chosen.length === 0) return undefined;
    const commits: Committed[] = chosen.map(([{ slice, epoch }, { count }]) => {
      return { slice, epoch, count, outcome: 'in doubt' };
    });
    this.#commits.push(...commits);
    const asked = commitBy(
      this.#clientOf(broker),
      GROUP,
      chosen.map(([{ slice, epoch }, { cursor }]) => ({ slice, epoch, cursor })),
    ).then(
      () => {
        for (const each of commits) each.outcome = 'written';
      },
      ({ code, message }: ServiceError) => {
        if (IN_DOUBT.includes(code)) return;
        // A broker that has not read of the group yet knows none.
        assert.ok(code === status.ABORTED || code === status.NOT_FOUND, message);
        for (const each of commits) each.outcome = 'refused';
      },
    );
    this.#asked.add(asked);
    void asked.then(
      () => this.#asked.delete(asked),
      () => undefined,
    );
    return `${commits.map(({ slice, epoch, count }) => `${slice}/${epoch} to ${count}`).join(', ')} are committed`;
  }

  /** Whoever is there commits all; awaits what was asked. */
  async commitEverything(): Promise<void> {
    for (const { member, broker } of this.#members) {
      const held = member.slices;
      const epochs = epochsOf(member).filter(
        ({ slice, epoch, cursors }) => held.get(slice)?.epoch === epoch && cursors.length > 0,
      );
      this.#commitAll(
        epochs.map((epoch) => [epoch, epoch.cursors.at(-1)!]),
        broker,
      );
    }
    await Promise.all(this.#asked);
  }

  /** Events that are in no epoch's committed part yet, by what every history that fits says. Throws where none does. */
  uncommitted(due: readonly Due[]): string[] {
    const epochs = [...this.#members, ...this.#gone].flatMap(({ member }) => epochsOf(member));
    const left: string[] = [];
    for (let slice = 0; slice < SLICES; slice++) {
      const own = due.filter(([node]) => sliceOf(node, SLICES) === slice);
      const places = this.#placesOf(
        epochs.filter((each) => each.slice === slice).sort((a, b) => Number(a.epoch) - Number(b.epoch)),
        own,
      );
      for (const [node, topic, names] of own) {
        const least = Math.min(...places.map((place) => place.get(`${node} ${topic}`)!));
        left.push(...names.slice(least));
      }
    }
    return left;
  }

  /** Where a slice may stand: after each epoch, behind the last commit that was written, or one that is in doubt. */
  #placesOf(epochs: readonly Epoch[], due: readonly Due[]): Place[] {
    const laneOf = new Map(due.flatMap(([node, topic, names]) => names.map((name) => [name, `${node} ${topic}`])));
    let places: Place[] = [new Map(due.map(([node, topic]) => [`${node} ${topic}`, 0]))];
    for (const { slice, epoch, given } of epochs) {
      const isOf = (each: Committed) => each.slice === slice && each.epoch === epoch;
      const of = this.#commits.filter(isOf);
      const written = Math.max(0, ...of.filter(({ outcome }) => outcome === 'written').map(({ count }) => count));
      const doubts = of.filter(({ outcome, count }) => outcome === 'in doubt' && count > written);
      const fits = places.filter((place) => isNext(given, place, due, laneOf));
      if (fits.length === 0) {
        const stood = places.map((place) => JSON.stringify([...place])).join(' or ');
        assert.fail(`slice ${slice} in epoch ${epoch} was given ${given.join(' ')} where ${stood} was committed`);
      }
      const after = fits.flatMap((place) =>
        [written, ...doubts.map(({ count }) => count)].map((count) => advanced(place, given.slice(0, count), laneOf)),
      );
      places = [...new Map(after.map((place) => [JSON.stringify([...place]), place])).values()];
    }
    return places;
  }

  #drop(each: Joined): void {
    this.#members.splice(this.#members.indexOf(each), 1);
    this.#gone.push(each);
    each.member.cancel();
    assert.deepEqual(each.member.subscriber.gaps, []);
  }

  #clientOf(broker: Harness): GroupsClient {
    const { grpcAddress } = broker.broker;
    const client = this.#clients.get(grpcAddress) ?? broker.groupsClient();
    this.#clients.set(grpcAddress, client);
    return client;
  }
}

function epochsOf({ subscriber }: TestMember): Epoch[] {
  const epochs: Epoch[] = [];
  const now = new Map<number, Epoch>();
  for (const { group, events, watermark, coverage } of subscriber.responses) {
    if (group?.assigned) {
      const { slice, epoch } = group.assigned;
      const begun = { slice, epoch, given: [], cursors: [] };
      epochs.push(begun);
      now.set(slice, begun);
    }
    const item = events ?? watermark ?? coverage;
    if (!item) continue;
    const epoch = now.get(item.slice);
    assert.ok(epoch, `something of slice ${item.slice} before it was assigned`);
    if (events) epoch.given.push(...events.events.map((event) => `${events.node}:${event.process?.pid}`));
    if (item.cursor) epoch.cursors.push({ cursor: item.cursor, count: epoch.given.length });
  }
  return epochs;
}

/** Whether an epoch that begins behind a place was given what comes next of each node and topic. */
function isNext(given: readonly string[], place: Place, due: readonly Due[], laneOf: ReadonlyMap<string, string>) {
  const had = given.filter((name) => !laneOf.has(name));
  assert.deepEqual(had, [], 'events that the group did not ask for');
  return due.every(([node, topic, names]) => {
    const lane = `${node} ${topic}`;
    const from = place.get(lane)!;
    const its = given.filter((name) => laneOf.get(name) === lane);
    return its.every((name, at) => names[from + at] === name);
  });
}

function advanced(place: Place, names: readonly string[], laneOf: ReadonlyMap<string, string>): Place {
  const next = new Map(place);
  for (const name of names) next.set(laneOf.get(name)!, next.get(laneOf.get(name)!)! + 1);
  return next;
}

/** How long a group and its members last in such tests. */
export function crewTimes(seed: number) {
  // What happens is drawn from the seed itself, and must not go with it.
  const random = new Random(seed ^ 0x5eed);
  return {
    ...{ memberMs: random.pick([500, 3_000]), commitMs: 300_000, revokeMs: random.pick([50, 2_000]) },
    ...{ interestMs: random.pick([50, 600_000]), cursorsMs: 86_400_000 },
  };
}
