/**
 * Masks secrets in what is read beside the kernel's pages, before it reaches
 * the disk. Every rule sees the text as it was read, so that their order does
 * not matter; what they find is masked in one go, within arguments, whose
 * number never changes. RE2 throughout: time is linear in the text. Where
 * somebody runs programs for no other purpose than to keep the rules busy, what
 * they are not given time for is masked whole.
 */
import { Pacer } from '../../flow/pacer.js';
import { REDACTION_CPU_BURST_MS, REDACTION_CPU_SHARE, REDACTION_MATCHES_MAX } from '../../limits.js';
import type { RecordedProcess } from '../process-table.js';
import type { ProcessSnapshot } from '../source/source.js';
import type { CompiledRule, RedactionField } from './rule.js';

const MASK = '***';
const NUL = '\0';
/** Counted under this name, beside the rules: texts that were masked without being looked at. */
export const UNEXAMINED = 'unexamined';

/** Where a secret stands in a text. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** The rules of one field with the cheap test that spares them for most texts. */
interface FieldRules {
  /** Matches nothing when some rule has no hint and no text can be spared. */
  readonly hint: RegExp | undefined;
  readonly rules: readonly { readonly rule: CompiledRule; readonly hint: RegExp | undefined }[];
}

export class Redactor {
  readonly #args: FieldRules;
  readonly #directory: FieldRules;
  readonly #counts: Map<string, number>;
  #restUntilMs = 0;

  constructor(
    rules: readonly CompiledRule[],
    private readonly budget = new Pacer(REDACTION_CPU_SHARE, REDACTION_CPU_BURST_MS),
  ) {
    this.#args = fieldRules(rules, 'process.command_args');
    this.#directory = fieldRules(rules, 'process.working_directory');
    this.#counts = new Map(rules.map(({ name }) => [name, 0]));
  }

  /** Secrets that each rule found; one that two rules find is counted by both. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** The process as it may be recorded; `redactions` counts what was masked. */
  redact(process: ProcessSnapshot): RecordedProcess {
    const { args, workingDirectory } = process;
    const maskedArgs = args && this.#maskArguments(args, process.executablePath ?? '', process.argsTruncated === true);
    const maskedDirectory = workingDirectory === undefined ? undefined : this.#maskDirectory(workingDirectory);
    if (!maskedArgs && !maskedDirectory) return process;
    return {
      ...process,
      ...(maskedArgs ? { args: maskedArgs.text.split(NUL) } : {}),
      ...(maskedDirectory ? { workingDirectory: maskedDirectory.text } : {}),
      redactions: (maskedArgs?.count ?? 0) + (maskedDirectory?.count ?? 0),
    };
  }

  #maskArguments(args: readonly string[], path: string, cut: boolean): Masked | undefined {
    const list = args.join(NUL);
    const text = `${path}${NUL}${list}${cut ? '' : NUL}`;
    const spans = this.#find(this.#args, text, path.length + 1);
    return spans.length === 0 ? undefined : mask(list, spans, path.length + 1);
  }

  #maskDirectory(path: string): Masked | undefined {
    const spans = this.#find(this.#directory, path, 0);
    return spans.length === 0 ? undefined : mask(path, spans, 0);
  }

  /** What the rules find in the text, from `from` on. */
  #find(field: FieldRules, text: string, from: number): Span[] {
    const spans: Span[] = [];
    if (field.rules.length === 0 || field.hint?.test(text) === false) return spans;
    const startMs = performance.now();
    if (startMs < this.#restUntilMs) {
      this.#counts.set(UNEXAMINED, (this.#counts.get(UNEXAMINED) ?? 0) + 1);
      return [{ start: from, end: text.length }];
    }
    for (const { rule, hint } of field.rules) {
      if (hint?.test(text) === false) continue;
      const before = spans.length;
      findAll(rule, text, from, spans);
      if (spans.length > before) {
        this.#counts.set(rule.name, (this.#counts.get(rule.name) ?? 0) + spans.length - before);
      }
    }
    const endMs = performance.now();
    this.#restUntilMs = endMs + this.budget.spend(endMs - startMs);
    return spans;
  }
}

function findAll({ pattern, groups }: CompiledRule, text: string, from: number, spans: Span[]): void {
  const matcher = pattern.compiled.matcher(text);
  for (let matches = 0; matcher.find(); matches += 1) {
    if (matches === REDACTION_MATCHES_MAX) {
      // Going on could take a square of the text; what was not looked at must not be told.
      spans.push({ start: Math.max(from, matcher.start()), end: text.length });
      return;
    }
    for (const group of groups) {
      const start = Math.max(from, matcher.start(group));
      const end = matcher.end(group);
      if (end > start) spans.push({ start, end });
    }
  }
}

interface Masked {
  readonly text: string;
  readonly count: number;
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
  return { text: out + text.slice(at), count };
}

function fieldRules(all: readonly CompiledRule[], field: RedactionField): FieldRules {
  const rules = all.filter((rule) => rule.field === field);
  const always = rules.some(({ hints }) => hints.length === 0);
  return {
    hint: always ? undefined : hintTest(rules.flatMap(({ hints }) => hints)),
    rules: rules.map((rule) => ({ rule, hint: rule.hints.length === 0 ? undefined : hintTest(rule.hints) })),
  };
}

/** Literals only: no pattern of anybody's reaches an engine that backtracks. */
function hintTest(hints: readonly string[]): RegExp {
  const literals = [...new Set(hints.map((hint) => hint.toLowerCase()))];
  return new RegExp(literals.map((hint) => hint.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|') || '(?!)', 'i');
}
