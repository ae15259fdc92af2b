/** Filter text to a syntax tree: the pass of scan.ts, then the CEL parser, with every error at a column. */
import { parse } from '@bufbuild/cel';
import { quoted, refusal } from './refusal.js';
import { scanFilter } from './scan.js';

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
      // The parser counts the blanks before an operator to the operator.
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
    const found = /^(?:[A-Za-z0-9_]+|&&|\|\||[=!<>]=|.)/su.exec(text.slice(offset))?.[0];
    throw refusal(text, offset, found === undefined ? 'the filter ends too early' : `unexpected ${quoted(found)}`);
  }
}

/** The parser's error classes are not exported; what they carry is. */
function offsetOfError(cause: unknown): number | undefined {
  const location = cause instanceof Error && 'location' in cause ? cause.location : undefined;
  const start = (location as { start?: { offset?: unknown } } | undefined)?.start?.offset;
  return typeof start === 'number' ? start : undefined;
}
