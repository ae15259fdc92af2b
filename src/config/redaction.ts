/**
 * The settings of redaction. Rules are a list in the YAML file, the same as JSON elsewhere. Loaded only where one is given,
 * since it takes the engine of patterns.
 */
import * as z from 'zod';
import { BackplaneError } from '../errors.js';
import { REDACTION_RULES_MAX } from '../limits.js';
import { DEFAULT_RULE_NAMES } from '../sensor-agent/redaction/default-rules.js';
import { ALL_DEFAULTS, compileRules, REDACTION_FIELDS, type RedactionRule } from '../sensor-agent/redaction/rule.js';
import { jsonData, list, refuse } from './setting.js';

const ruleSchema: z.ZodType<RedactionRule> = z.strictObject({
  name: z.string(),
  field: z.enum(REDACTION_FIELDS, { error: `must be one of ${REDACTION_FIELDS.join(', ')}` }),
  pattern: z.string(),
  groups: z.array(z.union([z.string(), z.number()])).optional(),
  hints: z.array(z.string()).optional(),
});

const rulesForm = z.array(ruleSchema).max(REDACTION_RULES_MAX, `must be at most ${REDACTION_RULES_MAX} rules`);
const JSON_FORM =
  'must be a list of rules as JSON, like [{"name":"pin","field":"process.command_args","pattern":"--pin=(\\\\d+)"}]';

/** Accepts only rules that compile. @throws BackplaneError invalid_argument: see Setting */
export function redactionRules(text: string): readonly RedactionRule[] {
  const form = rulesForm.safeParse(jsonData(text, JSON_FORM));
  if (!form.success) {
    const issue = form.error.issues[0];
    const [index, ...path] = issue?.path ?? [];
    return refuse(
      index === undefined
        ? (issue?.message ?? 'is not valid')
        : `item ${[Number(index) + 1, ...path].join('.')}: ${issue?.message}`,
    );
  }
  try {
    compileRules({ rules: form.data, off: [ALL_DEFAULTS] });
  } catch (cause) {
    if (cause instanceof BackplaneError) refuse(`has a bad rule: ${cause.message}`);
    throw cause;
  }
  return form.data;
}

const isDefaultRule = (name: string): boolean => name === ALL_DEFAULTS || DEFAULT_RULE_NAMES.includes(name);

/** @throws BackplaneError invalid_argument: see Setting */
export const rulesOff = list(
  isDefaultRule,
  [0, 64],
  'names of default rules (backplane doctor lists them), or all',
).parse;
