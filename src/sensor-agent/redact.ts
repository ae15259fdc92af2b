/**
 * Masks secrets in command-line arguments before they reach the disk. Rules
 * are RE2 (linear time); what their first group matches is replaced. A flag
 * whose value is the next argument (`--password hunter2`) is a rule of its own.
 */
import { RE2JS } from 're2js';

const MASK = '***';

/** Words whose value is a secret, in flags, in NAME=value and in URLs' queries. */
const SECRET_WORD =
  '(?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|auth[_-]?key)[a-z0-9_.-]*|pwd|pass)';

const RULES: readonly RE2JS[] = [
  // --password=x, token=x, AWS_SECRET_ACCESS_KEY=x, ?api_key=x&..., also within a longer string (sh -c '...')
  `(?i)(?:^|[^a-z0-9])${SECRET_WORD}["']?[=:]\\s*["']?([^\\s"'&;,]+)`,
  // --password x within a longer string
  `(?i)(?:^|\\s)--?${SECRET_WORD}\\s+["']?([^\\s"'&;,-][^\\s"'&;,]*)`,
  // scheme://user:secret@host and scheme://secret@host
  '(?i)[a-z][a-z0-9+.-]*://[^\\s/@:]*:([^\\s/@]+)@',
  '(?i)[a-z][a-z0-9+.-]*://([^\\s/@:]{20,})@',
  // Authorization: Bearer x, Authorization: Basic x
  '(?i)authorization["\']?\\s*[:=]\\s*["\']?(?:bearer|basic|token)\\s+([^\\s"\']+)',
  // Keys that give themselves away
  '\\b((?:AKIA|ASIA)[A-Z0-9]{16})\\b',
  '\\b(gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|glpat-[A-Za-z0-9_-]{16,})',
].map((rule) => RE2JS.compile(rule));

const SECRET_FLAG = RE2JS.compile(`(?i)^--?${SECRET_WORD}$`);

/** Cheap test that spares the rules for arguments that cannot hold a secret. */
const MAY_HOLD_SECRET = /pass|pwd|secret|token|key|credential|auth|:\/\/|AKIA|ASIA|gh[pousr]_|xox|sk-|glpat/i;

export interface Redacted {
  readonly args: readonly string[];
  /** How many secrets were masked. */
  readonly redactions: number;
}

/** Returns the same array where there was nothing to mask. */
export function redactArguments(args: readonly string[]): Redacted {
  let redactions = 0;
  let nextIsSecret = false;
  const masked = args.map((argument) => {
    if (nextIsSecret && !argument.startsWith('-')) {
      nextIsSecret = false;
      redactions += 1;
      return MASK;
    }
    nextIsSecret = false;
    if (!MAY_HOLD_SECRET.test(argument)) return argument;
    nextIsSecret = SECRET_FLAG.matches(argument);
    const result = maskOne(argument);
    redactions += result.masked;
    return result.text;
  });
  return { args: redactions === 0 ? args : masked, redactions };
}

function maskOne(argument: string): { text: string; masked: number } {
  let text = argument;
  let masked = 0;
  for (const rule of RULES) {
    const matcher = rule.matcher(text);
    let out = '';
    let from = 0;
    while (matcher.find()) {
      const start = matcher.start(1);
      const end = matcher.end(1);
      if (start < 0 || text.slice(start, end) === MASK) continue;
      out += text.slice(from, start) + MASK;
      from = end;
      masked += 1;
    }
    if (from > 0) text = out + text.slice(from);
  }
  return { text, masked };
}
