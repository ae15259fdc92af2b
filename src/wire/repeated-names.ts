/**
 * Finds a name that an object of a JSON text has twice. JSON.parse keeps the last one without a word, other readers the
 * first: what a proxy has checked and what is served would not be the same, so protojson's own readers refuse it.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** `text` is JSON: call this once JSON.parse has taken it. Returns the first such name; undefined: there is none. */
export function repeatedName(text: string): string | undefined {
  /** The names of each object that is open; of a list there are none. */
  const open: Set<string>[] = [];
  let latest: readonly [from: number, to: number] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const to = endOfText(text, at);
      latest = [at, to];
      at = to - 1;
    } else if (character === '{' || character === '[') open.push(new Set());
    else if (character === '}' || character === ']') open.pop();
    else if (character === ':') {
      const names = open.at(-1)!;
      const name = JSON.parse(text.slice(...latest)) as string;
      if (names.has(name)) return name;
      names.add(name);
    }
  }
  return undefined;
}

/** Behind the closing quote of the text that begins at `from`. */
function endOfText(text: string, from: number): number {
  for (let at = from + 1; ; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at++;
  }
}
