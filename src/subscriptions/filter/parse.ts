/** Filter text to a syntax tree: the pass of scan.ts, then the CEL parser, with every error at a column. */
import { parse } from '@bufbuild/cel';
import { shown } from '../../text/shown.js';
import { refusal } from './refusal.js';
import { scanFilter } from './scan.js';

const OPERATOR = /^\s*(?:&&|\|\||[=!<>]=|[-+*/%<>?:,.]|in\b)\s*/;
const MEANT = new Map([
  ['and', '&&'],
  ['or', '||'],
  ['not', '!'],
]);
const OPERAND_END = /[\w)\]"']\s*$/;

type Parsed = ReturnType<typeof parse>;
export type Syntax = Parsed['expr'];
export type CallSyntax = Extract<Syntax['exprKind'], { case: 'callExpr' }>['value'];
export type LoopSyntax = Extract<Syntax['exprKind'], { case: 'comprehensionExpr' }>['value'];
type Constant = Extract<Syntax['exprKind'], { case: 'constExpr' }>['value'];
export type ConstantSyntax = Constant['constantKind'];

export interface ParsedFilter {
  readonly text: string;
  readonly root: Syntax;
  /** Where a node stands in the text, from 0; for a call with a target, where the function's name begins. */
  offsetOf(node: Syntax): number;
  /** The macro (`exists`, `map`, ...) that a comprehension was written as. */
  macroOf(node: Syntax): string;
}

/** @throws BackplaneError filter_invalid: too long, too deep, or not CEL. */
export function parseFilter(text: string): ParsedFilter {
  scanFilter(text);
  const { expr, sourceInfo } = parseChecked(text);
  return {
    text,
    root: expr,
    offsetOf(node) {
      const first = firstOf(node);
      const offset = sourceInfo?.positions[String(first.id)] ?? 0;
      // The parser counts blanks before an operator as part of the operator.
      return offset + (/^[\s.]*/.exec(text.slice(offset))?.[0].length ?? 0);
    },
    macroOf(node) {
      const call = sourceInfo?.macroCalls[String(node.id)]?.exprKind;
      return call?.case === 'callExpr' ? call.value.function : '';
    },
  };
}

/** `a.b.c` is one name: it begins at `a`. */
function firstOf(node: Syntax): Syntax {
  let first = node;
  while (first.exprKind.case === 'selectExpr' && first.exprKind.value.operand) first = first.exprKind.value.operand;
  return first;
}

function parseChecked(text: string): Parsed {
  try {
    return parse(text);
  } catch (cause) {
    const offset = offsetOfError(cause);
    if (offset === undefined) throw refusal(text, 0, cause instanceof Error ? cause.message : 'cannot be parsed');
    const reserved = /reserved (?:identifier|keyword)/.test((cause as Error).message);
    if (reserved) throw refusal(text, offset, 'a reserved word cannot be a name');
    throw refusal(text, ...unexpected(text, offset));
  }
}

/**
 * Offset and text of the error. The parser stops before an operator that lacks its right side; the fault is then in the
 * text after that operator.
 */
function unexpected(text: string, stopped: number): [number, string] {
  let offset = stopped;
  const operator = OPERATOR.exec(text.slice(offset))?.[0];
  if (operator !== undefined && OPERAND_END.test(text.slice(0, offset))) offset += operator.length;
  offset += /^\s*/.exec(text.slice(offset))![0].length;
  const found = /^(?:[A-Za-z0-9_]+|&&|\|\||[=!<>]=|.)/su.exec(text.slice(offset))?.[0];
  if (found === undefined) return [offset, 'the filter ends too early'];
  const meant = MEANT.get(found.toLowerCase());
  return [offset, `unexpected ${shown(found)}${meant === undefined ? '' : `, did you mean "${meant}"?`}`];
}

/** The parser's error classes are not exported, so the offset is read from their fields. */
function offsetOfError(cause: unknown): number | undefined {
  const location = cause instanceof Error && 'location' in cause ? cause.location : undefined;
  const start = (location as { start?: { offset?: unknown } } | undefined)?.start?.offset;
  return typeof start === 'number' ? start : undefined;
}
