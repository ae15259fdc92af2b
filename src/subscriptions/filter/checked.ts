/**
 * A checked filter: a closed union, typed, free of syntax. Later stages (closures, kernel filter text, raw predicates,
 * explanations) compile from it. Every node has the type of its value.
 */
import type { BusEvent } from '../../wire/event/event.js';
import type { AddressBlock } from './cidr.js';
import type { Pattern } from './pattern.js';
import type { Field } from './schema.js';

/** `dyn`: any JSON, which its place gives a type. */
export type ValueType = 'bool' | 'int' | 'string' | 'timestamp' | 'duration' | 'list(string)' | 'list(int)' | 'dyn';
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=';
export type ArithmeticOperator = '+' | '-' | '*' | '/' | '%';
export type StringTest = 'startsWith' | 'endsWith' | 'contains';
export type Quantifier = 'exists' | 'all' | 'exists_one';

interface Node<Kind extends string, Type extends ValueType> {
  readonly kind: Kind;
  readonly type: Type;
}

export type CheckedExpr =
  | (Node<'bool', 'bool'> & { readonly value: boolean })
  | (Node<'int', 'int'> & { readonly value: bigint })
  | (Node<'string', 'string'> & { readonly value: string })
  /** Nanoseconds since 1970; nanoseconds. */
  | (Node<'time', 'timestamp' | 'duration'> & { readonly value: bigint })
  | (Node<'field', 'bool' | 'int' | 'string' | 'timestamp' | 'list(string)'> & { readonly field: Field })
  /** Only where size() measures it: every other place gives it a type, so that it is a field. */
  | (Node<'dyn', 'dyn'> & { readonly root: string; readonly path: readonly (string | number)[] })
  | (Node<'has', 'bool'> & { readonly name: string; readonly present: (event: BusEvent) => boolean })
  /** The variable of the comprehension around it: there is at most one. */
  | Node<'item', 'string'>
  | (Node<'list', 'list(string)' | 'list(int)'> & { readonly elements: readonly CheckedExpr[] })
  | (Node<'not', 'bool'> & { readonly operand: CheckedExpr })
  | (Node<'negate', 'int'> & { readonly operand: CheckedExpr })
  /** At least two operands, none of the same kind. */
  | (Node<'and' | 'or', 'bool'> & { readonly operands: readonly CheckedExpr[] })
  | (Node<'compare', 'bool'> & {
      readonly operator: CompareOperator;
      readonly left: CheckedExpr;
      readonly right: CheckedExpr;
    })
  | (Node<'arithmetic', 'int' | 'timestamp' | 'duration' | 'string'> & {
      readonly operator: ArithmeticOperator;
      readonly left: CheckedExpr;
      readonly right: CheckedExpr;
    })
  | (Node<'conditional', ValueType> & {
      readonly test: CheckedExpr;
      readonly yes: CheckedExpr;
      readonly no: CheckedExpr;
    })
  | (Node<'in', 'bool'> & { readonly item: CheckedExpr; readonly list: CheckedExpr })
  | (Node<'string_test', 'bool'> & {
      readonly test: StringTest;
      readonly subject: CheckedExpr;
      readonly argument: CheckedExpr;
    })
  /** Whether the test holds with any of the literals. */
  | (Node<'string_test_any', 'bool'> & {
      readonly test: StringTest;
      readonly subject: CheckedExpr;
      readonly texts: readonly string[];
    })
  /** A to Z as a to z. */
  | (Node<'lower_ascii', 'string'> & { readonly operand: CheckedExpr })
  | (Node<'matches', 'bool'> & { readonly subject: CheckedExpr; readonly pattern: Pattern })
  | (Node<'size', 'int'> & { readonly operand: CheckedExpr })
  | (Node<'index', 'string' | 'int'> & { readonly list: CheckedExpr; readonly index: CheckedExpr })
  | (Node<'comprehension', 'bool'> & {
      readonly quantifier: Quantifier;
      readonly list: CheckedExpr;
      readonly body: CheckedExpr;
    })
  | (Node<'cidr_contains', 'bool'> & { readonly block: AddressBlock; readonly address: CheckedExpr });

/** The nodes directly below one. */
export function childrenOf(expr: CheckedExpr): readonly CheckedExpr[] {
  switch (expr.kind) {
    case 'list':
      return expr.elements;
    case 'not':
    case 'negate':
    case 'size':
    case 'lower_ascii':
      return [expr.operand];
    case 'and':
    case 'or':
      return expr.operands;
    case 'compare':
    case 'arithmetic':
      return [expr.left, expr.right];
    case 'conditional':
      return [expr.test, expr.yes, expr.no];
    case 'in':
      return [expr.item, expr.list];
    case 'string_test':
      return [expr.subject, expr.argument];
    case 'string_test_any':
    case 'matches':
      return [expr.subject];
    case 'index':
      return [expr.list, expr.index];
    case 'comprehension':
      return [expr.list, expr.body];
    case 'cidr_contains':
      return [expr.address];
    default:
      return [];
  }
}
