/** Why a filter is refused: one line that names the place, counted in characters from 1. */
import { BackplaneError, type ErrorDetails } from '../../errors.js';

/**
 * `filter: column 9: problem`; in a filter of several lines `filter: line 2, column 9: problem`. `details`: length and
 * suggestion, where they are known.
 */
export function refusal(text: string, offset: number, problem: string, details: ErrorDetails = {}): BackplaneError {
  const before = text.slice(0, offset);
  const lines = before.split(/\r\n|\r|\n/);
  const column = [...(lines.at(-1) ?? '')].length + 1;
  const several = /[\r\n]/.test(text.trim());
  const place = several ? `line ${lines.length}, column ${column}` : `column ${column}`;
  const at = { field: 'filter', line: lines.length, column };
  return new BackplaneError('filter_invalid', `filter: ${place}: ${problem}`, { ...at, ...details });
}
