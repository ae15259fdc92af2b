/**
 * Members of groups as the brokers of a cluster tell each other.
 *
 * members.BROKER.GROUP -> { members: MemberFacts[] }     written by that broker whenever something of it changes
 *
 * What a broker said holds as long as its lease. Then any other one deletes it.
 */
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
  /** Brokers that were alive when that was looked at last. */
  readonly #alive = new Set<string>();
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
    await this.#write(group);
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

  async #write(group: string): Promise<void> {
    const members = this.#own.get(group);
    const key = keyOf(this.broker, group);
    if (members === undefined) await this.#options.state.delete(key);
    else await this.#options.state.put(key, { members });
  }

  #changed({ key, value }: StateChange): void {
    const [broker, group] = splitKey(key);
    const groups = this.#told.get(broker) ?? new Map<string, readonly RemoteMember[]>();
    const members = value === undefined ? [] : schema.parse(value).members.map((each) => ({ ...each, broker }));
    if (members.length === 0) groups.delete(group);
    else groups.set(group, members);
    if (groups.size === 0) this.#told.delete(broker);
    else this.#told.set(broker, groups);
    // Others took this broker for dead, or the stream lost what it had.
    if (broker === this.broker && value === undefined && this.#own.has(group)) {
      this.#write(group).catch(this.#options.onFailure);
    }
    if (this.#options.leases.alive(broker)) this.#alive.add(broker);
    this.#say(group);
  }

  /** Some brokers may have come or gone. Each says that it is alive before it says what members it has. */
  #review(): void {
    const { leases } = this.#options;
    for (const [broker, groups] of this.#told) {
      const isAlive = leases.alive(broker);
      if (isAlive === this.#alive.has(broker)) continue;
      if (isAlive) this.#alive.add(broker);
      else this.#alive.delete(broker);
      for (const group of groups.keys()) this.#say(group);
      if (!isAlive) void this.#forget(broker, groups);
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
