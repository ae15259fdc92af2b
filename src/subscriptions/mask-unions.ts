/** The fields of an event that several predicates match: all that any of them asks for. */
import { LRUCache } from 'lru-cache';
import { MASK_UNIONS_MAX } from '../limits.js';
import { type FieldMask, unionOfMasks } from '../wire/event/field-mask.js';
import type { Predicate } from './predicate.js';

export class MaskUnions {
  /** By the ids of the predicates, from which their masks follow: the same few sets match again and again. */
  readonly #known = new LRUCache<string, { readonly mask: FieldMask | undefined }>({ max: MASK_UNIONS_MAX });

  /** Undefined: the usual fields. */
  of(matched: readonly Predicate[]): FieldMask | undefined {
    if (matched.every(({ mask }) => mask === undefined)) return undefined;
    if (matched.length === 1) return matched[0]!.mask;
    const key = matched.map(({ id }) => id).join();
    let union = this.#known.get(key);
    if (union === undefined) {
      union = { mask: unionOfMasks(matched.map(({ mask }) => mask)) };
      this.#known.set(key, union);
    }
    return union.mask;
  }
}
