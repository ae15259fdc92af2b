/** Numbers of events: of the stream, where each counts once, and of each selector that they match. */
export interface Tally {
  readonly events: number;
  /** By selector, in the order of the request; empty for a subscription without selectors, and for none at all. */
  readonly of: readonly number[];
}

export const NONE: Tally = { events: 0, of: [] };

export function plus(a: Tally, b: Tally): Tally {
  return both(a, b, (one, other) => one + other);
}

/** `a` without `b`; nothing becomes less than 0. */
export function without(a: Tally, b: Tally): Tally {
  return both(a, b, (one, other) => Math.max(0, one - other));
}

export function least(a: Tally, b: Tally): Tally {
  return both(a, b, Math.min);
}

/** Whether `a` counts more than `b` anywhere. */
export function exceeds(a: Tally, b: Tally): boolean {
  return a.events > b.events || a.of.some((events, index) => events > (b.of[index] ?? 0));
}

export function isSame(a: Tally, b: Tally): boolean {
  return !exceeds(a, b) && !exceeds(b, a);
}

function both(a: Tally, b: Tally, combine: (one: number, other: number) => number): Tally {
  const events = combine(a.events, b.events);
  if (a.of.length === 0 && b.of.length === 0) return { events, of: a.of };
  const length = Math.max(a.of.length, b.of.length);
  return { events, of: Array.from({ length }, (_, index) => combine(a.of[index] ?? 0, b.of[index] ?? 0)) };
}
