/** All rules about one recorded text: what they could begin with is found in one pass, then each looks there. */
import { ArgumentText, endsWord, isQuote, NUL } from './argument-text.js';
import { NAME_RULES, PROGRAMS, SHAPES, TRAITS } from './default-rules.js';
import { Findings, type Span } from './findings.js';
import { LiteralScan } from './literal-scan.js';
import { NamedSecrets } from './named-secrets.js';
import { cpuMsOf, findPattern } from './pattern-rules.js';
import { ProgramForms } from './program-forms.js';
import { findProgramSecrets, type NamedProgram } from './program-secrets.js';
import { ProgramsSeen, type ProgramTraits } from './programs-seen.js';
import type { CompiledPattern, CompiledRule } from './rule.js';
import { NAME_HINTS } from './secret-name.js';
import { isTokenStart, type SecretShape, ShapedSecrets, type ShapeKind } from './shaped-secrets.js';
import type { Unexamined } from './unexamined.js';

/** The rules for which a literal in the text matters. */
interface Use {
  readonly literal: string;
  isName: boolean;
  readonly shapes: SecretShape[];
  /** Indices of PROGRAMS. */
  readonly programs: number[];
  readonly traits: ProgramTraits[];
  /** Indices of patterns. */
  readonly patterns: number[];
}

/** Shapes that may be a secret from their first character on. */
const WHOLE_SHAPES: ReadonlySet<ShapeKind> = new Set(['token', 'jwt', 'tail', 'pem', 'dsn']);
const BACKQUOTE = 96;
const SLASH = 47;

/** A text with the places where a secret may begin. Valid until the next text is looked at. */
export interface Candidate {
  readonly text: string;
  readonly from: number;
  readonly cut: boolean;
  /** Pairs: index of a use, end of its literal. */
  readonly hits: readonly number[];
}

export class FieldRules {
  readonly #uses: readonly Use[];
  readonly #scan: LiteralScan;
  readonly #forms: ProgramForms;
  readonly #patterns: readonly CompiledPattern[];
  /** Indices of patterns that are always tried. */
  readonly #always: readonly number[];
  /** Hits of the last text; the array is reused for the next. */
  readonly #hits: number[] = [];
  /** CPU that patterns took in the last text. */
  patternsMs = 0;

  readonly #counts: Map<string, number>;
  readonly #anyCase: boolean;

  /** `anyCase`: whoever passed the text on may have changed its letters' case. */
  constructor(rules: readonly CompiledRule[], counts: Map<string, number>, anyCase = false) {
    this.#counts = counts;
    this.#anyCase = anyCase;
    const names = new Set(rules.filter((rule) => rule.pattern === undefined).map(({ name }) => name));
    this.#patterns = rules.filter((rule): rule is CompiledPattern => rule.pattern !== undefined);
    this.#always = this.#patterns.flatMap(({ hints }, index) => (hints.length === 0 ? [index] : []));
    this.#uses = usesOf(names, this.#patterns);
    this.#scan = new LiteralScan(this.#uses.map(({ literal }) => literal));
    this.#forms = new ProgramForms(names.size === 0 ? [] : PROGRAMS);
  }

