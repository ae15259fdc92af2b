/**
 * Switches trace events of the allowed profiles on while somebody asks for
 * them. Nothing is counted: the broker's interest outlives a subscriber that
 * is lost by a grace, and what it needs is what is on. Without a broker what
 * was on stays on for the same grace, as its interest most likely comes again.
 */
import { INTEREST_GRACE_MS } from '../limits.js';
import { CATALOGUE } from '../subscriptions/pushdown/catalogue.js';
import type { OnDemandEvents } from './source/source.js';

/** Whether a type is asked for. */
export type Wants = (type: string) => boolean;

export class Demand {
  #needed: ReadonlySet<string> = new Set();
  /** Monotonic; undefined while there is an interest in force. */
  #endsMs: number | undefined;

  /** What an adopted instance still has on is kept for a grace from `nowMs` (monotonic). */
  constructor(
    private readonly events: OnDemandEvents | undefined,
    nowMs: number,
  ) {
    this.away(nowMs);
  }

  /** Before the interest is in force: switches on what it needs. Throws `failed_precondition` where the kernel refuses. */
  widen(wants: Wants): void {
    this.#needed = needed(wants, this.events);
    this.#endsMs = undefined;
    for (const event of this.#needed) if (!this.events?.enabled.has(event)) this.events?.switch(event, true);
  }

  /** After: switches off what nobody needs any more. */
  narrow(): void {
    for (const event of [...(this.events?.enabled ?? [])]) {
      if (!this.#needed.has(event)) this.events?.switch(event, false);
    }
  }

  /** The broker is away: nobody says what is asked. */
  away(nowMs: number): void {
    this.#endsMs ??= nowMs + INTEREST_GRACE_MS;
  }

  /** Called now and then: ends the grace. */
  expire(nowMs: number): void {
    if (this.#endsMs === undefined || nowMs < this.#endsMs) return;
    this.#endsMs = undefined;
    this.#needed = new Set();
    this.narrow();
  }
}

function needed(wants: Wants, events: OnDemandEvents | undefined): ReadonlySet<string> {
  const needed = new Set<string>();
  for (const { type, traceEvent, alsoTraced } of CATALOGUE.values()) {
    if (!events?.events.has(traceEvent) || !wants(type)) continue;
    for (const event of [traceEvent, ...alsoTraced]) if (events.events.has(event)) needed.add(event);
  }
  return needed;
}
