/**
 * Members of groups as the brokers of a cluster tell each other.
 *
 * members.BROKER.GROUP -> { members: MemberFacts[] }     written by that broker whenever something of it changes
 *
 * What a broker said holds as long as its lease. Then any other one deletes it.
 */
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { GROUP_MEMBER_TEXT_MAX, GROUP_MEMBERS_MAX } from '../../../limits.js';
import type { SharedState, StateChange } from '../../cluster/shared-state.js';
import type { CommitRelay } from './commit-relay.js';
import type { GroupPresence, MemberFacts, RemoteMember } from './group-presence.js';

export const MEMBERS_PREFIX = 'members.';

const whole = z.number().int().nonnegative();
const text = z.string().max(GROUP_MEMBER_TEXT_MAX);
const holder = z.object({ broker: text, member: text });
const facts = z.object({
  ...{ id: text, named: z.boolean(), order: whole, away: z.boolean(), slow: z.boolean(), joinedMs: whole },
  ...{ client: text, peer: text, identity: text, replaces: z.array(holder).max(GROUP_MEMBERS_MAX) },
});
const schema = z.object({ members: z.array(facts).max(GROUP_MEMBERS_MAX) });

/** Throws for what no broker writes. */
export function checkMembers(_key: string, value: unknown): void {
  schema.parse(value);
}

/** Which brokers are alive: see BrokerLeases. */
interface Leases {
  /** Whether this broker's own lease is in force, as the others see it. */
  readonly holds: boolean;
  alive(broker: string): boolean;
  /** Whether a broker that was not heard of here has said nothing since: others may have heard of it. */
  isForgotten(broker: string): boolean;
  listen(listener: () => void): () => void;
}

export interface SharedPresenceOptions {
  readonly state: SharedState;
  readonly leases: Leases;
  /** This broker's name, without dots. */
  readonly broker: string;
  readonly relay: CommitRelay | undefined;
  /** What others say of this broker is wrong, and could not be mended. */
  readonly onFailure: (cause: unknown) => void;
}

export class SharedPresence implements GroupPresence {
  readonly broker: string;
  readonly relay: CommitRelay | undefined;
  readonly #options: SharedPresenceOptions;
  /** By broker and group, this broker's own among them. */
  readonly #told = new Map<string, Map<string, readonly RemoteMember[]>>();
  /** What this broker said last, by group. */
  readonly #own = new Map<string, readonly MemberFacts[]>();
  /** How many changes of what this broker says are on their way, by group. */
  readonly #writing = new Map<string, number>();
  /** Groups of which others do not read what was told: it could not be written. */
  readonly #unsaid = new Set<string>();
  /** Brokers that were alive when that was looked at last. */
  readonly #alive = new Set<string>();
  /** Brokers whose leases have ended here, and of which what they said is there. */
  readonly #dead = new Set<string>();
  readonly #listeners = new Set<(group: string) => void>();
  readonly #ends: readonly (() => void)[];

  constructor(options: SharedPresenceOptions) {
    this.#options = options;
    this.broker = options.broker;
    this.relay = options.relay;
    const { state, leases } = options;
    this.#ends = [state.watch(MEMBERS_PREFIX, (change) => this.#changed(change)), leases.listen(() => this.#review())];
    for (const [broker, groups] of this.#told) if (!leases.alive(broker)) void this.#forget(broker, groups);
  }

  get isCurrent(): boolean {
    return this.#options.leases.holds;
  }

  whenCurrent(signal: AbortSignal): Promise<void> {
    const { leases } = this.#options;
    if (leases.holds || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        if (!leases.holds && !signal.aborted) return;
        end();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const end = leases.listen(done);
      signal.addEventListener('abort', done);
    });
  }

  others(group: string): readonly RemoteMember[] {
    return Array.from(this.#told, ([broker, groups]) =>
      broker !== this.broker && this.#options.leases.alive(broker) ? (groups.get(group) ?? []) : [],
    ).flat();
  }

  async tell(group: string, members: readonly MemberFacts[]): Promise<void> {
    if (members.length === 0) this.#own.delete(group);
    else this.#own.set(group, members);
    try {
      await this.#write(group);
    } catch (cause) {
      // Whoever told it may be gone when it can be said.
      this.#unsaid.add(group);
      throw cause;
    }
  }

