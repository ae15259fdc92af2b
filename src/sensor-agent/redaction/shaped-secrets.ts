/**
 * Secrets that are known by their shape, wherever they stand: credentials in
 * URLs, tokens of providers, keys. Each look begins at a literal that the scan
 * found, and takes time linear in what it masks.
 */
import { type ArgumentText, isQuote, isWhite, NUL } from './argument-text.js';
import type { Findings } from './findings.js';

export type ShapeKind =
  | 'url'
  | 'query'
  | 'dsn'
  | 'userinfo'
  | 'bearer'
  | 'jwt'
  | 'pem'
  | 'token'
  | 'tail'
  | 'pass'
  | 'sql'
  | 'data'
  | 'piped';

/** The shape that a rule looks for: one of the literals, then the form that its kind prescribes. */
export interface SecretShape {
  readonly rule: string;
  readonly kind: ShapeKind;
  readonly literals: readonly string[];
}

const [SLASH, COLON, AT, QUESTION, HASH, AMPERSAND, EQUALS, SEMICOLON] = [47, 58, 64, 63, 35, 38, 61, 59];
/** A user's name in a URL that is longer than this is taken for a token. */
const URL_USER_CHARACTERS_MAX = 19;
const TOKEN_CHARACTERS_MIN = 16;
/** A token, not words: with a digit, or capitals among small letters. */
const TOKEN = /\d|[a-z].*[A-Z]|[A-Z].*[a-z]/;
/** Behind these prefixes there are letters and digits only. */
const ALPHANUMERIC_PREFIX = /^(?:gh[a-z]|npm|hf|[sr]k_live|[sr]k_test|dop_v1|doo_v1|shpat|shpss|lin_api|rubygems)_$/;
/** How long user and secret before @tcp( may be. */
const DSN_CHARACTERS_MAX = 256;
const JWT = /eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}/y;
/**
 * The same where letters may have lost their case: a digit is asked for, as nothing else tells them from words, and the
 * form that they have.
 */
