/**
 * How programs take secrets, from usage lines as manuals write them:
 *
 *   -p X         the word after -p           add_user U X   the second word after add_user
 *   -pX          what is glued to -p         ^U X           the second word that is no flag
 *   -p~X         either: -p X and -pX, --pw X and --pw=X
 *   -u~U:X       what is behind the first ":" (or % / , =) of the value
 *   U/X@         of any word: what is between the "/" and the last "@", or the end
 *   -b~C         the value, if there is a "=" in it (a cookie rather than a file)
 *   -b LAST      the last word, if there is a -b
 *   basic.* U X  the second word after one that begins with "basic."
 *   login: -p~X  only behind the word "login"
 *
 * X is the secret; U and K are any text.
 */
export interface ProgramRule {
  readonly rule: string;
  /** Names of programs, with spaces between. */
  readonly programs: string;
  /** Usage lines, with commas between. */
  readonly forms: string;
  /** Letters of flags without a value, which may stand before one with a value: -fsSLu */
  readonly switches?: string;
  /** The program's flags end at the first word that is none; these letters have a value. */
  readonly ownFlags?: string;
  /** Flags with a value, which is none of the words that are counted from the program's name; spaces between. */
  readonly valued?: string;
  /** The name is a common word, so it counts only where a program can stand. */
  readonly strict?: boolean;
}

export type SecretPart = 'all' | 'behind' | 'cookie' | 'last';

/** One way in which a program takes a secret. */
export interface Form {
  readonly rule: string;
  /** Index of the ProgramRule. */
  readonly program: number;
  /** A word, or what it begins with where `glued`; empty: any word, or with `first` the program's own. */
  readonly literal: string;
  readonly glued: boolean;
  /** The literal is what a word begins with, and the secret stands behind the word. */
  readonly prefix: boolean;
  readonly first: boolean;
  /** Words that are no flags between the literal and the secret's. */
  readonly skip: number;
  readonly part: SecretPart;
  /** With `behind`: the character before the secret. */
  readonly separator: string;
  /** The secret ends at the last "@". */
  readonly untilAt: boolean;
  /** Words that must have come before. */
  readonly after: readonly string[];
}

const SECRET = /^(.*?)(~?)(?:([UK])([^\w~]))?(X|C|LAST)(@?)$/;

function compileForms(rules: readonly ProgramRule[]): readonly Form[] {
  return rules.flatMap(({ rule, forms }, program) =>
    forms.split(/,\s+/).flatMap((usage) => {
      const [verbs, line] = usage.includes(': ') ? (usage.split(': ') as [string, string]) : ['', usage];
      return compileLine(line, verbs === '' ? [] : verbs.split(' ')).map((form) => ({ ...form, rule, program }));
    }),
  );
}

function compileLine(line: string, verbs: readonly string[]): Omit<Form, 'rule' | 'program'>[] {
  const first = line.startsWith('^');
  const words = line.replace('^', '').split(' ');
  const [, literal = '', either, , separator = '', what, at] = SECRET.exec(words.at(-1)!)!;
  const part = what === 'LAST' ? 'last' : what === 'C' ? 'cookie' : separator === '' ? 'all' : 'behind';
  const common = { part, separator, untilAt: at === '@' } as const;
  const before = words.slice(0, -1).filter((word) => word !== 'U');
  const after = [...verbs, ...before.slice(0, -1)];
  const prefix = before.at(-1)?.endsWith('*') === true;
  const next = { ...common, first, glued: false, prefix, skip: words.length - 1 - before.length, after };
  if (words.length > 1) return [{ ...next, literal: (before.at(-1) ?? '').replace('*', '') }];
  const glued = { ...common, first, glued: true, prefix: false, skip: 0, after };
  if (either === '') return [{ ...glued, literal }];
  const isLong = literal.length > 2;
  return [
    { ...next, literal },
    { ...glued, literal: isLong ? `${literal}=` : literal },
  ];
}

/** The forms of all programs, by what a word must be. */
export class ProgramForms {
  readonly #rules: readonly ProgramRule[];
  readonly #exact = new Map<string, Form[]>();
  readonly #glued = new Map<string, Form[]>();
  readonly #any: Form[] = [];
  readonly #first: Form[] = [];
  readonly #verbs = new Set<string>();
  readonly #positional = new Set<number>();

  constructor(rules: readonly ProgramRule[]) {
    this.#rules = rules;
    for (const form of compileForms(rules)) {
      for (const verb of form.after) this.#verbs.add(verb);
      const isBehindFlag = form.literal.startsWith('-') && form.part !== 'last' && form.skip === 0;
      if (!isBehindFlag) this.#positional.add(form.program);
      if (form.first) this.#first.push(form);
      else if (form.literal === '' && form.part === 'last') this.#first.push(form);
      else if (form.literal === '') this.#any.push(form);
      else if (form.glued || form.prefix) push(this.#glued, form.literal.slice(0, 2), form);
      else push(this.#exact, form.literal, form);
    }
  }

  rule(program: number): ProgramRule {
    return this.#rules[program]!;
  }

  /** Whether a program takes a secret that no flag announces. */
  isPositional(program: number): boolean {
    return this.#positional.has(program);
  }

  isVerb(word: string): boolean {
    return this.#verbs.has(word);
  }

  exact(word: string): readonly Form[] | undefined {
    return this.#exact.get(word);
  }

  glued(word: string): readonly Form[] | undefined {
    return this.#glued.get(word.slice(0, 2));
  }

  get any(): readonly Form[] {
    return this.#any;
  }

  get first(): readonly Form[] {
    return this.#first;
  }
}

function push(map: Map<string, Form[]>, key: string, form: Form): void {
  const forms = map.get(key);
  if (forms) forms.push(form);
  else map.set(key, [form]);
}
