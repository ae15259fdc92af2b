/**
 * Switches trace events of the allowed profiles on while somebody asks for
 * them. Nothing is counted: the broker's interest outlives a subscriber that
 * is lost by a grace, and what it needs is what is on. Without a broker what
 * was on stays on for the same grace, as its interest most likely comes again.
 */
import { INTEREST_GRACE_MS } from '../../limits.js';
import { CATALOGUE, type Profile } from '../../subscriptions/pushdown/catalogue.js';
import type { RawExpr } from '../../subscriptions/pushdown/raw-expr.js';
import type { OnDemandEvents } from '../source/source.js';

/** What is asked for. */
export interface Asked {
  wants(type: string): boolean;
  /** What entries of a type must hold to be asked for, any of them; undefined where it cannot be said. */
  conditions(type: string): readonly RawExpr[] | undefined;
}

/** What recording them costs a machine, most first. */
const COSTLIEST: readonly Profile[] = ['syscall', 'file', 'security'];

const NOTHING: Asked = { wants: () => false, conditions: () => undefined };

export class Demand {
  /** Trace events, and the type that needs each. */
  #needed: ReadonlyMap<string, string> = new Map();
  /** Monotonic; undefined while there is an interest in force. */
  #endsMs: number | undefined;
  #asked: Asked = NOTHING;
  #suspended: readonly Profile[] = [];

  /** What an adopted instance still has on is kept for a grace from `nowMs` (monotonic). */
  constructor(
    private readonly events: OnDemandEvents | undefined,
    nowMs: number,
  ) {
    this.away(nowMs);
  }

  /** Before the interest is in force: switches on what it needs. Throws `failed_precondition` where the kernel refuses. */
  widen(asked: Asked): void {
    this.#needed = needed(asked, this.events);
    this.#asked = asked;
    this.#endsMs = undefined;
    this.#switchOn();
  }

  /** Of those that are asked for, costliest first; also what is suspended. */
  get profiles(): readonly Profile[] {
    const asked = new Set([...this.#needed.values()].map(profileOf));
    return COSTLIEST.filter((profile) => asked.has(profile));
  }

  /** What is asked for and not recorded. */
  get missing(): readonly Profile[] {
    return this.profiles.filter((profile) => this.#suspended.includes(profile));
  }

  /** Switches off what only these profiles need, and on what others do. */
  suspend(profiles: readonly Profile[]): void {
    this.#suspended = profiles;
    this.#switchOn();
    this.narrow();
  }

  #switchOn(): void {
    for (const [event, type] of this.#needed) {
      if (this.#suspended.includes(profileOf(type))) continue;
      // The kernel's filter first: what is on already goes from one to the other in one step.
      this.events?.filter(event, this.#asked.conditions(type));
      if (!this.events?.enabled.has(event)) this.events?.switch(event, true);
    }
  }

  /** After: switches off what nobody needs any more. */
  narrow(): void {
    for (const event of [...(this.events?.enabled ?? [])]) {
      const type = this.#needed.get(event);
      if (type === undefined || this.#suspended.includes(profileOf(type))) this.events?.switch(event, false);
    }
  }

  /** The broker is away: nobody says what is asked. */
  away(nowMs: number): void {
    this.#endsMs ??= nowMs + INTEREST_GRACE_MS;
  }

  /** Called now and then: ends the grace. True when it ended. */
  expire(nowMs: number): boolean {
    if (this.#endsMs === undefined || nowMs < this.#endsMs) return false;
    this.#endsMs = undefined;
    this.#needed = needed(NOTHING, this.events);
    this.narrow();
    return true;
  }
}

function profileOf(type: string): Profile {
  return CATALOGUE.get(type)?.profile ?? 'lite';
}

function needed(asked: Asked, events: OnDemandEvents | undefined): ReadonlyMap<string, string> {
  const needed = new Map<string, string>();
  for (const { type, traceEvent, alsoTraced } of CATALOGUE.values()) {
    if (!asked.wants(type)) continue;
    for (const event of [traceEvent, ...alsoTraced]) if (events?.events.has(event)) needed.set(event, type);
  }
  return needed;
}
