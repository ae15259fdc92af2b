/**
 * Constants that a field must equal for a filter to hold: an index uses them to find matching filters among many that
 * differ only there.
 */
import type { CheckedExpr } from './filter/checked.js';
import type { Field } from './filter/schema.js';

/** Typed as the field reads: int fields within 53 bits are numbers, wider ones bigint. */
export type FieldConstant = string | number | bigint;
type ReadField = Extract<Field, { type: 'int' | 'string' }> & { readonly read: unknown };

export interface RequiredEquality {
  readonly field: ReadField;
  /** The filter is false for any event whose field is none of these. */
  readonly values: readonly FieldConstant[];
}

/** The required equalities among the conjuncts of a filter. */
export function requiredEqualities(root: CheckedExpr): readonly RequiredEquality[] {
  const conjuncts = root.kind === 'and' ? root.operands : [root];
  return conjuncts.flatMap((conjunct) => {
    if (conjunct.kind === 'compare' && conjunct.operator === '==') {
      return equality(conjunct.left, [conjunct.right]) ?? equality(conjunct.right, [conjunct.left]) ?? [];
    }
    if (conjunct.kind !== 'in' || conjunct.list.kind !== 'list') return [];
    return equality(conjunct.item, conjunct.list.elements) ?? [];
  });
}

function equality(subject: CheckedExpr, constants: readonly CheckedExpr[]): RequiredEquality | undefined {
  if (subject.kind !== 'field' || !('read' in subject.field)) return undefined;
  const { field } = subject;
  // It cannot be read of every event.
  if ('dynamic' in field) return undefined;
  if (field.type !== 'int' && field.type !== 'string') return undefined;
  const values = new Set<FieldConstant>();
  for (const constant of constants) {
    if (constant.kind === 'string') values.add(constant.value);
    else if (constant.kind === 'int') values.add('wide' in field ? constant.value : Number(constant.value));
    else return undefined;
  }
  return { field: field as ReadField, values: [...values] };
}
