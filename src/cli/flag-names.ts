/**
 * Rewrites a broker's refusal in terms of flags. Brokers name the fields of the protocol (`lag_max: must be …`,
 * `refill: needs follow`), the command line has flags (`--lag-max`, `--follow`).
 */
import { asBackplaneError, BackplaneError } from '../errors.js';

/**
 * Flags by field of SubscribeRequest, and for lists also by the name of one element. Without the filter: its errors
 * give the column within its text.
 */
const FLAGS: Readonly<Record<string, string>> = {
  topics: '--topic',
  topic: '--topic',
  nodes: '--node',
  node: '--node',
  since: '--since',
  until: '--until',
  last: '--last',
  limit: '--limit',
  follow: '--follow',
  cursor: '--cursor',
  include_self: '--include-self',
  fields: '--field-mask',
  refill: '--refill',
  throttle: '--throttle',
  throttle_by: '--throttle-by',
  lag_policy: '--lag-policy',
  lag_max: '--lag-max',
  latency: '--latency',
  selectors: '--selector',
};

/** The field that the message is about, at its start. */
const SUBJECT = /^([a-z_]+)(?=: | has | is | stands | names | cannot )/;
/** Field names that are no ordinary words, and fields that another one excludes, needs, or is given with. */
const MENTIONED =
  /\b(?:include_self|throttle_by|lag_policy|lag_max)\b|(?<=\b(?:excludes|needs|with|without|after|or|and) |, )(?:since|until|last|limit|follow|cursor|throttle|refill)\b/g;
/** Quoted values are the user's own, and stay unchanged. */
const QUOTED = /("(?:[^"\\]|\\.)*")/;

/** The thrown error, rewritten for people at the command line. */
export function inFlagNames(thrown: unknown): BackplaneError {
  const { code, message, details } = asBackplaneError(thrown);
  if (!['invalid_argument', 'filter_invalid', 'cursor_invalid', 'cursor_expired'].includes(code)) {
    return asBackplaneError(thrown);
  }
  const subject = message.replace(SUBJECT, (field) => FLAGS[field] ?? field);
  const parts = subject.split(QUOTED).map((part, index) => {
    return index % 2 === 1 ? part : part.replace(MENTIONED, (field) => FLAGS[field] ?? field);
  });
  return new BackplaneError(code, parts.join(''), details);
}
