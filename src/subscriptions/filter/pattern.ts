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

/**
 * One token of RE2's syntax, from where it begins:
 *
 *   quote  := \\Q text (\\E | end)            group := ( (?flags) | (?flags: | (?P<name> | (?<name> )?
 *   escape := \\x{hex} | \\x hex hex | \\p{name} | \\pL | octal | \\ any
 *   class  := [ ^? ]? ( [:name:] | escape | any )* ]
 *   repeat := {n} | {n,} | {n,m}              any other character is itself, braces that repeat nothing too
 *
 * No two alternatives begin alike, and none contains an ambiguous repetition, so the work is linear in the text.
 */
const QUOTE = /\\Q([\s\S]*?)(?:\\E|$)/y;
const ESCAPE = /\\(?:x\{[^}]{0,64}\}|x[0-9A-Fa-f]{2}|[pP]\{[^}]{0,64}\}|[pP][\s\S]|[0-7]{1,3}|[\s\S])/uy;
const FLAGS = /\(\?[A-Za-z-]{0,16}\)/y;
const GROUP = /\((?!\?[A-Za-z-]{0,16}\))(?:\?(?:P?<[^>]{0,128}>|([A-Za-z-]{0,16}:)))?/y;
const CLASS_BEGIN = /\[\^?\]?/y;
const CLASS_NAME = /\[:\^?[A-Za-z]*:\]/y;
const REPEAT = /\{([0-9]{1,6})(?:,([0-9]{0,6}))?\}\??/y;

/** Atoms after writing repetitions out: at least a quarter of the instructions there will be. Linear in the text. */
function expandedSize(source: string): number {
  const outer: { readonly size: number; readonly captures: boolean }[] = [];
  let size = 0;
  let atom = 0;
  let at = 0;
  /** Matches the pattern here and moves behind it; null when it does not match. */
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found) at += found[0].length;
    return found;
  };
  while (at < source.length) {
    const quote = take(QUOTE);
    const repeat = quote ? null : take(REPEAT);
    const group = quote || repeat ? null : take(GROUP);
    if (quote) {
      // A repetition after the quote applies to its last character only.
      const characters = [...quote[1]!].length;
      atom = Math.min(1, characters);
      size += characters;
    } else if (repeat) {
      const times = Math.max(Number(repeat[1]), Number(repeat[2] ?? 0), 1);
      size += atom * (times - 1);
      atom *= times;
    } else if (group) {
      outer.push({ size, captures: group[1] === undefined });
      size = 0;
      atom = 0;
    } else if (source[at] === ')') {
      at += 1;
      const { size: before, captures } = outer.pop() ?? { size: 0, captures: true };
      // Nothing, however often it is repeated, compiles to one instruction.
      atom = captures ? size + 1 : size;
      size = before + Math.max(atom, 1);
    } else if (/[*+?]/.test(source[at]!)) {
      at += 1;
    } else if (take(FLAGS)) {
      atom = 0;
    } else {
      if (!take(ESCAPE) && !takeClass(source, take, () => at)) at += source.codePointAt(at)! > 0xffff ? 2 : 1;
      atom = 1;
      size += 1;
    }
  }
  return outer.reduce((sum, part) => sum + part.size, size);
}

/** A class is one atom, whatever is in it. False where none begins; one that never ends takes all. */
function takeClass(source: string, take: (pattern: RegExp) => unknown, at: () => number): boolean {
  if (!take(CLASS_BEGIN)) return false;
  while (at() < source.length && source[at()] !== ']') {
    if (!take(CLASS_NAME) && !take(ESCAPE)) take(ANY);
  }
  take(ANY);
  return true;
}

const ANY = /[\s\S]/uy;
