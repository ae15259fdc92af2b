/**
 * Cuts events down to the fields that were asked for, as frames have the fields of all subscriptions. An event that
 * several selectors match keeps the fields of all of them.
 */
import { BackplaneError } from '../../../errors.js';
import { MaskUnions } from '../../../subscriptions/mask-unions.js';
import { eachEvent } from '../../../wire/event/elements.js';
import { cutRuns, type FieldMask, USUAL_FIELDS } from '../../../wire/event/field-mask.js';
import type { Selection } from '../../../wire/frame/splice.js';
import type { SelectorSet } from './selector-set.js';

export class FieldCut {
  readonly #selectors: SelectorSet;
  /** All selectors ask for the same fields. */
  readonly #uniform: boolean;
  /** Of the first. */
  readonly #mask: FieldMask | undefined;
  /** Made where selectors ask for different fields. */
  #unions: MaskUnions | undefined;

  constructor(selectors: SelectorSet) {
    this.#selectors = selectors;
    this.#mask = selectors.all[0]!.mask;
    this.#uniform = new Set(selectors.all.map(({ spec }) => spec.fields.join())).size <= 1;
  }

  /** The parts of the selection, or its events one by one. */
  parts(selection: Selection): readonly Buffer[] {
    if (!this.#uniform) return this.#each(selection);
    const mask = this.#mask ?? usual(selection);
    return mask === undefined ? selection.parts : selection.parts.map((part) => cut(part, mask));
  }

  #each(selection: Selection): Buffer[] {
    const selectors: number[][] = Array.from({ length: selection.count }, () => []);
    for (const [selector, { indices }] of (selection.matched ?? []).entries()) {
      for (const index of indices) selectors[index]!.push(selector);
    }
    this.#unions ??= new MaskUnions();
    const unions = this.#unions;
    return selection.parts.flatMap(elementsOf).map((element, index) => {
      const mask = unions.of(this.#selectors.predicatesOf(selectors[index] ?? [])) ?? usual(selection);
      return mask === undefined ? element : cut(element, mask);
    });
  }
}

function usual({ namedFields }: Selection): FieldMask | undefined {
  return namedFields ? USUAL_FIELDS : undefined;
}

function elementsOf(part: Buffer): Buffer[] {
  const elements: Buffer[] = [];
  eachEvent(part, (_event, from, to) => elements.push(part.subarray(from, to)));
  return elements;
}

/**
 * Bytes that are not events stay uncut, for the subscriber to refuse, as without a mask. Nodes are not trusted, so one
 * node's bad bytes must not end the delivery of other nodes' events.
 */
function cut(part: Buffer, mask: FieldMask): Buffer {
  try {
    return cutRuns(part, mask);
  } catch (cause) {
    if (cause instanceof BackplaneError) return part;
    throw cause;
  }
}
