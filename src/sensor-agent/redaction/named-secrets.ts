/**
 * Secrets that a name announces: `NAME=value`, `name: value`, `--name value`,
 * headers, `config set NAME VALUE`, SQL. Each look begins where the scan found
 * a part of a name and goes no further than the value, so that all looks at a
 * text together take time linear in it.
 */
import { type ArgumentText, endsWord, isQuote, isWhite, NUL } from './argument-text.js';
import type { Findings } from './findings.js';
import { canBeSecret, type SecretName, secretName } from './secret-name.js';

const NAME_CHARACTERS_MAX = 128;
const [EQUALS, COLON, DASH, SLASH, BACKSLASH, BRACKET, MORE] = [61, 58, 45, 47, 92, 93, 62];
const [AMPERSAND, QUESTION, COMMA, SEMICOLON, PIPE, HASH, ROUND, CURLY, OPEN] = [38, 63, 44, 59, 124, 35, 41, 125, 123];
const IS_NAME = new Uint8Array(128);
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-')
  IS_NAME[character.charCodeAt(0)] = 1;

const isName = (code: number): boolean => code < 128 && IS_NAME[code] === 1;

/** Values after `NAME:` that are a tag, a version, a port or the way to a secret, not a secret. */
const NO_MEMBER = /^(?:latest|stable|main|master|env|file|fd|stdin|v?\d+(?:\.\d+)+.*)$/;
const PATH = /(?:~|\.{1,2})?\/[\w./:~-]*(?=[\s\0"',;&|)]|$)/y;
const HOST = /^[a-z][a-z0-9.-]*$/;
const SCHEME = /(?:bearer|basic|token|digest|negotiate|apikey)\s+/iy;
const SETTING_GROUPS = new Set(
  'config configure configuration conf cfg settings setting kv env npm consul etcdctl gsettings redis-cli crudini secrets'.split(
    ' ',
  ),
);
const SETTING_VERBS = new Set(['set', 'put', 'write', 'setenv', '--set']);
const SETTING_READS = /^(?:get|list|ls|show|unset|delete|rm|--get.*|--unset.*|--list)$/;
const SETTING_WORDS_MAX = 5;
/** A verb of its own rather than a name, or a kind of authentication: set-credentials, wpa-psk */
const VERB_NAME = /^(?:set|get|add|create|delete|list|reset|rotate|revoke)[-_]|^wpa-psk$/;
const SQL_BEFORE_PASSWORD =
  /\b(?:with|encrypted|unencrypted|user|role|login|superuser|createdb|inherit|set)\s+(?:\S+\s+)?$/i;

export class NamedSecrets {
  readonly #argument: ArgumentText;
  readonly #found: Findings;

  constructor(argument: ArgumentText, found: Findings) {
    this.#argument = argument;
    this.#found = found;
  }

  /** Looks at the name of which a part ends at `hit`. Returns the place from which on there is more to look at. */
  look(hit: number): number {
    const argument = this.#argument;
    const { text } = argument;
    argument.seek(hit - 1);
    let start = hit - 1;
    while (start > argument.start && isName(text.charCodeAt(start - 1))) start -= 1;
    let end = hit;
    while (end < argument.end && isName(text.charCodeAt(end))) end += 1;
    if (end - start > NAME_CHARACTERS_MAX) return end;
    const close = this.#behindQuotes(end);
    const code = close < argument.end ? text.charCodeAt(close) : NUL;
    if (code === EQUALS) return this.#assignment(start, end, close);
    if (code === COLON) return this.#member(start, end, close);
    if (code !== NUL && !isWhite(code)) return end;
    const next = argument.skipWhite(close);
    if (next > close && next < argument.end) {
      const far = text.charCodeAt(next);
      if (far === EQUALS) return this.#assignment(start, end, next);
      if (far === COLON) return this.#member(start, end, next);
    }
    const name = secretName(text.slice(start, end));
    if (name?.kind === undefined || name.kind === 'several') return end;
    if (text.charCodeAt(start) === DASH) return this.#flag(start, end, close, name);
    if (close - end <= 1) return this.#setting(start, end, next, name);
    return end;
  }

  /** The place after quotes, escaped ones too, and brackets that may close a name. */
  #behindQuotes(at: number): number {
    const { text, end } = this.#argument;
    for (const most = Math.min(end, at + 4); at < most; at += 1) {
      const code = text.charCodeAt(at);
      if (!isQuote(code) && code !== BACKSLASH && code !== BRACKET) return at;
    }
    return at;
  }

  /** NAME=value, name = "value", ?name=value, name => 'value' */
  #assignment(start: number, end: number, equals: number): number {
    const argument = this.#argument;
    const { text } = argument;
    const secret = secretName(text.slice(start, end));
    if (secret === null) return end;
    const before = start === argument.start ? NUL : text.charCodeAt(start - 1);
    const isQuery = before === AMPERSAND || before === QUESTION;
    if (secret.isHeader && !isQuery && this.#found.holds('header')) return this.#header(start, equals + 1);
    if (secret.kind === undefined || (secret.kind === 'several' && text.charCodeAt(start) === DASH)) return end;
    // --from-file=token=path, gcloud --secret=name
    if (/-files?=$/.test(text.slice(Math.max(argument.start, start - 6), start))) return end;
    if (text.charCodeAt(start) === DASH && this.#found.programs.harmless(text.slice(start, end))) return end;
    let at = equals + 1;
    if (text.charCodeAt(at) === MORE || text.charCodeAt(at) === EQUALS) at += 1;
    if (equals === end && at < argument.end && isWhite(text.charCodeAt(at)) && argument.isCommand) return at;
    const value = this.#assigned(start, equals, at);
    return this.#tell('secret-assignment', value[0], value[1], secret);
  }

  /** Where the value of an assignment is. */
  #assigned(start: number, equals: number, at: number): readonly [number, number] {
    const argument = this.#argument;
    const { text, end } = argument;
    if (this.#leads(start) && !argument.isCommand) return [at, end];
    const before = start === argument.start ? NUL : text.charCodeAt(start - 1);
    if (isQuote(before) && equals === this.#nameEnd(equals)) return [at, argument.quoteEnd(start - 1)];
    const value = argument.spaced ? argument.skipWhite(at) : at;
    const isShell = before === NUL || endsWord(before) || before === OPEN;
    const isQuery = before === AMPERSAND || before === QUESTION;
    if (value === at && isShell && !isQuery) return [at, argument.wordEnd(at)];
    if (value < end && isQuote(text.charCodeAt(value))) return [value + 1, argument.quoteEnd(value)];
    // -o user=u,password=a b
    if (before === COMMA && !argument.isCommand && !argument.hasWhite(start)) return [at, this.#listEnd(at)];
    return [value, this.#bareEnd(value, isQuery)];
  }

  /** The end of the name before a separator: the separator itself unless there are quotes or spaces between. */
  #nameEnd(separator: number): number {
    return isName(this.#argument.text.charCodeAt(separator - 1)) ? separator : separator - 1;
  }

  /** name: value, "name": "value", NAME:value */
  #member(start: number, end: number, colon: number): number {
    const argument = this.#argument;
    const { text } = argument;
    // Most are paths: lib/token.jar:lib/auth.jar
    if (colon === end && start - 1 > argument.start && text.charCodeAt(start - 1) === SLASH)
      if (!isWhite(text.charCodeAt(colon + 1))) return end;
    const secret = secretName(text.slice(start, end));
    if (secret === null) return end;
    if (secret.isHeader && this.#found.holds('header')) return this.#header(start, colon + 1);
    if (secret.kind === undefined) return end;
    let at = colon + 1;
    if (text.charCodeAt(at) === EQUALS) at += 1;
    const value = argument.skipWhite(at);
    if (value >= argument.end) return value;
    if (isQuote(text.charCodeAt(end)) || text.charCodeAt(end) === BACKSLASH) return this.#jsonValue(value, secret);
    if (value > at) return this.#lineValue(value, secret);
    if (isQuote(text.charCodeAt(at))) return this.#tell('secret-member', at + 1, argument.quoteEnd(at), secret);
    return this.#tagValue(start, at, secret);
  }

  #jsonValue(at: number, secret: SecretName): number {
    const { text, end } = this.#argument;
    let first = at;
    while (first < end && text.charCodeAt(first) === BACKSLASH) first += 1;
    if (first > at && isQuote(text.charCodeAt(first))) {
      const escaped = text.indexOf('\\', first + 1);
      return this.#tell('secret-member', first + 1, escaped < 0 || escaped > end ? end : escaped, secret);
    }
    if (isQuote(text.charCodeAt(at))) return this.#tell('secret-member', at + 1, this.#argument.quoteEnd(at), secret);
    // The members of an object have names of their own.
    if (text.charCodeAt(at) === OPEN) return at;
    let last = at;
    for (; last < end; last += 1) {
      const code = text.charCodeAt(last);
      if (isWhite(code) || isQuote(code) || code === COMMA || code === CURLY || code === BRACKET) break;
    }
    return this.#tell('secret-member', at, last, secret);
  }

  /** The value up to the end of the line; several words count as prose unless they are a password. */
  #lineValue(at: number, secret: SecretName): number {
    const argument = this.#argument;
    const found = this.#found;
    const { text } = argument;
    if (found.programs.some('prose')) return at;
    if (isQuote(text.charCodeAt(at))) {
      // "Password: " closes with the quote, rather than opening the value.
      const code = at + 1 < argument.end ? text.charCodeAt(at + 1) : NUL;
      return code === NUL || endsWord(code) ? at : this.#tell('secret-member', at + 1, argument.quoteEnd(at), secret);
    }
    let end = at;
    let words = 1;
    for (; end < argument.end; end += 1) {
      const code = text.charCodeAt(end);
      if (isQuote(code) || code === 10 || code === 13) break;
      if (isWhite(code) && end + 1 < argument.end && !isWhite(text.charCodeAt(end + 1))) words += 1;
    }
    const loose = secret.kind !== 'password' && secret.kind !== 'secret' && secret.kind !== 'token';
    if (words > 1 && loose) return end;
    return this.#tell('secret-member', at, end, secret);
  }

  #tagValue(start: number, at: number, secret: SecretName): number {
    const argument = this.#argument;
    const found = this.#found;
    const { text } = argument;
    const before = start === argument.start ? NUL : text.charCodeAt(start - 1);
    if (!secret.ends || secret.kind === 'several' || before === COLON) return at;
    const isWord = HOST.test(text.slice(start, at - 1));
    if (isWord && found.programs.some('tags')) return at;
    PATH.lastIndex = at;
    if (PATH.test(text)) return PATH.lastIndex;
    const end = this.#leads(start) && !argument.isCommand ? argument.end : this.#bareEnd(at, false);
    const value = end - at > 64 ? '' : text.slice(at, end);
    // token:8080 is a place; API_TOKEN:8080 is not.
    const isPort = isWord && (secret.kind === 'token' || secret.kind === 'auth');
    return (isPort && /^\d{1,5}$/.test(value)) || NO_MEMBER.test(value)
      ? end
      : this.#tell('secret-member', at, end, secret);
  }

  /** --name value, -name value */
  #flag(start: number, end: number, close: number, secret: SecretName): number {
    const argument = this.#argument;
    const found = this.#found;
    const { text } = argument;
    if (start > argument.start && !isWhite(text.charCodeAt(start - 1)) && text.charCodeAt(start - 1) !== ROUND - 1)
      if (!isQuote(text.charCodeAt(start - 1))) return end;
    if (found.programs.harmless(text.slice(start, end))) return end;
    const inner = close < argument.end;
    const value = inner ? argument.skipWhite(close) : argument.end + 1;
    if (value >= text.length || text.charCodeAt(value) === DASH) return value;
    return this.#tell('secret-flag', value, inner ? argument.wordEnd(value) : argument.endFrom(value), secret);
  }

  /** NAME VALUE behind a verb that sets, or in SQL. */
  #setting(start: number, end: number, next: number, secret: SecretName): number {
    const argument = this.#argument;
    const found = this.#found;
    const { text } = argument;
    const inner = next < argument.end;
    const value = inner ? next : argument.end + 1;
    if (value >= text.length || text.charCodeAt(value) === DASH) return end;
    if (inner && isQuote(text.charCodeAt(value)) && secret.kind === 'password') {
      const before = text.slice(Math.max(argument.start, start - 64), start);
      if (SQL_BEFORE_PASSWORD.test(before))
        return this.#tell('sql-password', value + 1, argument.quoteEnd(value), secret);
    }
    const isSetting =
      (secret.ends && found.programs.some('settings') && !this.#isBehindFlag(start)) || this.#isSet(start, inner);
    // SET PASSWORD FOR user = 'X' has a rule of its own.
    if (/^(?:for|=)$/i.test(text.slice(value, inner ? argument.wordEnd(value) : value))) return end;
    if (!isSetting || VERB_NAME.test(text.slice(start, end))) return end;
    return this.#tell('secret-setting', value, inner ? argument.wordEnd(value) : argument.endFrom(value), secret);
  }

  /** Whether the word before a name is a flag, of which the name is the value. */
  #isBehindFlag(start: number): boolean {
    const { text, from } = this.#argument;
    let at = start - 2;
    while (at > from && text.charCodeAt(at - 1) !== NUL && !isWhite(text.charCodeAt(at - 1))) at -= 1;
    return text.charCodeAt(at) === DASH;
  }

  /** Whether the words before a name say that it is set to what follows. */
  #isSet(start: number, inner: boolean): boolean {
    const argument = this.#argument;
    const { text } = argument;
    const floor = inner ? argument.start : argument.from;
    // The word that the name ends: //registry/:_authToken
    let at = start;
    const isGap = (code: number) => (inner ? isWhite(code) : code === NUL);
    while (at > floor && !isGap(text.charCodeAt(at - 1))) {
      at -= 1;
      if (start - at > NAME_CHARACTERS_MAX) return false;
    }
    let sets = -1;
    for (let count = 0; count < SETTING_WORDS_MAX && at > floor; count += 1) {
      let first = at - 1;
      while (first > floor && !isGap(text.charCodeAt(first - 1))) first -= 1;
      const word = text.slice(first, Math.min(at - 1, first + 32)).toLowerCase();
      if (SETTING_READS.test(word)) return false;
      if (sets >= 0 && SETTING_GROUPS.has(word.slice(word.lastIndexOf('/') + 1))) return true;
      if (count === 0 && (word === 'setenv' || word === '--arg' || (word === 'set' && first === floor))) return true;
      // machine host login user password X
      if (count === 3 && word.endsWith('machine')) return true;
      if (sets < 0 && SETTING_VERBS.has(word)) sets = count;
      else if (word === 'config' && sets < 0) return true;
      at = first;
    }
    return false;
  }

  #header(start: number, at: number): number {
    const argument = this.#argument;
    const { text } = argument;
    let value = argument.skipWhite(at);
    while (value < argument.end && (isQuote(text.charCodeAt(value)) || text.charCodeAt(value) === BACKSLASH))
      value += 1;
    SCHEME.lastIndex = value;
    const scheme = SCHEME.exec(text);
    if (scheme) value += scheme[0].length;
    let end = argument.end;
    const before = start === argument.start ? NUL : text.charCodeAt(start - 1);
    const leads = this.#leads(start) && !argument.isCommand;
    if (!leads) {
      end = value;
      const closes = (code: number) =>
        isQuote(before) ? code === before : isQuote(code) || code === 10 || code === 13;
      while (end < argument.end && !closes(text.charCodeAt(end))) end += 1;
    }
    this.#found.add('header', value, end);
    return end;
  }

  /** Whether a name begins its argument, or stands behind a flag of its own: --env=NAME=value */
  #leads(start: number): boolean {
    const { text, start: first } = this.#argument;
    if (start === first) return true;
    const before = text.charCodeAt(start - 1);
    // /password:X
    if (before === SLASH && start - 1 === first) return true;
    if ((before !== EQUALS && before !== COLON) || text.charCodeAt(first) !== DASH) return false;
    for (let at = first; at < start - 1; at += 1) if (!isName(text.charCodeAt(at))) return false;
    return true;
  }

  /** The end of a value without quotes. Where the argument is no command, only what begins another assignment ends it. */
  #bareEnd(at: number, isQuery: boolean): number {
    const argument = this.#argument;
    const { text, end, spaced } = argument;
    for (; at < end; at += 1) {
      const code = text.charCodeAt(at);
      if (isWhite(code)) return at;
      if (isQuery ? code === AMPERSAND || code === HASH || isQuote(code) : spaced && isQuote(code)) return at;
      const divides = code === AMPERSAND || code === SEMICOLON || code === PIPE || code === COMMA;
      if (spaced && (code === ROUND || (divides && code !== COMMA))) return at;
      if (divides && this.#beginsAssignment(at + 1)) return at;
    }
    return end;
  }

  /** The end of a value in a list: all that begins no other assignment is a part of it. */
  #listEnd(at: number): number {
    const { text, end } = this.#argument;
    while (at < end && !(text.charCodeAt(at) === COMMA && this.#beginsAssignment(at + 1))) at += 1;
    return at;
  }

  #beginsAssignment(at: number): boolean {
    const { text, end } = this.#argument;
    const most = Math.min(end, at + 32);
    let last = at;
    while (last < most && (isName(text.charCodeAt(last)) || text.charCodeAt(last) === 32)) last += 1;
    return last > at && text.charCodeAt(last) === EQUALS;
  }

  /** Masks the value if it can be a secret. */
  #tell(rule: string, start: number, end: number, { kind }: SecretName): number {
    const { text } = this.#argument;
    const value =
      end - start > 64 ? `${text.slice(start, start + 8)}***` : text.slice(start, end).replace(/^(["'])(.*)\1$/s, '$2');
    if (value === '$' || !canBeSecret(value, kind)) return Math.max(start, this.#argument.start);
    this.#found.add(rule, start, end);
    return end;
  }
}
