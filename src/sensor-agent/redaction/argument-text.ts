/**
 * Arguments as one text: path NUL (argument NUL)*, as rules see it. Says where
 * the argument around a place begins and ends, and reads words as shells do,
 * for an argument may itself be a command text (`sh -c '...'`).
 */
export const NUL = 0;
const SPACE = 32;
const DOUBLE = 34;
const SINGLE = 39;
const BACKSLASH = 92;
/** Characters that end a word of a command text unless they are quoted: white space and ; & | ( ) < > */
const WORD_END = table('\t\n\v\f\r ;&|()<>');
const WHITE = table('\t\n\v\f\r ');

function table(characters: string): Uint8Array {
  const is = new Uint8Array(128);
  for (const character of characters) is[character.charCodeAt(0)] = 1;
  return is;
}

export const isWhite = (code: number): boolean => code <= SPACE && WHITE[code] === 1;
export const isQuote = (code: number): boolean => code === DOUBLE || code === SINGLE;
export const endsWord = (code: number): boolean => code < 128 && WORD_END[code] === 1;

export class ArgumentText {
  /** Start of the argument around the place that was looked for last. */
  start = 0;
  end = 0;
  #white: number | undefined;
  #isCommand: boolean | undefined;

  /** `from`: where the arguments begin, behind the path. `cut`: what follows the text is not known. */
  constructor(
    readonly text: string,
    readonly from: number,
    readonly cut: boolean,
  ) {
    this.end = Math.max(0, from - 1);
  }

  /** Looks for the argument around a place; cheap where places are asked for in order. */
  seek(at: number): void {
    if (at >= this.start && at <= this.end) return;
    this.#white = undefined;
    this.#isCommand = undefined;
    if (at < this.start || at > this.end + 4096) this.start = this.text.lastIndexOf('\0', at - 1) + 1;
    else {
      do {
        this.start = this.end + 1;
        this.end = this.endFrom(this.start);
      } while (at > this.end);
      return;
    }
    this.end = this.endFrom(this.start);
  }

  /** The end of the argument that `at` is in. */
  endFrom(at: number): number {
    const end = this.text.indexOf('\0', at);
    return end < 0 ? this.text.length : end;
  }

  /** Whether the argument is several words: a command text, or prose. */
  get spaced(): boolean {
    return this.#firstWhite() < this.end;
  }

  /** Whether the argument is the command of a shell: it follows a flag like -c or -lc. */
  get isCommand(): boolean {
    this.#isCommand ??= this.#followsCommandFlag();
    return this.#isCommand;
  }

  #followsCommandFlag(): boolean {
    if (this.start < 3) return false;
    const before = this.text.lastIndexOf('\0', this.start - 2) + 1;
    return this.start - before <= 9 && /^-[a-z]{0,6}c$/i.test(this.text.slice(before, this.start - 1));
  }

  /** Whether there is white space in the argument before `end`. */
  hasWhite(end: number): boolean {
    return this.#firstWhite() < end;
  }

  #firstWhite(): number {
    if (this.#white === undefined) {
      let at = this.start;
      while (at < this.end && !isWhite(this.text.charCodeAt(at))) at += 1;
      this.#white = at;
    }
    return this.#white;
  }

  /** The end of the shell word at `at`: pieces side by side, bare, quoted, escaped. */
  wordEnd(at: number, end = this.end): number {
    const { text } = this;
    while (at < end) {
      const code = text.charCodeAt(at);
      if (endsWord(code)) return at;
      if (code === BACKSLASH) at += 2;
      else if (isQuote(code)) at = this.quoteEnd(at, end) + 1;
      else at += 1;
    }
    return Math.min(at, end);
  }

  /** Where the quote at `at` is closed, or the end. */
  quoteEnd(at: number, end = this.end): number {
    const { text } = this;
    const quote = text.charCodeAt(at);
    for (let i = at + 1; i < end; i += 1) {
      const code = text.charCodeAt(i);
      if (code === quote) return i;
      if (code === BACKSLASH && quote === DOUBLE) i += 1;
    }
    return end;
  }

  skipWhite(at: number, end = this.end): number {
    while (at < end && isWhite(this.text.charCodeAt(at))) at += 1;
    return at;
  }
}