  /** The text with the places that must be looked at; undefined where no rule can find anything. */
  candidate(text: string, from: number, cut: boolean): Candidate | undefined {
    if (this.#uses.length === 0 && this.#always.length === 0) return undefined;
    const hits = this.#hits;
    hits.length = 0;
    this.#scan.scan(text, hits);
    let kept = 0;
    let isConcerned = this.#always.length > 0;
    for (let at = 0; at < hits.length; at += 2) {
      const use = this.#uses[hits[at]!]!;
      const end = hits[at + 1]!;
      if (!mayBegin(use, text, from, end - use.literal.length, end, this.#anyCase)) continue;
      hits[kept] = hits[at]!;
      hits[kept + 1] = end;
      kept += 2;
      // Traits alone find no secrets.
      isConcerned ||= use.isName || use.shapes.length > 0 || use.programs.length > 0 || use.patterns.length > 0;
    }
    hits.length = kept;
    return isConcerned ? { text, from, cut, hits } : undefined;
  }

  /** The secrets that the rules find in a candidate. */
  find({ text, from, cut, hits }: Candidate): Span[] {
    const seen = new ProgramsSeen();
    const found = new Findings(seen, from, this.#counts);
    const argument = new ArgumentText(text, from, cut);
    const names = new NamedSecrets(argument, found);
    const shapes = new ShapedSecrets(argument, found, this.#anyCase);
    const named: NamedProgram[] = [];
    const due = new Set(this.#always);
    /** Where each kind goes on looking; everything before was looked at. */
    const next = new Map<ShapeKind | 'name', number>();
    for (let at = 0; at < hits.length; at += 2) {
      const use = this.#uses[hits[at]!]!;
      const end = hits[at + 1]!;
      const start = end - use.literal.length;
      for (const pattern of use.patterns) due.add(pattern);
      if ((use.programs.length > 0 || use.traits.length > 0) && isProgramName(text, from, start, end)) {
        for (const traits of use.traits) seen.see(traits);
        for (const program of use.programs) named.push({ program, start, end });
      }
      if (end <= from) continue;
      if (use.isName && end > (next.get('name') ?? 0)) next.set('name', names.look(end));
      for (const shape of use.shapes)
        if (start >= (next.get(shape.kind) ?? 0))
          next.set(shape.kind, shapes.look(shape, shapeLiteral(shape, use), start, end));
    }
    if (named.length > 0) findProgramSecrets(this.#forms, argument, named, found);
    this.patternsMs = due.size === 0 ? 0 : cpuMsOf(() => this.#findPatterns(due, text, from, found));
    return found.spans;
  }

  /** Facts about a text's arguments that need no closer look. */
  unexamined({ text, from, hits }: Candidate): Unexamined {
    const named = new Set<number>();
    const shaped = new Set<number>();
    let isPositional = this.#always.length > 0;
    let index = 0;
    let at = from;
    for (let hit = 0; hit < hits.length; hit += 2) {
      const use = this.#uses[hits[hit]!]!;
      const start = hits[hit + 1]! - use.literal.length;
      if (
        use.programs.some((program) => this.#forms.isPositional(program)) &&
        isProgramName(text, from, start, hits[hit + 1]!)
      )
        isPositional = true;
      for (; at < start; at += 1) if (text.charCodeAt(at) === NUL) index += 1;
      if (start < from) continue;
      if (use.isName || use.shapes.length > 0 || use.patterns.length > 0) named.add(index);
      const isShape = use.shapes.some(({ kind }) => WHOLE_SHAPES.has(kind));
      if (isShape || (use.patterns.length > 0 && index > 0)) shaped.add(index);
    }
    return { named, shaped, isPositional };
  }

  #findPatterns(due: ReadonlySet<number>, text: string, from: number, found: Findings): void {
    for (const pattern of due) findPattern(this.#patterns[pattern]!, text, from, found);
  }
}

/** The rules' literals with what each means; the same literal may mean several things. */
function usesOf(names: ReadonlySet<string>, patterns: readonly CompiledPattern[]): Use[] {
  const uses = new Map<string, Use>();
  const use = (literal: string): Use => {
    const key = literal.toLowerCase();
    const known = uses.get(key) ?? { literal: key, isName: false, shapes: [], programs: [], traits: [], patterns: [] };
    uses.set(key, known);
    return known;
  };
  if (NAME_RULES.some((name) => names.has(name))) for (const hint of NAME_HINTS) use(hint).isName = true;
  for (const shape of SHAPES)
    if (names.has(shape.rule)) for (const literal of shape.literals) use(literal).shapes.push(shape);
  PROGRAMS.forEach(({ rule, programs }, index) => {
    if (names.has(rule)) for (const program of programs.split(' ')) use(program).programs.push(index);
  });
  if (names.size > 0)
    for (const traits of TRAITS) for (const program of traits.programs.split(' ')) use(program).traits.push(traits);
  patterns.forEach(({ hints }, index) => {
    for (const hint of hints) use(hint).patterns.push(index);
  });
  return [...uses.values()];
}

/** Whether anything can begin where a literal is. */
function mayBegin(use: Use, text: string, from: number, start: number, end: number, anyCase: boolean): boolean {
  if (use.patterns.length > 0) return true;
  if (end > from) {
    if (use.isName) return true;
    for (const shape of use.shapes)
      if (shape.kind !== 'token' || isTokenStart(text, start, shapeLiteral(shape, use), anyCase)) return true;
  }
  return (use.programs.length > 0 || use.traits.length > 0) && isProgramName(text, from, start, end);
}

/** The literal as the shape has it: its case may matter. */
function shapeLiteral({ literals }: SecretShape, { literal }: Use): string {
  return literals.find((one) => one.toLowerCase() === literal) ?? literal;
}

/**
 * Whether a program's name stands where a program can: as the path that runs, as argument zero, as a word of its own,
 * or as a path into a folder of programs.
 */
function isProgramName(text: string, from: number, start: number, end: number): boolean {
  const after = end < text.length ? text.charCodeAt(end) : NUL;
  if (after !== NUL && !endsWord(after) && !isQuote(after) && after !== BACKQUOTE) return false;
  const before = start === 0 ? NUL : text.charCodeAt(start - 1);
  if (before === NUL || endsWord(before) || isQuote(before) || before === BACKQUOTE) return true;
  if (before !== SLASH) return false;
  const isOwn = end < from || text.indexOf('\0', from) >= end || text.indexOf('\0', from) < 0;
  return (
    isOwn || /(?:^|[\0\s"'`;|&(/])(?:bin|sbin|libexec|\.{1,2}|~)\/$/.test(text.slice(Math.max(0, start - 9), start))
  );
}