const FOLDED_TOKEN = /\d/;
const FOLDED_FORMS: ReadonlyMap<string, RegExp> = new Map([
  ['AKIA', /^[a-z2-7]{16}$/i],
  ['ASIA', /^[a-z2-7]{16}$/i],
  ['SG.', /^[a-z0-9_-]{22}\.[a-z0-9_-]{43}(?![a-z0-9_-])/i],
]);
const FOLDED_JWT = /eyj(?=(?:[a-z_-]*\d){2})[a-z0-9_-]{13,}\.[a-z0-9_-]*(?:\.[a-z0-9_-]*){0,3}/iy;
const BEARER = /[\s:=]+([a-z0-9._~+/=-]+)/iy;
const AWS_KEY_CHARACTERS = 20;
const PEM_LABEL = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/y;
const SQL_SECRET =
  /(?:\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?|(?:\s+for\s+[^\s=]+)?\s*=\s*(?:password\s*\()?\s*)(["'])/iy;
/** user:secret before "@"; behind :pserver: or oracle:thin: */
const USER_INFO = /[^\s:/@"'\0]{1,64}[:/]([^\s@"'\0]+)(?=@)/y;
const QEMU_DATA = /[^\s\0]{0,128}?,data=([^\0,]+)/y;
/** Words behind which a program reads a secret from its standard input; others are flags that say so. */
const READS_STDIN = /^\s*(?:sudo\s+(?:-\S+\s+)*)?(?:\/\S*\/)?$/;
const SUDO_READS = /^[^|;&\n]{0,48}?\s(?:-[A-Za-z]*S[A-Za-z]*|--stdin)\s/;

/** A command that prints its arguments, and how far before its reader it is looked for. */
const SAYS = /^\s*(?:echo|printf|print)\s+(?:-\S+\s+)*(?:(?:'%s[^']*'|"%s[^"]*"|%s\S*)\s+)?/;
const PIPED_CHARACTERS_MAX = 1024;
const HERE = /[^;&|\n\0<]{0,128}(?:(<<<)\s*|<<[^\0\n]{1,64}\n)/y;

const isAlphanumeric = (code: number): boolean =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
const isTokenCharacter = (code: number): boolean => isAlphanumeric(code) || code === 95 || code === 45;

export class ShapedSecrets {
  readonly #argument: ArgumentText;
  readonly #found: Findings;
  readonly #anyCase: boolean;

  /** `anyCase`: whoever passed the text on may have changed its letters' case. */
  constructor(argument: ArgumentText, found: Findings, anyCase: boolean) {
    this.#argument = argument;
    this.#found = found;
    this.#anyCase = anyCase;
  }

  /** Looks at the literal in [start, end). Returns the place from which on there is more to look at. */
  look({ rule, kind }: SecretShape, literal: string, start: number, end: number): number {
    this.#argument.seek(start);
    switch (kind) {
      case 'url':
        return this.#url(rule, start, end);
      case 'query':
        return this.#query(rule, start, end);
      case 'dsn':
        return this.#dsn(rule, start, end);
      case 'bearer':
        return this.#bearer(rule, start, end);
      case 'jwt':
        return this.#jwt(rule, start, end);
      case 'pem':
        return this.#pem(rule, start, end);
      case 'token':
        return this.#token(rule, literal, start, end);
      case 'tail':
        return this.#tail(rule, end);
      case 'pass':
        return this.#pass(rule, start, end);
      case 'sql':
        return this.#sql(rule, end);
      case 'userinfo':
        return this.#behind(rule, USER_INFO, end);
      case 'data':
        return this.#behind(rule, QEMU_DATA, end);
      case 'piped':
        return this.#piped(rule, literal, start, end);
    }
  }

  /** scheme://user:secret@host, scheme://secret@host */
  #url(rule: string, start: number, end: number): number {
    const { text, end: last, cut } = { text: this.#argument.text, end: this.#argument.end, cut: this.#isCut() };
    if (start === 0 || !isAlphanumeric(text.charCodeAt(start - 1))) return end;
    let colon = -1;
    let sign = -1;
    let slash = -1;
    let at = text.charCodeAt(end) === 91 ? Math.max(end, text.indexOf(']', end)) : end;
    for (; at < last; at += 1) {
      const code = text.charCodeAt(at);
      if (isWhite(code) || (colon < 0 && (isQuote(code) || code === QUESTION || code === HASH))) break;
      if (code === COLON && colon < 0 && slash < 0) colon = at;
      else if (code === SLASH && slash < 0) {
        slash = at;
        // A path begins, unless what is behind the colon is no port.
        if (colon < 0 || (sign >= 0 && sign > colon) || isDigits(text, colon + 1, slash)) break;
      } else if (code === AT && !text.startsWith('sha256:', at + 1)) sign = at;
      else if ((code === QUESTION || code === HASH) && slash < 0 && (sign > colon || isDigits(text, colon + 1, at)))
        break;
    }
    if (colon >= 0) {
      if (sign > colon) this.#found.add(rule, colon + 1, sign);
      else if (slash < 0 && cut && at === last) this.#found.add(rule, colon + 1, last);
      return at;
    }
    if (sign - end > URL_USER_CHARACTERS_MAX) this.#found.add(rule, end, sign);
    return at;
  }

  /** ?sig=x, &X-Amz-Signature=x */
  #query(rule: string, start: number, end: number): number {
    const { text } = this.#argument;
    let name = start;
    while (name > Math.max(this.#argument.start, start - 64) && isTokenCharacter(text.charCodeAt(name - 1))) name -= 1;
    const before = name === this.#argument.start ? NUL : text.charCodeAt(name - 1);
    const isQuery = before === QUESTION || before === AMPERSAND || before === SEMICOLON;
    if (!isQuery && !/^x-/i.test(text.slice(name, name + 2))) return end;
    let at = end;
    for (; at < this.#argument.end; at += 1) {
      const code = text.charCodeAt(at);
      if (isWhite(code) || isQuote(code) || code === AMPERSAND || code === HASH) break;
    }
    this.#found.add(rule, end, at);
    return at;
  }

  /** user:secret@tcp(host) */
  #dsn(rule: string, start: number, end: number): number {
    const { text } = this.#argument;
    let at = start;
    let colon = -1;
    while (at > Math.max(this.#argument.start, start - DSN_CHARACTERS_MAX)) {
      const code = text.charCodeAt(at - 1);
      if (isWhite(code) || isQuote(code) || code === SLASH || code === EQUALS) break;
      at -= 1;
      if (code === COLON) colon = at;
    }
    if (colon > at) this.#found.add(rule, colon + 1, start);
    return end;
  }

  #bearer(rule: string, start: number, end: number): number {
    const { text } = this.#argument;
    if (start > 0 && isAlphanumeric(text.charCodeAt(start - 1))) return end;
    BEARER.lastIndex = end;
    const token = BEARER.exec(text)?.[1];
    if (token === undefined) return end;
    const last = BEARER.lastIndex;
    const isToken = token.length >= 8 && (token.length >= 24 || /\d/.test(token));
    if (isToken || this.#isCutAt(last)) this.#found.add(rule, last - token.length, last);
    return last;
  }

  #jwt(rule: string, start: number, end: number): number {
    const { text } = this.#argument;
    if (start > 0 && isTokenCharacter(text.charCodeAt(start - 1)) && text.charCodeAt(start - 1) !== 45) return end;
    for (const form of this.#anyCase ? [JWT, FOLDED_JWT] : [JWT]) {
      form.lastIndex = start;
      if (!form.test(text)) continue;
      this.#found.add(rule, start, form.lastIndex);
      return form.lastIndex;
    }
    return end;
  }

  #pem(rule: string, start: number, end: number): number {
    const { text } = this.#argument;
    PEM_LABEL.lastIndex = start;
    if (!PEM_LABEL.test(text)) return end;
    const first = PEM_LABEL.lastIndex;
    const close = text.indexOf('-----END', first);
    const last = close < 0 || close > this.#argument.end ? this.#argument.end : close;
    this.#found.add(rule, first, last);
    return last;
  }

  /** A prefix, with enough characters after it. */
  #token(rule: string, literal: string, start: number, end: number): number {
    const { text } = this.#argument;
    if (!isTokenStart(text, start, literal, this.#anyCase)) return end;
    const isAws = rule === 'aws-key';
    const isPart = isAws ? isUpperOrDigit : ALPHANUMERIC_PREFIX.test(literal) ? isAlphanumeric : isTokenCharacter;
    let last = end;
    while (last < this.#argument.end && (isPart(text.charCodeAt(last)) || (literal === 'SG.' && text[last] === '.')))
      last += 1;
    const isToken = isAws
      ? last - start >= AWS_KEY_CHARACTERS
      : last - end >= TOKEN_CHARACTERS_MIN && TOKEN.test(text.slice(end, last));
    if (this.#anyCase && !(isToken && text.startsWith(literal, start)))
      return this.#foldedToken(rule, literal, start, end);
    if (isToken || this.#isCutAt(last)) this.#found.add(rule, start, last);
    return last;
  }

  /** A token of which the prefix or the rest may be in another case. */
  #foldedToken(rule: string, literal: string, start: number, end: number): number {
    const { text } = this.#argument;
    let last = end;
    while (
      last < this.#argument.end &&
      (isTokenCharacter(text.charCodeAt(last)) || (literal === 'SG.' && text[last] === '.'))
    )
      last += 1;
    const behind = text.slice(end, last);
    const hasForm = FOLDED_FORMS.get(literal)?.test(behind) ?? behind.length >= TOKEN_CHARACTERS_MIN;
    if (hasForm && FOLDED_TOKEN.test(behind)) this.#found.add(rule, start, last);
    return last;
  }

  /** All that follows in a URL's path: hooks.example/services/SECRET */
  #tail(rule: string, end: number): number {
    const { text } = this.#argument;
    let at = end;
    while (
      at < this.#argument.end &&
      (isTokenCharacter(text.charCodeAt(at)) || [SLASH, COLON].includes(text.charCodeAt(at)))
    )
      at += 1;
    this.#found.add(rule, end, at);
    return at;
  }

  /** pass:SECRET as openssl takes it. */
  #pass(rule: string, start: number, end: number): number {
    const argument = this.#argument;
    const { text } = argument;
    const before = start === argument.start ? NUL : text.charCodeAt(start - 1);
    if (before === NUL) this.#found.add(rule, end, argument.isCommand ? argument.wordEnd(end) : argument.end);
    else if (isQuote(before)) this.#found.add(rule, end, argument.quoteEnd(start - 1));
    else if (isWhite(before) || before === EQUALS) this.#found.add(rule, end, argument.wordEnd(end));
    return end;
  }

  /** Masks the pattern's group directly after the literal. */
  #behind(rule: string, pattern: RegExp, end: number): number {
    pattern.lastIndex = end;
    const secret = pattern.exec(this.#argument.text)?.[1];
    if (secret !== undefined) this.#found.add(rule, pattern.lastIndex - secret.length, pattern.lastIndex);
    return end;
  }

  /** IDENTIFIED BY 'SECRET' */
  #sql(rule: string, end: number): number {
    SQL_SECRET.lastIndex = end;
    if (!SQL_SECRET.test(this.#argument.text)) return end;
    const quote = SQL_SECRET.lastIndex - 1;
    const close = this.#argument.quoteEnd(quote);
    this.#found.add(rule, quote + 1, close);
    return close;
  }

  /** echo SECRET | chpasswd, chpasswd <<< SECRET */
  #piped(rule: string, literal: string, start: number, end: number): number {
    const argument = this.#argument;
    const { text } = argument;
    if (!argument.spaced || !text.startsWith(literal, start)) return end;
    const floor = Math.max(argument.start, start - PIPED_CHARACTERS_MAX);
    const before = text.slice(floor, start);
    const pipe = before.lastIndexOf('|');
    if (literal === 'sudo' && !SUDO_READS.test(text.slice(end, end + 64))) return end;
    const isReader = literal.startsWith('-') || READS_STDIN.test(before.slice(pipe + 1));
    if (pipe > 0 && isReader) this.#said(rule, before.slice(0, pipe), floor);
    HERE.lastIndex = end;
    const here = HERE.exec(text);
    if (here?.[1] === '<<<') this.#found.add(rule, HERE.lastIndex, argument.wordEnd(HERE.lastIndex));
    else if (here) this.#found.add(rule, HERE.lastIndex, argument.end);
    return end;
  }

  /** Masks what the command before a pipe prints; for a group, what all of its commands print. */
  #said(rule: string, command: string, floor: number): void {
    const group = /\)\s*$/.exec(command);
    const first = group
      ? command.lastIndexOf('(')
      : Math.max(...[';', '&', '|', '\n', '('].map((separator) => command.lastIndexOf(separator)));
    const says = SAYS.exec(command.slice(first + 1));
    if (says)
      this.#found.add(rule, floor + first + 1 + says[0].length, floor + (group?.index ?? command.trimEnd().length));
  }

  /** Whether the text goes on, unseen, behind this argument. */
  #isCut(): boolean {
    return this.#isCutAt(this.#argument.end);
  }

  #isCutAt(at: number): boolean {
    return this.#argument.cut && at === this.#argument.text.length;
  }
}

/** Whether the literal that was found there is written so, unless in `anyCase`, and not within a word. */
export function isTokenStart(text: string, start: number, literal: string, anyCase: boolean): boolean {
  return (anyCase || text.startsWith(literal, start)) && (start === 0 || !isAlphanumeric(text.charCodeAt(start - 1)));
}

function isDigits(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) if (text.charCodeAt(at) < 48 || text.charCodeAt(at) > 57) return false;
  return true;
}

const isUpperOrDigit = (code: number): boolean => (code >= 48 && code <= 57) || (code >= 65 && code <= 90);
