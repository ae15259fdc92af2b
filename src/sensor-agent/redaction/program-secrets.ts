/**
 * Secrets that a program's own flags and positions give away: `mysql -pX`,
 * `curl -u user:X`, `rabbitmqctl add_user user X`. The words behind a program's
 * name are gone through once, whether they are arguments or words of a command
 * text, and each is looked up among the forms of all programs.
 */
import { type ArgumentText, endsWord, isQuote, isWhite, NUL } from './argument-text.js';
import type { Findings } from './findings.js';
import type { Form, ProgramForms } from './program-forms.js';

/** Command texts within command texts. */
const DEPTH_MAX = 4;
/** How far behind its flag or verb a secret is looked for. */
const WORDS_AHEAD_MAX = 24;
const [DASH, NEWLINE, SEMICOLON, AMPERSAND, PIPE, OPEN, CLOSE, LESS, MORE] = [45, 10, 59, 38, 124, 40, 41, 60, 62];
/** Words that are followed by a name, not by a program. */
const NAMING = new Set(
  '--name --hostname --network --net --network-alias --link --service --image --package --user --group --database --db --label --container'.split(
    ' ',
  ),
);
/** Commands that run the program among their arguments. */
const RUNNERS = new Set(
  'sudo doas env nice nohup time timeout exec xargs command watch strace ltrace setsid stdbuf ionice chroot unshare nsenter systemd-run runuser su ssh docker podman nerdctl kubectl'.split(
    ' ',
  ),
);

/** A program's name in the text. */
export interface NamedProgram {
  readonly program: number;
  readonly start: number;
  readonly end: number;
}

interface Word {
  readonly start: number;
  readonly end: number;
  /** Without the quotes around it. */
  readonly innerStart: number;
  readonly innerEnd: number;
}

/** Masks what the programs take as secrets; `named` are in the order of the text. */
export function findProgramSecrets(
  forms: ProgramForms,
  argument: ArgumentText,
  named: readonly NamedProgram[],
  found: Findings,
): void {
  new Walk(forms, argument, named, found).arguments();
}

class Walk {
  readonly #text: string;

  readonly #forms: ProgramForms;
  readonly #argument: ArgumentText;
  readonly #named: readonly NamedProgram[];
  readonly #found: Findings;

  constructor(forms: ProgramForms, argument: ArgumentText, named: readonly NamedProgram[], found: Findings) {
    this.#forms = forms;
    this.#argument = argument;
    this.#named = named;
    this.#found = found;
    this.#text = argument.text;
  }

