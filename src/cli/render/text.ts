/**
 * Text from events made safe for a terminal: whatever could move the cursor,
 * recolour, reorder (bidi) or hide text is written as an escape. The escapes
 * are those of the shell's $'...', so that a quoted argument can be pasted.
 */

/**
 * Control (C0, DEL, C1), format (bidi, zero width, tags), lone surrogates, line and paragraph separators, private use.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Co}]/gu;
const HAS_UNSAFE = new RegExp(UNSAFE.source, 'u');
const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
/**
 * Text that a shell reads literally; some of its characters only when they do not begin the word, and `~` not where it
 * would begin a value (`a=~`, `a=b:~`).
 */
const PLAIN_WORD = /^(?!.*[=:]~)[\p{L}\p{N}_@%+:,./-][\p{L}\p{N}_@%+=:,./~-]*$/u;

/** The text with every unsafe character as `\n`, `\x1b` or `\u202e`. */
export function safeText(text: string): string {
  return HAS_UNSAFE.test(text) ? text.replace(UNSAFE, escapeCharacter) : text;
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code < 0x80) return NAMED[character] ?? `\\x${hex.padStart(2, '0')}`;
  return code > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
}

/**
 * A value as one line of JSON. With `terminal`, characters that a terminal would act on become JSON escapes, so that
 * the value stays the same. (JSON itself escapes only C0 and lone surrogates.)
 */
export function jsonText(value: unknown, terminal: boolean): string {
  const text = JSON.stringify(value);
  return terminal && HAS_UNSAFE.test(text) ? text.replace(UNSAFE, escapeUnits) : text;
}

function escapeUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}

/** One word that a POSIX shell (bash, for $'...') reads back as exactly this text. */
export function shellWord(text: string): string {
  if (PLAIN_WORD.test(text)) return text;
  if (!HAS_UNSAFE.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  return `$'${text.replace(/[\\']/g, '\\$&').replace(UNSAFE, escapeCharacter)}'`;
}

/** Arguments as one line, cut at a word when longer than `charactersMax`, saying how many are left out. */
export function shellWords(words: readonly string[], charactersMax: number): string {
  const shown: string[] = [];
  let length = 0;
  for (const [index, word] of words.entries()) {
    const room = charactersMax - length;
    if (room <= 0) return `${shown.join(' ')} … (+${words.length - index} arguments)`;
    // Cut before quoting: a word of megabytes is not scanned to show its beginning.
    const quoted = word.length > room ? `${shellWord(sliceWhole(word, room))}…` : shellWord(word);
    shown.push(quoted);
    length += quoted.length + 1;
  }
  return shown.join(' ');
}

/** The first `length` UTF-16 units, without half of a surrogate pair at the end. */
function sliceWhole(text: string, length: number): string {
  const cut = text.slice(0, length);
  return /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut;
}
