/**
 * What a filter says of an event whose container nobody could name in time: its name, its image, its pod and the pod's
 * namespace may be anything, so that each part of a filter that depends on them may be true, and may be false. An event
 * passes where the whole may be true.
 */
import { type CheckedExpr, childrenOf } from './checked.js';

const NAMES = /^(container\.(name|image)|k8s)\b/;

/** True wherever the filter could be, and nowhere else but where several parts depend on one name. */
export function whateverNames(expr: CheckedExpr): CheckedExpr {
  return dependsOnNames(expr) ? decided(expr, true) : expr;
}

/** `towards`: replaced by what may be true, or may be false. */
function decided(expr: CheckedExpr, towards: boolean): CheckedExpr {
  if (!dependsOnNames(expr)) return expr;
  switch (expr.kind) {
    case 'not':
      return { ...expr, operand: decided(expr.operand, !towards) };
    case 'and':
    case 'or':
      return { ...expr, operands: expr.operands.map((operand) => decided(operand, towards)) };
    case 'conditional': {
      const { test } = expr;
      const yes = decided(expr.yes, towards);
      const no = decided(expr.no, towards);
      if (!dependsOnNames(test)) return { ...expr, yes, no };
      return { kind: towards ? 'or' : 'and', type: 'bool', operands: [yes, no] };
    }
    default:
      return { kind: 'bool', type: 'bool', value: towards };
  }
}

function dependsOnNames(expr: CheckedExpr): boolean {
  if (expr.kind === 'field') return NAMES.test(expr.field.name);
  if (expr.kind === 'has') return NAMES.test(expr.name);
  return childrenOf(expr).some(dependsOnNames);
}