  arguments(): void {
    const { from, text } = this.#argument;
    const command = new Command(this.#forms, this.#text, this.#found);
    const words: Word[] = [];
    for (let start = from; start < text.length; ) {
      const end = this.#argument.endFrom(start);
      words.push({ start, end, innerStart: start, innerEnd: end });
      start = end + 1;
    }
    let next = 0;
    for (; next < this.#named.length && this.#named[next]!.start < from; next += 1)
      command.name(this.#named[next]!.program, -1, true);
    for (const [index, word] of words.entries()) {
      next = this.#enter(word, next, command, index, words, 0);
      command.look(words, index);
    }
    command.end(words, words.length);
  }

  /** Programs that the word names, for the command or within the word. Returns the next one behind it. */
  #enter(word: Word, at: number, command: Command, index: number, words: readonly Word[], depth: number): number {
    let isInside = false;
    let next = at;
    for (; next < this.#named.length && this.#named[next]!.start < word.end; next += 1) {
      const { program, start, end } = this.#named[next]!;
      const isWhole = end === word.innerEnd && !hasWhite(this.#text, word.innerStart, start);
      if (!isWhole) isInside = true;
      else if (this.#mayRun(program, index, words, command)) command.name(program, index, false);
    }
    if (isInside && depth < DEPTH_MAX) this.#commandText(word.innerStart, word.innerEnd, at, depth + 1);
    return next;
  }

  #mayRun(program: number, index: number, words: readonly Word[], command: Command): boolean {
    const before = words[index - 1];
    if (before === undefined || index === command.begin) return true;
    if (NAMING.has(this.#text.slice(before.start, Math.min(before.end, before.start + 20)))) return false;
    if (this.#forms.rule(program).strict !== true) return true;
    const first = words[command.begin]!;
    const runner = this.#text.slice(first.innerStart, Math.min(first.innerEnd, first.innerStart + 64));
    return RUNNERS.has(runner.slice(runner.lastIndexOf('/') + 1)) || runner.includes('=');
  }

  /** The words of a command text. */
  #commandText(start: number, end: number, from: number, depth: number): void {
    const text = this.#text;
    let command = new Command(this.#forms, text, this.#found);
    const words: Word[] = [];
    let next = from;
    let pending = 0;
    const flush = () => {
      for (; pending < words.length; pending += 1) {
        next = this.#enter(words[pending]!, next, command, pending, words, depth);
        command.look(words, pending);
      }
      command.end(words, words.length);
      command = new Command(this.#forms, text, this.#found, words.length);
    };
    let isFile = false;
    for (let at = start; at < end; ) {
      const code = text.charCodeAt(at);
      if (isSeparator(code)) flush();
      if (endsWord(code)) {
        if (!isWhite(code)) isFile = code === LESS || code === MORE;
        at += 1;
      } else {
        const last = Math.max(at + 1, this.#argument.wordEnd(at, end));
        const quoted = last - at >= 2 && isQuote(code) && this.#argument.quoteEnd(at, last) === last - 1;
        if (!isFile)
          words.push({ start: at, end: last, innerStart: quoted ? at + 1 : at, innerEnd: quoted ? last - 1 : last });
        isFile = false;
        at = last;
      }
    }
    flush();
  }
}

/** The words of one command, and the programs that it names. */
class Command {
  readonly #active = new Map<number, number>();
  readonly #verbs = new Set<string>();
  #sealed = 0;

  readonly #forms: ProgramForms;
  readonly #text: string;
  readonly #found: Findings;

  constructor(
    forms: ProgramForms,
    text: string,
    found: Findings,
    /** Index of its first word. */
    readonly begin = 0,
  ) {
    this.#forms = forms;
    this.#text = text;
    this.#found = found;
  }

  /** The word at `index` names a program; its path does where `isPath`. */
  name(program: number, index: number, isPath: boolean): void {
    if (!this.#active.has(program)) this.#active.set(program, isPath ? 0 : index);
  }

  look(words: readonly Word[], index: number): void {
    if (this.#active.size === 0) return;
    const { innerStart, innerEnd } = words[index]!;
    const text = this.#text.slice(innerStart, innerEnd);
    const isFlag = text.charCodeAt(0) === DASH && text.length > 1;
    for (const form of this.#forms.exact(text) ?? []) if (this.#holds(form, index)) this.#behind(form, words, index);
    for (const form of this.#forms.glued(text) ?? []) {
      if (text.length <= form.literal.length || !text.startsWith(form.literal) || !this.#holds(form, index)) continue;
      if (form.prefix) this.#behind(form, words, index);
      else this.#mask(form, words[index]!, innerStart + form.literal.length);
    }
    if (isFlag) this.#clusters(words, index, text);
    else for (const form of this.#forms.any) if (this.#holds(form, index)) this.#mask(form, words[index]!, innerStart);
    if (this.#forms.isVerb(text)) this.#verbs.add(text);
    if (!isFlag) this.#leave(words, index);
  }

  /** All words are known: those that count from the program's name, or from the end. */
  end(words: readonly Word[], end: number): void {
    for (const form of this.#active.size === 0 ? [] : this.#forms.first) {
      const from = this.#active.get(form.program);
      if (from === undefined || !form.after.every((verb) => this.#verbs.has(verb))) continue;
      if (form.part === 'last') this.#last(form, words, from, end);
      else this.#behind(form, words.slice(0, end), from);
    }
    this.#active.clear();
  }

  #holds(form: Form, index: number): boolean {
    const from = this.#active.get(form.program);
    return (
      from !== undefined &&
      index > from &&
      (form.after.length === 0 || form.after.every((verb) => this.#verbs.has(verb)))
    );
  }

  /** Masks the word behind, or behind as many others as the form says. */
  #behind(form: Form, words: readonly Word[], index: number): void {
    if (form.part === 'last') {
      this.#last(form, words, index, words.length);
      return;
    }
    let skip = form.skip;
    for (let at = index + 1; at < Math.min(words.length, index + WORDS_AHEAD_MAX); at += 1) {
      const word = words[at]!;
      const isFlag = this.#text.charCodeAt(word.innerStart) === DASH;
      if (isFlag && form.skip === 0 && !form.first) return;
      if (isFlag || (form.first && this.#isValue(form, words[at - 1]))) continue;
      if (skip === 0) {
        this.#sealed = Math.max(this.#sealed, at + 1);
        this.#mask(form, word, word.innerStart);
        return;
      }
      skip -= 1;
    }
  }

  /** Whether the word is a flag that has the next one as its value. */
  #isValue({ program }: Form, flag: Word | undefined): boolean {
    const { valued } = this.#forms.rule(program);
    if (valued === undefined || flag === undefined) return false;
    return ` ${valued} `.includes(` ${this.#text.slice(flag.innerStart, flag.innerEnd)} `);
  }

  #last(form: Form, words: readonly Word[], from: number, end: number): void {
    const word = words[end - 1];
    if (word === undefined || end - 1 <= from || this.#text.charCodeAt(word.innerStart) === DASH) return;
    if (end - 2 > from && /^-(?:salt|in|m|S|R)$/.test(this.#text.slice(words[end - 2]!.start, words[end - 2]!.end)))
      return;
    this.#found.add(form.rule, word.start, word.end);
  }

  /** -fsSLu user:secret */
  #clusters(words: readonly Word[], index: number, word: string): void {
    if (word.charCodeAt(1) === DASH) return;
    for (const program of this.#active.keys()) {
      const { switches } = this.#forms.rule(program);
      if (switches === undefined) continue;
      for (const letter of word.slice(1))
        for (const form of this.#forms.exact(`-${letter}`) ?? [])
          if (form.part === 'last' && form.program === program) this.#last(form, words, index, words.length);
      let at = 1;
      while (at < word.length && switches.includes(word[at]!)) at += 1;
      if (at === 1 || at === word.length) continue;
      const flag = `-${word[at]}`;
      const rest = at + 1 < word.length;
      for (const form of (rest ? this.#forms.glued(flag) : this.#forms.exact(flag)) ?? []) {
        if (form.program !== program || form.literal !== flag || !this.#holds(form, index)) continue;
        if (rest) this.#mask(form, words[index]!, words[index]!.innerStart + at + 1);
        else this.#behind(form, words, index);
      }
    }
  }

  /** Programs whose flags end at the first word that is none. */
  #leave(words: readonly Word[], index: number): void {
    for (const [program, from] of this.#active) {
      const { ownFlags } = this.#forms.rule(program);
      if (ownFlags === undefined || index <= from || index < this.#sealed) continue;
      const before = words[index - 1]!;
      const flag = this.#text.slice(before.innerStart, before.innerEnd);
      if (flag.length !== 2 || flag[0] !== '-' || !ownFlags.includes(flag[1]!)) this.#active.delete(program);
    }
  }

  /** Masks the secret in a word's text from `start` on; a word that is nothing else, with its quotes. */
  #mask(form: Form, word: Word, start: number): void {
    const isWhole = start === word.innerStart && !form.glued;
    const [from, end] = isWhole ? [word.start, word.end] : [start, word.innerEnd];
    if (form.part === 'all') {
      if (this.#text.slice(from, end) !== '-') this.#found.add(form.rule, from, end);
    } else if (form.part === 'cookie') {
      if (this.#text.slice(from, end).includes('=')) this.#found.add(form.rule, from, end);
    } else this.#maskBehind(form, word, start);
  }

  /** Masks what is behind the separator. */
  #maskBehind({ rule, separator, untilAt, literal }: Form, word: Word, start: number): void {
    const text = this.#text;
    let end = word.innerEnd;
    const quote = text.charCodeAt(start);
    if (start > word.innerStart && end - start > 1 && isQuote(quote) && text.charCodeAt(end - 1) === quote) {
      start += 1;
      end -= 1;
    }
    const at = text.indexOf(separator, start);
    if (at < start || at >= end) return;
    // Any word would do: then a user must be there, and no other name or file.
    if (
      literal === '' &&
      (at === start || /^@|^(?!userid=|target=).*=./.test(text.slice(start, at + (separator === '=' ? 0 : 1))))
    )
      return;
    // user:secret@host, and not scheme://host or host:port; but user/secret may do without a host.
    const sign = untilAt ? text.lastIndexOf('@', end - 1) : -1;
    if (separator === ':' && (text.startsWith('://', at) || (untilAt && sign < at))) return;
    this.#found.add(rule, at + 1, sign > at ? sign : end);
  }
}

function hasWhite(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (isWhite(code) || isQuote(code) || code === NUL) return true;
  }
  return false;
}

function isSeparator(code: number): boolean {
  return (
    code === SEMICOLON || code === AMPERSAND || code === PIPE || code === NEWLINE || code === OPEN || code === CLOSE
  );
}
