/** Shortens texts and lists of any length for one line of a message. */

const SHOWN_CHARACTERS_MAX = 48;

/**
 * Text from outside: quoted, bounded in length, with escapes for all characters that a terminal would act on or
 * reorder.
 */
export function shown(value: string): string {
  const characters = [...value.slice(0, 2 * SHOWN_CHARACTERS_MAX)];
  const whole = characters.length <= SHOWN_CHARACTERS_MAX && value.length <= 2 * SHOWN_CHARACTERS_MAX;
  const text = whole ? value : `${characters.slice(0, SHOWN_CHARACTERS_MAX).join('')}…`;
  return JSON.stringify(text).replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** `a, b and 3 more`. */
export function shownList(items: readonly string[], max: number): string {
  const more = items.length - max;
  return items.slice(0, max).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
