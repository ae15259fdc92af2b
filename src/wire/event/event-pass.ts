/**
 * A fast test of encoded messages, generated from the schema as JavaScript: true means certainly valid. It knows fields
 * 1 to 15 in their shortest encodings and ASCII text of up to 127 bytes; false only means that a full check must
 * decide.
 */
import { type EventShape, MESSAGE, NANOS, NANOS_MAX, NUMBER, NUMBER32, SECONDS, STRING, WIDE } from './event-shape.js';

/** Whether bytes[from, to) is certainly a valid message. */
export type PassTest = (bytes: Buffer, from: number, to: number) => boolean;

/** The highest field whose tag takes one byte. */
const FIELD_MAX = 15;

export function passTest(shape: EventShape): PassTest {
  const functions: string[] = [];
  const name = define(shape, functions, new Map());
  return new Function(`${functions.join('\n')}\nreturn ${name};`)() as PassTest;
}

/** Most nanoseconds take five bytes, so the value itself is compared with its maximum. */
const NANOS_OF_FIVE_BYTES =
  'if (b[at + 1] >= 128 && b[at + 2] >= 128 && b[at + 3] >= 128 && b[at + 4] >= 128 && b[at + 5] < 4 && at + 6 <= to && ' +
  '((b[at + 1] & 127) | ((b[at + 2] & 127) << 7) | ((b[at + 3] & 127) << 14) | ((b[at + 4] & 127) << 21) | ' +
  `(b[at + 5] << 28)) <= ${NANOS_MAX}) { at += 6; continue; }`;

/** Returns the name of the function that tests messages of this shape. */
function define(shape: EventShape, functions: string[], known: Map<EventShape, string>): string {
  const before = known.get(shape);
  if (before !== undefined) return before;
  const name = `test${known.size}`;
  known.set(shape, name);
  const cases: string[] = [];
  if (shape.required > 0) {
    // Whether a field is missing is for the full check to say.
    functions.push(`function ${name}() { return false; }`);
    return name;
  }
  for (let field = 1; field < Math.min(shape.kinds.length, FIELD_MAX + 1); field++) {
    const inner = shape.inner[field];
    const innerName = inner && define(inner, functions, known);
    cases.push(caseOf(field, shape.kinds[field]!, innerName));
  }
  functions.push(`function ${name}(b, at, to) {
  let end = 0;
  let high = 0;
  while (at < to) {
    switch (b[at]) {
      ${cases.join('\n      ')}
    }
    return false;
  }
  return true;
}`);
  return name;
}

/**
 * Code for one field. `at` stands at the tag; a case ends with \`continue\` behind its field, or with \`break\` where
 * it cannot decide.
 */
function caseOf(field: number, kind: number, inner: string | undefined): string {
  const chunk = `case ${field * 8 + 2}: end = at + 2 + b[at + 1]; if (!(b[at + 1] < 128 && end <= to)) break;`;
  if (kind === STRING) {
    return `${chunk} high = 0; for (at += 2; at < end; at++) high |= b[at]; if (high < 128) continue; break;`;
  }
  if (kind === MESSAGE) return `${chunk} if (!${inner}(b, at + 2, end)) break; at = end; continue;`;
  if (kind === WIDE) return `case ${field * 8 + 1}: at += 9; if (at <= to) continue; break;`;
  const number = `case ${field * 8}:`;
  if (kind === NUMBER || kind === NUMBER32)
    return `${number} ${[1, 2, 3, 4].map((bytes) => varint(bytes)).join(' ')} break;`;
  // Five bytes hold 35 bits, so the seconds stay within the range of a Timestamp.
  if (kind === SECONDS) return `${number} ${[5, 4, 3, 2, 1].map((bytes) => varint(bytes)).join(' ')} break;`;
  if (kind === NANOS)
    return `${number} ${[1, 2, 3, 4].map((bytes) => varint(bytes)).join(' ')} ${NANOS_OF_FIVE_BYTES} break;`;
  return '';
}

/** Code that continues behind a varint of exactly this many bytes. */
function varint(bytes: number): string {
  const more = Array.from({ length: bytes - 1 }, (_, byte) => `b[at + ${byte + 1}] >= 128 && `).join('');
  return `if (${more}b[at + ${bytes}] < 128 && at + ${bytes + 1} <= to) { at += ${bytes + 1}; continue; }`;
}
