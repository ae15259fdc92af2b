/**
 * A pass over filter text before the parser sees it. It bounds what the parser
 * is given (bytes, tokens, nesting) and refuses, with the exact column, the
 * mistakes whose column the parser loses: strings and brackets left open,
 * unknown escapes, single `=`, `&` and `|`.
 *
 *   token   := name | digits | string | punctuation
 *   string  := [bB]? [rR]? (''' | """ | ' | ") ... the same quotes
 *   nesting := open brackets + conditionals (`?`) begun within them
 */
import { FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TOKENS_MAX } from '../../limits.js';
import { shown } from '../../text/shown.js';
import { refusal } from './refusal.js';

const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };
const PAIRS = new Set(['&&', '||', '==', '!=', '<=', '>=']);
const MEANT: Readonly<Record<string, string>> = { '=': '==', '&': '&&', '|': '||' };
const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const DIGITS = /[0-9][A-Za-z0-9_]*/y;
const ESCAPE = /\\(?:[abfnrtv"'`\\?]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})/y;
const SPACES = new Set([' ', '\t', '\n', '\r', '\f']);
const PUNCTUATION = new Set('.,?:+-*/%!<>');

interface Open {
  readonly bracket: string;
  readonly offset: number;
  conditionals: number;
}

/** @throws BackplaneError filter_invalid. */
export function scanFilter(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > FILTER_BYTES_MAX) {
    throw refusal(text, 0, `the filter must be at most ${FILTER_BYTES_MAX} bytes, got ${bytes}`);
  }
  const surrogate = text.search(/\p{Surrogate}/u);
  if (surrogate >= 0) throw refusal(text, surrogate, 'the text is not valid Unicode (a lone surrogate)');
  new Scanner(text).run();
}

class Scanner {
  #at = 0;
  #tokens = 0;
  #depth = 0;
  readonly #open: Open[] = [{ bracket: '', offset: 0, conditionals: 0 }];

  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  run(): void {
    while (this.#at < this.#text.length) this.#step();
    const last = this.#open.at(-1)!;
    if (last.bracket !== '') throw this.#refuse(last.offset, `"${last.bracket}" is never closed`);
  }

  #step(): void {
    const text = this.#text;
    const at = this.#at;
    const char = text[at]!;
    if (SPACES.has(char)) {
      this.#at++;
      return;
    }
    if (char === '/' && text[at + 1] === '/') {
      const end = text.slice(at).search(/[\r\n]/);
      if (end < 0) throw this.#refuse(at, 'a comment must end with a new line');
      this.#at += end;
      return;
    }
    if (++this.#tokens > FILTER_TOKENS_MAX) {
      throw this.#refuse(at, `the filter has more than ${FILTER_TOKENS_MAX} names, values and operators`);
    }
    const word = this.#take(WORD);
    if (word !== '') this.#word(at, word);
    else if (char === '"' || char === "'") this.#string(at, false);
    else if (this.#take(DIGITS) === '') this.#punctuation(at, char);
  }

  #word(start: number, word: string): void {
    const next = this.#text[this.#at];
    if (next !== '"' && next !== "'") return;
    if (!/^[bB]?[rR]?$/.test(word)) throw this.#refuse(this.#at, `a string cannot follow ${shown(word)} directly`);
    this.#string(start, /[rR]$/.test(word));
  }

  #string(start: number, raw: boolean): void {
    const text = this.#text;
    const quote = text[this.#at]!;
    const end = text.startsWith(quote.repeat(3), this.#at) ? quote.repeat(3) : quote;
    this.#at += end.length;
    while (!text.startsWith(end, this.#at)) {
      const char = text[this.#at];
      if (char === undefined || (end.length === 1 && (char === '\n' || char === '\r'))) {
        throw this.#refuse(start, `the string that begins here is never closed with ${end}`);
      }
      if (raw || char !== '\\') this.#at++;
      else if (this.#take(ESCAPE) === '') {
        throw this.#refuse(this.#at, `unknown escape ${shown(text.slice(this.#at, this.#at + 2))} in a string`);
      }
    }
    this.#at += end.length;
  }

  #punctuation(at: number, char: string): void {
    if (PAIRS.has(this.#text.slice(at, at + 2))) {
      this.#at += 2;
      return;
    }
    const meant = MEANT[char];
    if (meant !== undefined) throw this.#refuse(at, `unexpected "${char}", did you mean "${meant}"?`);
    this.#at++;
    const level = this.#open.at(-1)!;
    if (CLOSING[char] !== undefined) {
      this.#open.push({ bracket: char, offset: at, conditionals: 0 });
      this.#deeper(at);
    } else if (char === ')' || char === ']' || char === '}') this.#close(at, char, level);
    else if (char === '?') {
      level.conditionals++;
      this.#deeper(at);
    } else if (char === ',') {
      this.#depth -= level.conditionals;
      level.conditionals = 0;
    } else if (!PUNCTUATION.has(char)) {
      throw this.#refuse(at, `unexpected ${shown(String.fromCodePoint(this.#text.codePointAt(at)!))}`);
    }
  }

  #close(at: number, char: string, level: Open): void {
    if (CLOSING[level.bracket] !== char) {
      const problem = level.bracket === '' ? 'closes nothing' : `does not close the "${level.bracket}" before it`;
      throw this.#refuse(at, `"${char}" ${problem}`);
    }
    this.#depth -= level.conditionals + 1;
    this.#open.pop();
  }

  #deeper(at: number): void {
    if (++this.#depth > FILTER_DEPTH_MAX) throw this.#refuse(at, `nested deeper than ${FILTER_DEPTH_MAX}`);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #refuse(offset: number, problem: string): Error {
    return refusal(this.#text, offset, problem);
  }
}
