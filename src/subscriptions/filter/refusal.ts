/** Why a filter is refused: one line that names the place, counted in characters from 1. */
import { BackplaneError } from '../../errors.js';

const SHOWN_CHARACTERS_MAX = 48;

/** `filter: column 9: problem`; in a filter of several lines `filter: line 2, column 9: problem`. */
export function refusal(text: string, offset: number, problem: string): BackplaneError {
  const before = text.slice(0, offset);
  const lines = before.split(/\r\n|\r|\n/);
  const column = [...(lines.at(-1) ?? '')].length + 1;
  const several = /[\r\n]/.test(text.trim());
  const place = several ? `line ${lines.length}, column ${column}` : `column ${column}`;
  return new BackplaneError('filter_invalid', `filter: ${place}: ${problem}`, { line: lines.length, column });
}

/** Text from the filter, quoted for one line of bounded length. */
export function quoted(part: string): string {
  const characters = [...part];
  if (characters.length <= SHOWN_CHARACTERS_MAX) return JSON.stringify(part);
  return JSON.stringify(`${characters.slice(0, SHOWN_CHARACTERS_MAX).join('')}…`);
}
