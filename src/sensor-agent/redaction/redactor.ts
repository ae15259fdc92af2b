/**
 * Masks secrets in what is read beside the kernel's pages, before it reaches
 * the disk. One pass over the text finds what any rule could begin with, and
 * only there rules look closer. All see the text as it was read, so that
 * their order does not matter; what they find is masked in one go, within
 * arguments, whose number never changes. Time is linear in the text: default
 * rules look ahead without going back, configured patterns are RE2. Where
 * somebody runs programs for no other purpose than to keep the rules busy,
 * arguments are masked by their place alone (unexamined.ts).
 */
import { Pacer } from '../../flow/pacer.js';
import { REDACTION_CPU_BURST_MS, REDACTION_CPU_SHARE } from '../../limits.js';
import type { ProcessSnapshot } from '../source/source.js';
import type { RecordedProcess } from '../timeline/process-state.js';
import { SHAPES } from './default-rules.js';
import { type Candidate, FieldRules } from './field-rules.js';
import type { Span } from './findings.js';
import type { CompiledRule, RedactionField } from './rule.js';
import { masksIn, maskUnexamined } from './unexamined.js';

const MASK = '***';
const NUL = '\0';
/** Counted under this name, beside the rules: texts that were masked without being looked at. */
export const UNEXAMINED = 'unexamined';
/** More than the slowest machine needs for one character: time beyond that was taken by other programs. */
const CHARACTER_MS_MAX = 0.0002;
const TEXT_MS_MAX = 0.02;

interface Masked {
  readonly args: readonly string[];
  readonly count: number;
}

export class Redactor {
  readonly #args: FieldRules;
  readonly #directory: FieldRules;
  /** Default rules look for what has the shape of a secret in names, too: in any case, as it means nothing there. */
  readonly #question: FieldRules;
  readonly #counts: Map<string, number>;
  #restUntilMs = 0;

  readonly #budget: Pacer;

  constructor(rules: readonly CompiledRule[], budget = new Pacer(REDACTION_CPU_SHARE, REDACTION_CPU_BURST_MS)) {
    this.#budget = budget;
    this.#counts = new Map(rules.map(({ name }) => [name, 0]));
    const of = (field: RedactionField) => rules.filter((rule) => rule.field === field);
    this.#args = new FieldRules(of('process.command_args'), this.#counts);
    this.#directory = new FieldRules(of('process.working_directory'), this.#counts);
    const shaped = rules.filter(({ isDefault, name }) => isDefault && SHAPES.some(({ rule }) => rule === name));
    this.#question = new FieldRules([...shaped, ...of('dns.question.name')], this.#counts, true);
  }

  /** Secrets that each rule found; one that two rules find is counted by both. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** The process as it may be recorded; `redactions` counts what was masked. */
  redact(process: ProcessSnapshot): RecordedProcess {
    const { args, workingDirectory } = process;
    const masked = args && this.#maskArguments(args, process.executablePath ?? '', process.argsTruncated === true);
    const directory = workingDirectory === undefined ? undefined : this.#maskText(this.#directory, workingDirectory);
    if (!masked && !directory) return process;
    return {
      ...process,
      ...(masked ? { args: masked.args } : {}),
      ...(directory ? { workingDirectory: directory.args[0]! } : {}),
      redactions: (masked?.count ?? 0) + (directory?.count ?? 0),
    };
  }

  /** What was asked of DNS as it may be recorded. */
  redactQuestion<Question extends { readonly name: string }>(
    question: Question,
  ): { readonly question: Question; readonly redactions?: number } {
    // As an argument stands, behind no path.
    const masked = this.#maskText(this.#question, question.name, `${NUL}${question.name}${NUL}`);
    if (!masked) return { question };
    return { question: { ...question, name: maskedName(question.name, masked.args[0]!) }, redactions: masked.count };
  }

  #maskArguments(args: readonly string[], path: string, cut: boolean): Masked | undefined {
    const list = args.join(NUL);
    const text = `${path}${NUL}${list}${cut ? '' : NUL}`;
    const from = path.length + 1;
    const candidate = this.#args.candidate(text, from, cut);
    if (candidate === undefined) return undefined;
    if (this.#isResting()) {
      const masked = maskUnexamined(args, this.#args.unexamined(candidate));
      return { args: masked, count: masksIn(masked) };
    }
    const spans = this.#examine(this.#args, candidate);
    return spans.length === 0 ? undefined : mask(list, spans, from);
  }

  /** Of a text that is no list of arguments; `within` is what rules see of it. */
  #maskText(rules: FieldRules, text: string, within = text): Masked | undefined {
    const from = within.indexOf(text);
    const candidate = rules.candidate(within, from, within === text);
    if (candidate === undefined) return undefined;
    if (this.#isResting()) return { args: [MASK], count: 1 };
    const spans = this.#examine(rules, candidate);
    return spans.length === 0 ? undefined : mask(text, spans, from);
  }

  /** Whether the budget is used up: then the text is counted as one that was not looked at. */
  #isResting(): boolean {
    if (performance.now() >= this.#restUntilMs) return false;
    this.#counts.set(UNEXAMINED, (this.#counts.get(UNEXAMINED) ?? 0) + 1);
    return true;
  }

  /**
   * Charges what a text took: the time that passed, but no more than such a
   * text can take, so that what other programs took meanwhile is not charged.
   */
  #examine(rules: FieldRules, candidate: Candidate): Span[] {
    const startMs = performance.now();
    const spans = rules.find(candidate);
    const endMs = performance.now();
    const mostMs = TEXT_MS_MAX + candidate.text.length * CHARACTER_MS_MAX + rules.patternsMs;
    this.#restUntilMs = endMs + this.#budget.spend(Math.min(endMs - startMs, mostMs));
    return spans;
  }
}

/** Spans that touch are one secret; one that goes over NULs is masked in each argument. `origin`: where the text begins. */
function mask(text: string, spans: Span[], origin: number): Masked {
  spans.sort((a, b) => a.start - b.start || a.end - b.end);
  let out = '';
  let count = 0;
  let at = 0;
  let start = -1;
  let end = -1;
  const close = () => {
    if (start < 0) return;
    const pieces = text.slice(start, end).split(NUL);
    out += text.slice(at, start) + pieces.map((piece) => (piece === '' ? '' : MASK)).join(NUL);
    count += pieces.filter((piece) => piece !== '').length;
    at = end;
  };
  for (const span of spans) {
    const [spanStart, spanEnd] = [span.start - origin, Math.min(span.end - origin, text.length)];
    if (spanStart > end || start < 0) {
      close();
      [start, end] = [spanStart, spanEnd];
    } else if (spanEnd > end) {
      end = spanEnd;
    }
  }
  close();
  return { args: (out + text.slice(at)).split(NUL), count };
}

/** A secret that is longer than a label goes on in the next ones: it is masked up to the domain, the last two. */
function maskedName(name: string, masked: string): string {
  const domain = name.split('.').slice(-2).join('.');
  const at = masked.indexOf(MASK);
  return at >= 0 && masked.endsWith(`.${domain}`) ? `${masked.slice(0, at)}${MASK}.${domain}` : masked;
}
