/**
 * Filter text to tokens. Bounds the text (bytes, tokens, nesting), so that the
 * parser may recurse, and refuses what no parser could place: strings and
 * brackets left open, unknown escapes, single `=`, `&` and `|`.
 *
 *   token   := name | number | string | punctuation
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
const NUMBER = /0x[0-9a-fA-F]+[uU]?|\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+[uU]?/y;
const ESCAPE = /\\(?:[abfnrtv"'`\\?]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})/y;
const SPACES = new Set([' ', '\t', '\n', '\r', '\f']);
const PUNCTUATION = new Set('.,?:+-*/%!<>');
const CODE_POINT_MAX = 0x10ffff;

/** What the letter after a backslash stands for, where that is not the letter itself. */
const CONTROLS: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'bytes' | 'punctuation' | 'end';
  /** Where it begins in the text, from 0. */
  readonly at: number;
  /** As written; of a string what it means, of bytes nothing. */
  readonly text: string;
}

interface Open {
  readonly bracket: string;
  readonly offset: number;
  conditionals: number;
}

/**
 * The tokens of a filter; the last one is its end.
 *
 * @throws BackplaneError filter_invalid.
 */
export function tokensOf(text: string): readonly Token[] {
  const bytes = Buffer.byteLength(text);
  if (bytes > FILTER_BYTES_MAX) {
    throw refusal(text, 0, `the filter must be at most ${FILTER_BYTES_MAX} bytes, got ${bytes}`);
  }
  const surrogate = text.search(/\p{Surrogate}/u);
  if (surrogate >= 0) throw refusal(text, surrogate, 'the text is not valid Unicode (a lone surrogate)');
  return new Scanner(text).run();
}

class Scanner {
  #at = 0;
  readonly #tokens: Token[] = [];
  #depth = 0;
  readonly #open: Open[] = [{ bracket: '', offset: 0, conditionals: 0 }];

  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  run(): readonly Token[] {
    while (this.#at < this.#text.length) this.#step();
    const last = this.#open.at(-1)!;
    if (last.bracket !== '') throw this.#refuse(last.offset, `"${last.bracket}" is never closed`);
    this.#add('end', this.#text.length, '');
    return this.#tokens;
  }

  #add(kind: Token['kind'], at: number, text: string): void {
    this.#tokens.push({ kind, at, text });
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
    if (this.#tokens.length === FILTER_TOKENS_MAX) {
      throw this.#refuse(at, `the filter has more than ${FILTER_TOKENS_MAX} names, values and operators`);
    }
    const word = this.#take(WORD);
    if (word !== '') this.#word(at, word);
    else if (char === '"' || char === "'") this.#string(at, '');
    else if (/[0-9]/.test(char)) this.#add('number', at, this.#take(NUMBER));
    else this.#punctuation(at, char);
  }

  #word(at: number, word: string): void {
    const next = this.#text[this.#at];
    if (next !== '"' && next !== "'") this.#add('word', at, word);
    else if (/^[bB]?[rR]?$/.test(word)) this.#string(at, word.toLowerCase());
    else throw this.#refuse(this.#at, `a string cannot follow ${shown(word)} directly`);
  }

  #string(start: number, prefix: string): void {
    const text = this.#text;
    const quote = text[this.#at]!;
    const end = text.startsWith(quote.repeat(3), this.#at) ? quote.repeat(3) : quote;
    this.#at += end.length;
    let value = '';
    while (!text.startsWith(end, this.#at)) {
      const char = text[this.#at];
      if (char === undefined || (end.length === 1 && (char === '\n' || char === '\r'))) {
        throw this.#refuse(start, `the string that begins here is never closed with ${end}`);
      }
      if (!prefix.endsWith('r') && char === '\\') value += this.#escape();
      else {
        value += char;
        this.#at++;
      }
    }
    this.#at += end.length;
    if (prefix.startsWith('b')) this.#add('bytes', start, '');
    else this.#add('string', start, value);
  }

  #escape(): string {
    const at = this.#at;
    const written = this.#take(ESCAPE);
    if (written === '') throw this.#refuse(at, `unknown escape ${shown(this.#text.slice(at, at + 2))} in a string`);
    const letter = written[1]!;
    if (written.length === 2) return CONTROLS[letter] ?? letter;
    const code = /[0-3]/.test(letter) ? Number.parseInt(written.slice(1), 8) : Number.parseInt(written.slice(2), 16);
    if (code > CODE_POINT_MAX || (code >= 0xd800 && code <= 0xdfff)) {
      throw this.#refuse(at, `${shown(written)} is no Unicode character`);
    }
    return String.fromCodePoint(code);
  }

  #punctuation(at: number, char: string): void {
    const pair = this.#text.slice(at, at + 2);
    if (PAIRS.has(pair)) {
      this.#at += 2;
      this.#add('punctuation', at, pair);
      return;
    }
    const meant = MEANT[char];
    if (meant !== undefined) {
      const details = { length: 1, suggestion: meant };
      throw refusal(this.#text, at, `unexpected "${char}", did you mean "${meant}"?`, details);
    }
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
    this.#add('punctuation', at, char);
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
