/**
 * Regular expressions of filters and of redaction rules: RE2 only, which never backtracks. The work
 * of a match is bounded by instructions times characters, so the instructions
 * are bounded; an upper estimate is taken before compiling, for `(x{30}){30}`
 * is short to write and long to compile.
 */
import { RE2JS } from 're2js';
import { FILTER_PATTERN_INSTRUCTIONS_MAX } from '../../limits.js';

export interface Pattern {
  readonly source: string;
  /** Size of the compiled program. */
  readonly instructions: number;
  /** Whether it matches anywhere in the text. */
  readonly test: (text: string) => boolean;
}

/** A compiled pattern with its groups. */
export interface Re2 {
  readonly compiled: RE2JS;
  readonly instructions: number;
  readonly groupCount: number;
  readonly groupNames: ReadonlyMap<string, number>;
}

/** A filter's pattern, or why it is refused. */
export function compilePattern(source: string): Pattern | { readonly problem: string } {
  const re2 = compileRe2(source, FILTER_PATTERN_INSTRUCTIONS_MAX);
  if ('problem' in re2) return re2;
  const { compiled, instructions } = re2;
  // find() rather than test(): test() keeps an automaton of up to 8 MiB per
  // pattern, and rebuilds it at a hundred times the cost on hostile text.
  return { source, instructions, test: (text) => compiled.matcher(text).find() };
}

/** The pattern, or why it is refused. Its work is bounded before it is compiled. */
export function compileRe2(source: string, instructionsMax: number): Re2 | { readonly problem: string } {
  const estimate = expandedSize(source);
  if (estimate > 2 * instructionsMax) return { problem: tooLarge(estimate, instructionsMax) };
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(source);
  } catch (cause) {
    return { problem: `not an RE2 pattern (${reasonOf(cause)})` };
  }
  const instructions = compiled.programSize();
  if (instructions > instructionsMax) return { problem: tooLarge(instructions, instructionsMax) };
  const groupNames = new Map(Object.entries(compiled.namedGroups()));
  return { compiled, instructions, groupCount: compiled.groupCount(), groupNames };
}

export function tooLarge(instructions: number, instructionsMax = FILTER_PATTERN_INSTRUCTIONS_MAX): string {
  return `patterns may compile to at most ${instructionsMax} instructions in all, got ${instructions}`;
}

/** The engine's reason without the part of the pattern that it repeats, which may be all of it. */
function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(/^error parsing regexp: /, '').replace(/: `.*$/s, '');
}

/** Atoms after writing repetitions out. Grows beyond bounds only as far as numbers do. */
function expandedSize(source: string): number {
  const outer: number[] = [];
  let size = 0;
  let atom = 0;
  for (let at = 0; at < source.length; at++) {
    const char = source[at];
    const repeat = char === '{' ? /^\{([0-9]{1,6})(?:,([0-9]{0,6}))?\}/.exec(source.slice(at, at + 16)) : null;
    if (repeat) {
      const times = Math.max(Number(repeat[1]), Number(repeat[2] ?? 0), 1);
      size += atom * (times - 1);
      atom *= times;
      at += repeat[0].length - 1;
    } else if (char === '(') {
      outer.push(size);
      size = 0;
      atom = 0;
    } else if (char === ')') {
      atom = size + 1;
      size = (outer.pop() ?? 0) + atom;
    } else if (char !== '*' && char !== '+' && char !== '?') {
      at = atomEnd(source, at);
      atom = 1;
      size += 1;
    }
  }
  return outer.reduce((sum, part) => sum + part, size);
}

/** Index of the last character of the atom at `at`: a character, an escape or a class. */
function atomEnd(source: string, at: number): number {
  if (source[at] === '\\') {
    if (/[pP]/.test(source[at + 1] ?? '') && source[at + 2] === '{') return endOr(source.indexOf('}', at), at + 1);
    return at + 1;
  }
  if (source[at] !== '[') return at;
  const first = source[at + 1] === '^' ? at + 2 : at + 1;
  for (let i = first; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === '[' && source[i + 1] === ':') i = endOr(source.indexOf(':]', i), i) + 1;
    else if (source[i] === ']' && i > first) return i;
  }
  return at;
}

function endOr(index: number, otherwise: number): number {
  return index < 0 ? otherwise : index;
}
