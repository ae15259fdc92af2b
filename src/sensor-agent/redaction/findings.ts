/** Collects the secrets that the rules found in one text, and the programs seen in it so far. */
import type { ProgramsSeen } from './programs-seen.js';

/** Where a secret stands in a text. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export class Findings {
  readonly spans: Span[] = [];

  readonly #from: number;
  /** Found so far, by the rules that hold. */
  readonly #counts: Map<string, number>;

  constructor(
    readonly programs: ProgramsSeen,
    from: number,
    counts: Map<string, number>,
  ) {
    this.#from = from;
    this.#counts = counts;
  }

  holds(rule: string): boolean {
    return this.#counts.has(rule);
  }

  /** Adds a secret that a rule found; does nothing when the rule is not in force. */
  add(rule: string, start: number, end: number): void {
    const from = Math.max(start, this.#from);
    const count = this.#counts.get(rule);
    if (end <= from || count === undefined) return;
    this.#counts.set(rule, count + 1);
    this.spans.push({ start: from, end });
  }
}
