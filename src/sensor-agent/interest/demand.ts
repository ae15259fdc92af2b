/**
 * Switches trace events of the allowed profiles on while somebody asks for
 * them. Nothing is counted: the broker keeps a lost subscriber's interest for a
 * grace, and exactly the events that the interest needs are on. Without a
 * broker the events stay on for the same grace, as the interest most likely
 * comes again.
 */
import { INTEREST_GRACE_MS } from '../../limits.js';
import {
  CATALOGUE,
  type Profile,
  pathPointsOf,
  STANDING_CONDITIONS,
  tracedEvents,
} from '../../subscriptions/pushdown/catalogue.js';
import type { RawExpr } from '../../subscriptions/pushdown/raw-expr.js';
import type { OnDemandEvents } from '../source/source.js';

/** The types and entries that are asked for. */
export interface Asked {
  wants(type: string): boolean;
  /**
   * Conditions of which an entry of a type must meet at least one to be asked for; undefined when they cannot be
   * stated.
   */
  conditions(type: string): readonly RawExpr[] | undefined;
}

/** Profiles by what recording them costs a machine, most first. */
const COSTLIEST: readonly Profile[] = ['syscall', 'file', 'udp', 'security'];

const NOTHING: Asked = { wants: () => false, conditions: () => undefined };

export class Demand {
  /** Trace events, and the type that needs each. */
  #needed: ReadonlyMap<string, string> = new Map();
  /** Profiles that are asked for, costliest first, including suspended ones. */
  profiles: readonly Profile[] = [];
  /** When the grace ends, monotonic; undefined while an interest is in force. */
  #endsMs: number | undefined;
  #asked: Asked = NOTHING;
  #suspended: readonly Profile[] = [];

  readonly #events: OnDemandEvents | undefined;
  readonly #switchesOn: (types: readonly string[]) => void;

  /**
   * Events that an adopted instance still has on are kept for a grace from `nowMs` (monotonic). `switchesOn` is told the
   * types of events that are off, before they are switched on.
   */
  constructor(
    events: OnDemandEvents | undefined,
    nowMs: number,
    switchesOn: (types: readonly string[]) => void = () => {},
  ) {
    this.#events = events;
    this.#switchesOn = switchesOn;
    this.away(nowMs);
  }

  /**
   * Called before an interest is in force: switches on the events it needs. Throws `failed_precondition` where the
   * kernel refuses.
   */
  widen(asked: Asked): void {
    this.#need(asked);
    this.#asked = asked;
    this.#endsMs = undefined;
    this.#switchOn();
  }

  #need(asked: Asked): void {
    this.#needed = needed(asked, this.#events);
    const profiles = new Set([...this.#needed.values()].map(profileOf));
    this.profiles = COSTLIEST.filter((profile) => profiles.has(profile));
  }

  /** Profiles that are asked for and not recorded. */
  get missing(): readonly Profile[] {
    return this.profiles.filter((profile) => this.#suspended.includes(profile));
  }

  /**
   * Suspends exactly these profiles: switches off events that only they need, and on those that other profiles need.
   */
  suspend(profiles: readonly Profile[]): void {
    this.#suspended = profiles;
    this.#switchOn();
    this.narrow();
  }

  #switchOn(): void {
    const wanted = [...this.#needed].filter(([, type]) => !this.#suspended.includes(profileOf(type)));
    const off = wanted.filter(([event]) => this.#events?.enabled.has(event) === false);
    if (off.length > 0) this.#switchesOn([...new Set(off.map(([, type]) => type))]);
    for (const [event, type] of wanted) {
      // Sets the kernel's filter first, so that an event that is on goes from the old filter to the new one in one
      // step.
      const standing = STANDING_CONDITIONS.get(event.slice(event.indexOf('/') + 1));
      this.#events?.filter(event, standing ? [standing] : this.#asked.conditions(type));
      if (!this.#events?.enabled.has(event)) this.#events?.switch(event, true);
    }
  }

  /**
   * Called after an interest is in force: switches off events that nobody needs any more, in the reverse of the order in
   * which they were switched on.
   */
  narrow(): void {
    for (const event of [...(this.#events?.enabled ?? [])].reverse()) {
      const type = this.#needed.get(event);
      if (type === undefined || this.#suspended.includes(profileOf(type))) this.#events?.switch(event, false);
    }
  }

  /** Begins the grace: without a broker it is unknown what is asked for. */
  away(nowMs: number): void {
    this.#endsMs ??= nowMs + INTEREST_GRACE_MS;
  }

  /** Called now and then: ends the grace. True when it ended. */
  expire(nowMs: number): boolean {
    if (this.#endsMs === undefined || nowMs < this.#endsMs) return false;
    this.#endsMs = undefined;
    this.#need(NOTHING);
    this.narrow();
    return true;
  }
}

function profileOf(type: string): Profile {
  return CATALOGUE.get(type)?.profile ?? 'lite';
}

function needed(asked: Asked, events: OnDemandEvents | undefined): ReadonlyMap<string, string> {
  const needed = new Map<string, string>();
  const there = events === undefined ? [] : [...events.events];
  for (const entry of CATALOGUE.values()) {
    const { type, probes } = entry;
    if (!asked.wants(type)) continue;
    // Probes are of the recorder's own group.
    const named = (name: string) => there.find((event) => event === name || event.endsWith(`/${name}`));
    const own = probes.map(named).filter((event) => event !== undefined);
    if (own.length > 0) {
      for (const event of own) needed.set(event, type);
      continue;
    }
    const points = pathPointsOf(entry).filter(({ name }) => named(name) !== undefined);
    const joined = points.flatMap(({ name, beside }) => [name, ...beside]);
    const instead = points.flatMap((point) => point.instead);
    const traced = tracedEvents(entry).filter((event) => !instead.includes(event));
    for (const event of [...joined, ...traced].map(named)) if (event !== undefined) needed.set(event, type);
  }
  return needed;
}
