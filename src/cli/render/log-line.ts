/** A line of the log for people: `10:02:03 warn  broker: what happened (code=invalid_argument)`. */

import { msToNs } from '../../nanoseconds.js';
import type { Paint, Palette } from './palette.js';
import { safeText } from './text.js';
import { timeText } from './time.js';

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};
/** Fields that the line shows in another form or that its context makes clear. */
const LEFT_OUT: ReadonlySet<string> = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg']);

/**
 * `json` is one line as pino writes it; any other text is returned as it is, made safe for a terminal. Ends in a
 * newline.
 */
export function logLine(json: string, { dim, warning, error }: Palette): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(json) as Record<string, unknown>;
  } catch {
    return `${safeText(json.trimEnd())}\n`;
  }
  const level = Number(entry.level);
  const plain: Paint = (text) => text;
  const paint = level >= 50 ? error : level >= 40 ? warning : plain;
  const facts = Object.entries(entry).flatMap(([key, value]) =>
    LEFT_OUT.has(key) || value === undefined
      ? []
      : [`${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`],
  );
  const time = dim(timeText(msToNs(Math.trunc(Number(entry.time) || 0))));
  const word = paint((LEVELS[level] ?? String(level)).padEnd(5));
  const behind = facts.length === 0 ? '' : dim(` (${safeText(facts.join(' '))})`);
  return `${time} ${word} ${safeText(`${entry.name}: ${entry.msg ?? ''}`)}${behind}\n`;
}
