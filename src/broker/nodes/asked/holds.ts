/**
 * From which position a node's frames are complete for what it is asked. Brokers tell each other, and keep, not a position for
 * each predicate but a few steps: what has been asked without a break since `asOf`, or since before it, is complete from
 * `position`. A predicate's own position may be earlier, never later: then recorders are asked for what lies between.
 */
import * as z from 'zod';
import { HOLD_STEPS_MAX, HOLDS_REFUSED_MAX } from '../../../limits.js';
import { comparePositions, laterPosition, type Position } from '../../../wire/position.js';
import type { StateValue } from '../../cluster/shared-state.js';
import { positionSchema, positionTuple, u64Schema } from '../../log/position-tuple.js';
import type { Wanted } from './wanted.js';

export interface Hold {
  /** From here the log has all. */
  readonly position: Position;
  /** From here it may have all: nothing before it is missing in the log, because nobody asked then. */
  readonly first: Position;
}

interface Step extends Hold {
  readonly asOf: number;
}

const whole = z.number().int().nonnegative();
const step = z.object({ asOf: whole, from: positionSchema, first: positionSchema.optional() });
export const holdStepsSchema = z.object({
  steps: z.array(step).max(HOLD_STEPS_MAX),
  not: z.array(u64Schema).max(HOLDS_REFUSED_MAX),
});

export class HoldSteps implements KeptHolds {
  static readonly NONE = new HoldSteps([], new Set());
  /** `asOf` and `position` ascend. */
  readonly #steps: readonly Step[];
  /** What is asked since before the last step, and does not hold. */
  readonly #not: ReadonlySet<bigint>;

  private constructor(steps: readonly Step[], not: ReadonlySet<bigint>) {
    this.#steps = steps;
    this.#not = not;
  }

  /** Of what is wanted of a node. */
  static of(holds: ReadonlyMap<bigint, Hold>, wanted: Wanted): HoldSteps {
    const steps: Step[] = [];
    const not: bigint[] = [];
    let refused: bigint[] = [];
    for (const [id, asOf] of wanted.bySince) {
      const hold = holds.get(id);
      if (hold === undefined) refused.push(id);
      else {
        // What does not hold has to be named only in front of what does.
        if (not.length + refused.length > HOLDS_REFUSED_MAX) break;
        not.push(...refused);
        refused = [];
        add(steps, { asOf, position: hold.position, first: hold.first });
      }
    }
    // Of several that were asked at once some may not hold.
    for (const id of refused) if (wanted.since(id)! <= (steps.at(-1)?.asOf ?? -1)) not.push(id);
    if (not.length > HOLDS_REFUSED_MAX) return HoldSteps.NONE;
    while (steps.length > HOLD_STEPS_MAX) mergeNearest(steps);
    return new HoldSteps(steps, new Set(not));
  }

  /** As from(). Throws for what no broker writes. */
  static read(value: unknown, before?: number): HoldSteps {
    return HoldSteps.from(holdStepsSchema.parse(value), before);
  }

  /**
   * @param before the change of the claims that nobody can have read who wrote it: steps from there on are of claims that
   *   were lost, and whose numbers others get now
   */
  static from({ steps, not }: z.output<typeof holdStepsSchema>, before = Number.POSITIVE_INFINITY): HoldSteps {
    const valid = steps.filter(({ asOf }) => asOf < before);
    const read = valid.map(({ asOf, from, first = from }) => {
      return { asOf, position: from, first };
    });
    return new HoldSteps(read, new Set(not));
  }

  /** @param since when the node was asked for it, without a break from then on */
  get(id: bigint, since: number | undefined): Hold | undefined {
    if (since === undefined || this.#not.has(id)) return undefined;
    const step = this.#steps.find(({ asOf }) => asOf >= since);
    // By the claims of its writer: whoever takes the node over says it by those that there are then.
    return step && { position: step.position, first: step.first };
  }

  /** What of the wanted may hold by these steps that did not by those before. */
  newSince(before: HoldSteps, wanted: Wanted): ReadonlySet<bigint> {
    const last = before.#steps.at(-1)?.asOf ?? -1;
    const ids = new Set([...before.#not].filter((id) => !this.#not.has(id)));
    for (let at = wanted.bySince.length - 1; at >= 0; at--) {
      const [id, since] = wanted.bySince[at]!;
      if (since <= last) break;
      if (this.get(id, since) !== undefined) ids.add(id);
    }
    return ids;
  }

  /** Whether these say of nothing that is wanted more than holds, and leave out none of it: they may say less. */
  isEnoughFor(holds: ReadonlyMap<bigint, Hold>, wanted: Wanted): boolean {
    return wanted.bySince.every(([id, since]) => {
      const [told, hold] = [this.get(id, since), holds.get(id)];
      if (told === undefined || hold === undefined) return told === hold;
      const isLater = comparePositions(told.position, hold.position) >= 0;
      return isLater && comparePositions(told.first, hold.first) <= 0;
    });
  }

  toValue(): StateValue {
    return {
      steps: this.#steps.map(({ asOf, position, first }) => {
        const from = { asOf, from: positionTuple(position) };
        return first === position ? from : { ...from, first: positionTuple(first) };
      }),
      not: Array.from(this.#not, String),
    };
  }
}

/** What is held of a node, as it was kept. */
export interface KeptHolds {
  /** @param since the change of the claims since which the node has been asked for it; undefined: it is not */
  get(id: bigint, since: number | undefined): Hold | undefined;
}

/** Steps only go up: one that would go down is as late as the one before. */
function add(steps: Step[], { asOf, position, first }: Step): void {
  const before = steps.at(-1);
  if (before === undefined || (asOf > before.asOf && comparePositions(position, before.position) > 0)) {
    steps.push({ asOf, position, first });
  } else steps[steps.length - 1] = merged(before, { asOf, position, first });
}

function merged(before: Step, step: Step): Step {
  const position = laterPosition(step.position, before.position);
  const first = comparePositions(before.first, step.first) <= 0 ? before.first : step.first;
  return { asOf: step.asOf, position, first };
}

/** Joins the two steps between which the least time lies. */
function mergeNearest(steps: Step[]): void {
  let nearest = 1;
  for (let at = 2; at < steps.length; at++) if (gap(steps, at) < gap(steps, nearest)) nearest = at;
  steps.splice(nearest - 1, 2, merged(steps[nearest - 1]!, steps[nearest]!));
}

function gap(steps: readonly Step[], at: number): number {
  const [before, after] = [steps[at - 1]!.position, steps[at]!.position];
  return before.epoch === after.epoch ? Number(after.timeNs - before.timeNs) : Number.POSITIVE_INFINITY;
}