  listen(listener: (group: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes back all that this broker said: its members have left. */
  async leave(): Promise<void> {
    const groups = [...this.#own.keys()];
    this.#own.clear();
    await Promise.allSettled(groups.map((group) => this.#write(group)));
  }

  close(): void {
    for (const end of this.#ends) end();
    this.relay?.close();
  }

  /** Throws for what the others would not read. */
  async #write(group: string): Promise<void> {
    const { state } = this.#options;
    const members = this.#own.get(group);
    const key = keyOf(this.broker, group);
    const value = members && schema.parse({ members });
    const writing = this.#writing.get(group) ?? 0;
    this.#writing.set(group, writing + 1);
    try {
      if (value === undefined) await state.delete(key);
      else await state.put(key, value);
    } finally {
      const left = this.#writing.get(group)! - 1;
      if (left > 0) this.#writing.set(group, left);
      else this.#writing.delete(group);
    }
    // It may have been deleted as soon as it was written.
    this.#keepSaid(group);
  }

  #changed({ key, value }: StateChange): void {
    const [broker, group] = splitKey(key);
    const groups = this.#told.get(broker) ?? new Map<string, readonly RemoteMember[]>();
    const members = value === undefined ? [] : schema.parse(value).members.map((each) => ({ ...each, broker }));
    if (members.length === 0) groups.delete(group);
    else groups.set(group, members);
    if (groups.size === 0) this.#told.delete(broker);
    else this.#told.set(broker, groups);
    if (broker === this.broker) this.#keepSaid(group);
    if (!this.#told.has(broker)) {
      this.#alive.delete(broker);
      this.#dead.delete(broker);
    } else if (this.#options.leases.alive(broker)) this.#alive.add(broker);
    // Who looks at the others anew may say something itself: that must not have it look again.
    if (broker !== this.broker) this.#say(group);
  }

  /**
   * Says again what others do not read any more: they took this broker for dead, or the stream lost what it had. It looks at
   * the state itself: what was told of it here is old once this is closed, and would be mended for ever.
   */
  #keepSaid(group: string): void {
    if (this.#writing.has(group)) return;
    const value = this.#options.state.get(keyOf(this.broker, group))?.value;
    const read = value === undefined ? [] : schema.parse(value).members;
    if (isDeepStrictEqual(read, this.#own.get(group) ?? [])) return;
    this.#write(group).catch((cause) => {
      this.#unsaid.add(group);
      this.#options.onFailure(cause);
    });
  }

  /** Some brokers may have come or gone. Each says that it is alive before it says what members it has. */
  #review(): void {
    const { leases } = this.#options;
    const unsaid = [...this.#unsaid];
    this.#unsaid.clear();
    for (const group of unsaid) this.#keepSaid(group);
    for (const [broker, groups] of this.#told) {
      const isAlive = leases.alive(broker);
      if (isAlive !== this.#alive.has(broker)) {
        if (isAlive) this.#alive.add(broker);
        else this.#alive.delete(broker);
        if (isAlive) this.#dead.delete(broker);
        else this.#dead.add(broker);
        for (const group of groups.keys()) this.#say(group);
      }
      // Not before: all the others would take its slices, if it was not heard of at this broker only.
      if (this.#dead.has(broker) && leases.isForgotten(broker)) {
        this.#dead.delete(broker);
        void this.#forget(broker, groups);
      }
    }
  }

  async #forget(broker: string, groups: ReadonlyMap<string, unknown>): Promise<void> {
    const { state } = this.#options;
    const entries = [...groups.keys()].flatMap((group) => state.get(keyOf(broker, group)) ?? []);
    // One that is back meanwhile has written since.
    await Promise.allSettled(entries.map(({ key, revision }) => state.delete(key, revision)));
  }

  #say(group: string): void {
    for (const listener of this.#listeners) listener(group);
  }
}

/** Names of groups have dots, those of brokers none. */
function splitKey(key: string): [broker: string, group: string] {
  const rest = key.slice(MEMBERS_PREFIX.length);
  const dot = rest.indexOf('.');
  return [rest.slice(0, dot), rest.slice(dot + 1)];
}

function keyOf(broker: string, group: string): string {
  return `${MEMBERS_PREFIX}${broker}.${group}`;
}
