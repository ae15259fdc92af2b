/** Numbers of the events that a subscriber is owed, apart by how the ledger counts them. */
import { least, NONE, plus, type Tally, without } from './tally.js';

export interface OwedTally {
  readonly shed: Tally;
  readonly skipped: Tally;
}

export type OwedKind = keyof OwedTally;

export const NONE_OWED: OwedTally = { shed: NONE, skipped: NONE };

/** Of one kind alone. */
export function owedOf(kind: OwedKind, tally: Tally): OwedTally {
  return { ...NONE_OWED, [kind]: tally };
}

/** Unknown where one of the two is. */
export function owedTogether(a: OwedTally | undefined, b: OwedTally | undefined): OwedTally | undefined {
  return a && b && { shed: plus(a.shed, b.shed), skipped: plus(a.skipped, b.skipped) };
}

/** Unknown where one of the two is; nothing becomes less than 0. */
export function owedWithout(a: OwedTally | undefined, b: OwedTally | undefined): OwedTally | undefined {
  return a && b && { shed: without(a.shed, b.shed), skipped: without(a.skipped, b.skipped) };
}

export function totalOwed({ shed, skipped }: OwedTally): Tally {
  return plus(shed, skipped);
}

/** The one kind that is owed; undefined for both and for none. */
export function onlyOwed({ shed, skipped }: OwedTally): OwedKind | undefined {
  if (least(shed, skipped).events > 0 || shed.events + skipped.events === 0) return undefined;
  return shed.events > 0 ? 'shed' : 'skipped';
}
