/**
 * A configured redaction rule: which parts of which recorded text are masked.
 *
 *   process.command_args       path NUL (argument NUL)*   the program's path, then its arguments as in /proc/PID/cmdline;
 *                              the last NUL is absent where the arguments were cut, so that only there `$` follows a value
 *   process.working_directory  the path
 *   dns.question.name          the name
 *
 * One pattern thus sees an argument, the one before it, and the program.
 * Every match masks the groups of the rule that took part in it; a match in
 * which none did masks nothing, which is how a pattern states exceptions.
 */
import { BackplaneError } from '../../errors.js';
import {
  REDACTION_GROUPS_MAX,
  REDACTION_HINTS_MAX,
  REDACTION_PATTERN_BYTES_MAX,
  REDACTION_PATTERN_INSTRUCTIONS_MAX,
  REDACTION_RULES_MAX,
} from '../../limits.js';
import { compileRe2, type Re2 } from '../../subscriptions/filter/pattern.js';
import { DEFAULT_RULE_NAMES } from './default-rules.js';

export const REDACTION_FIELDS = ['process.command_args', 'process.working_directory', 'dns.question.name'] as const;
export type RedactionField = (typeof REDACTION_FIELDS)[number];
/** In `off`: every default rule. */
export const ALL_DEFAULTS = 'all';

export interface RedactionRule {
  /** Lower-case letters, digits and "-": the value of a metric's label. */
  readonly name: string;
  readonly field: RedactionField;
  /** RE2. */
  readonly pattern: string;
  /** The groups to mask, by name or number. Default: all groups, and the whole match where the pattern has none. */
  readonly groups?: readonly (string | number)[] | undefined;
  /**
   * Texts one of which, in whatever case, is in everything that the pattern
   * can match: spares the pattern where none is. Default: always tried, and so
   * where one is not ASCII.
   */
  readonly hints?: readonly string[] | undefined;
}

export interface RedactionSettings {
  /** Rules besides the default ones; one with the name of a default rule takes its place. */
  readonly rules: readonly RedactionRule[];
  /** Names of default rules that do not hold, or ALL_DEFAULTS. */
  readonly off: readonly string[];
}

/** A rule in force: a default one, which is a table (default-rules.ts), or a pattern. */
export interface CompiledRule {
  readonly name: string;
  readonly field: RedactionField;
  readonly isDefault: boolean;
  readonly pattern?: Re2;
}

export interface CompiledPattern extends CompiledRule {
  readonly pattern: Re2;
  readonly groups: readonly number[];
  readonly hints: readonly string[];
}

const NAME = /^[a-z0-9][a-z0-9-]{0,47}$/;

/** The rules in force, default ones first. @throws BackplaneError invalid_argument: the rule, the bound, the value */
export function compileRules({ rules, off }: RedactionSettings): readonly CompiledRule[] {
  const refuse = (reason: string) => new BackplaneError('invalid_argument', `redaction rules ${reason}`);
  if (rules.length > REDACTION_RULES_MAX) throw refuse(`must be at most ${REDACTION_RULES_MAX}, got ${rules.length}`);
  const names = new Set<string>();
  for (const { name } of rules) {
    if (names.has(name)) throw refuse(`must have a name each, got ${JSON.stringify(name)} twice`);
    names.add(name);
  }
  const without = new Set([...off, ...names]);
  const defaults = without.has(ALL_DEFAULTS) ? [] : DEFAULT_RULE_NAMES.filter((name) => !without.has(name));
  const field = 'process.command_args';
  return [...defaults.map((name) => ({ name, field, isDefault: true }) as const), ...rules.map(compileRule)];
}

function compileRule(rule: RedactionRule): CompiledPattern {
  const { name, field, pattern: source, groups, hints = [] } = rule;
  const refuse = (reason: string) =>
    new BackplaneError('invalid_argument', `redaction rule ${JSON.stringify(name.slice(0, 64))}: ${reason}`);
  if (!NAME.test(name) || name === ALL_DEFAULTS)
    throw refuse(`name must be 1 to 48 of a-z, 0-9 and "-", and not "${ALL_DEFAULTS}"`);
  if (!REDACTION_FIELDS.includes(field))
    throw refuse(`field must be one of ${REDACTION_FIELDS.join(', ')}, got ${JSON.stringify(field)}`);
  const bytes = Buffer.byteLength(source);
  if (bytes < 1 || bytes > REDACTION_PATTERN_BYTES_MAX)
    throw refuse(`pattern must be 1 to ${REDACTION_PATTERN_BYTES_MAX} bytes, got ${bytes}`);
  if (hints.length > REDACTION_HINTS_MAX || hints.some((hint) => hint.length < 2 || hint.length > 64))
    throw refuse(`hints must be at most ${REDACTION_HINTS_MAX}, of 2 to 64 characters`);
  const pattern = compileRe2(source, REDACTION_PATTERN_INSTRUCTIONS_MAX);
  if ('problem' in pattern) throw refuse(`pattern: ${pattern.problem}`);
  return {
    name,
    field,
    isDefault: false,
    pattern,
    groups: groupNumbers(pattern, groups, refuse),
    hints: hints.some((hint) => /[^\x00-\x7f]/.test(hint)) ? [] : hints,
  };
}

function groupNumbers(
  { groupCount, groupNames }: Re2,
  groups: RedactionRule['groups'],
  refuse: (reason: string) => BackplaneError,
): readonly number[] {
  if (groupCount > REDACTION_GROUPS_MAX)
    throw refuse(`pattern must have at most ${REDACTION_GROUPS_MAX} groups, got ${groupCount}`);
  if (groups === undefined || groups.length === 0)
    return groupCount === 0 ? [0] : Array.from({ length: groupCount }, (_, index) => index + 1);
  return groups.map((group) => {
    const number = typeof group === 'number' ? group : groupNames.get(group);
    if (number !== undefined && Number.isInteger(number) && number >= 0 && number <= groupCount) return number;
    const names = groupNames.size === 0 ? '' : ` or one of ${[...groupNames.keys()].join(', ')}`;
    throw refuse(`groups must be 0 to ${groupCount}${names}, got ${JSON.stringify(group)}`);
  });
}
