/**
 * In what proportion the synthetic source makes up each kind of events. A mix
 * repeats itself after as many events as its weights have in all; within that,
 * every kind is spread as evenly as it goes. What stands at an index is
 * therefore known without what came before it.
 */
import { BackplaneError } from '../../../errors.js';
import { SYNTHETIC_WEIGHT_MAX } from '../../../limits.js';

/**
 * - life: a process from fork to exit that connects once: eight events
 * - process: the same without the connection: fork, rename, exec, exit and the signal to its parent
 * - network: TCP connections of a few services, each opened (two state changes) and closed;
 *   the first events of a run are the execs of these services, so that every connection has its process
 * - syscall: raw sys_enter and sys_exit in turn, of the same services
 * - numbered: execs whose last argument is `--sequence=<n>`, n counting from 0
 */
export const SYNTHETIC_KINDS = ['life', 'process', 'network', 'syscall', 'numbered'] as const;

export type SyntheticKind = (typeof SYNTHETIC_KINDS)[number];

/** Weights, 1 to SYNTHETIC_WEIGHT_MAX: kernel events of this kind among as many as all weights sum up to. */
export type SyntheticMix = Readonly<Partial<Record<SyntheticKind, number>>>;

interface Entry {
  readonly kind: SyntheticKind;
  readonly before: number;
  readonly weight: number;
}

export class MixPlan {
  /** The kind at each place of a round, and how many of that kind stand before it. */
  readonly #round: readonly Entry[];

  /** @throws BackplaneError invalid_argument */
  constructor(mix: SyntheticMix) {
    const kinds = SYNTHETIC_KINDS.filter((kind) => mix[kind] !== undefined);
    if (kinds.length === 0) throw new BackplaneError('invalid_argument', 'mix must hold at least 1 kind, got 0');
    this.#round = kinds.flatMap((kind) => entries(kind, mix[kind]!)).sort(byShare);
  }

  /** The kind of event `index`, and how many of that kind came before it. */
  at(index: number): { kind: SyntheticKind; ordinal: number } {
    const length = this.#round.length;
    const { kind, before, weight } = this.#round[index % length]!;
    return { kind, ordinal: Math.floor(index / length) * weight + before };
  }
}

function entries(kind: SyntheticKind, weight: number): Entry[] {
  if (!(Number.isInteger(weight) && weight >= 1 && weight <= SYNTHETIC_WEIGHT_MAX)) {
    throw new BackplaneError(
      'invalid_argument',
      `mix weight of ${kind} must be a whole number from 1 to ${SYNTHETIC_WEIGHT_MAX}, got ${weight}`,
    );
  }
  return Array.from({ length: weight }, (_, before) => ({ kind, before, weight }));
}

/** Orders entries by the middle of each one's part of the round: (before + ½) / weight, in whole numbers. */
function byShare(a: Entry, b: Entry): number {
  return (2 * a.before + 1) * b.weight - (2 * b.before + 1) * a.weight;
}
