/** Why a filter is refused: one line that names the place, counted in characters from 1. */
import { BackplaneError } from '../../errors.js';

/** `filter: column 9: problem`; in a filter of several lines `filter: line 2, column 9: problem`. */
export function refusal(text: string, offset: number, problem: string): BackplaneError {
  const before = text.slice(0, offset);
  const lines = before.split(/\r\n|\r|\n/);
  const column = [...(lines.at(-1) ?? '')].length + 1;
  const several = /[\r\n]/.test(text.trim());
  const place = several ? `line ${lines.length}, column ${column}` : `column ${column}`;
  return new BackplaneError('filter_invalid', `filter: ${place}: ${problem}`, { line: lines.length, column });
}
