/**
 * Decides which names announce a secret value: `--db-password`, `API_KEY`,
 * `clientSecret`, `requirepass`; not `--author`, `--bypass`, `--token-file`. A
 * name is split into words at `_`, `.`, `-` and where capitals begin.
 */

/** What kind of secret the value is; decides which values cannot be one. */
export type SecretKind =
  | 'password'
  | 'pass'
  | 'directory'
  | 'secret'
  | 'token'
  | 'key'
  | 'keyfile'
  | 'auth'
  | 'several';

export interface SecretName {
  readonly kind: SecretKind | undefined;
  /** The name ends with the word, rather than going on: `token`, not `token-x`. */
  readonly ends: boolean;
  /** Whether it is a header's name; with `kind` undefined it is nothing else. */
  readonly isHeader: boolean;
}

/** Each name that is looked for has one of these in it: a hint for the scan. */
export const NAME_HINTS = [
  ...[
    'pass',
    'pw',
    'secret',
    'token',
    'key',
    'credential',
    'creds',
    'auth',
    'jwt',
    'psk',
    'bearer',
    'mnemonic',
    'phrase',
  ],
  'cookie',
] as const;

const KEY_OF =
  'api|access|secret|account|auth|encrypt|encryption|signing|master|shared|preshared|storage|license|service|session|' +
  'app|application|consumer|subscription|wep|wpa|hmac|aes|cipher|webhook|admin';
/** These keys are often in a file, and the value its path. */
const KEY_FILE_OF = 'private|client|certificate|ssh|deploy';
const KEY_QUALIFIER = new RegExp(`^(?:${KEY_OF})$`);
const KEY_FILE_QUALIFIER = new RegExp(`^(?:${KEY_FILE_OF})$`);
/** The end of a word, and its kind. */
const ENDINGS: readonly (readonly [RegExp, SecretKind])[] = [
  [/(?:password|passwd|passphrase|passcode|mnemonic)$/, 'password'],
  [/(?:secret|erlangcookie|setcookie)$/, 'secret'],
  [/credentials?$/, 'keyfile'],
  [/(?:token|bearer|^jwt|^psk)$/, 'token'],
  [new RegExp(`(?:${KEY_OF})key$`), 'key'],
  [new RegExp(`(?:${KEY_FILE_OF})key$`), 'keyfile'],
  [/(?:pwd|^pw|(?:bind|root|db|user|admin|ldap|sudo|my)pw)$/, 'pass'],
  [/pass$/, 'pass'],
  [/(?:auth|creds)$/, 'auth'],
  [/(?:passwords|secrets|tokens|apikeys|passphrases)$/, 'several'],
];
/** Words that end like a secret's name and mean something else. */
const OTHER_WORDS = new Set(
  (
    'bypass compass encompass trespass surpass overpass underpass multipass singlepass onepass twopass lowpass highpass ' +
    'bandpass allpass fullpass firstpass lastpass prepass subpass renderpass keepass gopass askpass extpass ' +
    'proxypass nopass nopasswd nopassword noauth nosecret notoken askpassword oauth xauth preauth unauth reauth anyauth'
  ).split(' '),
);
/** Before "pass" as a word of its own: `--low-pass 200`. */
const PASSES = /^(?:low|high|band|all|first|second|multi|two|one|single|render|by|sub|last|next|each|per|full|debug)$/;
/** Before "secret": what is named so holds it. */
const SECRET_NAMES = /^(?:existing|pull|tls|external)$/;
/** Words after a secret's name that say where the secret is or what it is like. */
const ABOUT = new RegExp(
  `^(?:${[
    'files?|paths?|dir|directory|folder|ur[li]s?|endpoints?|types?|names?|ttl|expiry|expires|expire|expiration|lifetime',
    'length|len|size|min|max|policy|helper|stdin|prompt|stores?|providers?|methods?|modes?|format|count|limit|age',
    'timeout|scopes?|header|field|required|enabled?|disabled?|user|username|algorithms?|alg|sock|socket|fd|env|var',
    'cmd|command|program|plugin|module|backend|server|host|port|realm|issuer|audience|level|strategy|retries|attempts',
    'source|manager|version|protocol|flow|domain|agent|db|database|table|column|cache|class|driver|handler|generator',
    'strength|regex|pattern|template|chars|charset|rotation|interval|renewal|window|usage|budget|bytes|bits|challenge',
    'callback|authentications?|prompts|index|process|change|lib|library|through|thru|rules?|groups?|refs?|labels?|ids',
  ].join('|')})$`,
);
/** A flag that begins with one of these is a switch, or asks: `--ask-pass`, `--enable-auth`. */
const SWITCHES =
  /^(?:no|not|ask|prompt|with|without|disable|enable|skip|use|allow|require|requires|show|hide|print|generate)$/;
/** How a camelCase name may go on behind the word: `secretString`, `passwordHash`, not `passwordField`. */
const CAMEL_SUFFIX = /^(?:value|string|text|hash|data|base|encoded|plain|old|new|current)$/;
/** Names as they are, in lower case. */
const NO_SECRETS = new Set(['auth-user-pass', 'discovery-token-ca-cert-hash', 'user.signingkey']);
const HEADER =
  /^(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z0-9-]*(?:token|key|auth|secret)|private-token|api-?key)$/;

const KNOWN_MAX = 2048;
const known = new Map<string, SecretName | null>();

/** The kind of secret that a name announces; null when none. Dashes before the name make it a flag. */
export function secretName(name: string): SecretName | null {
  let found = known.get(name);
  if (found === undefined) {
    if (known.size >= KNOWN_MAX) known.clear();
    found = classify(name);
    known.set(name, found);
  }
  return found;
}

function classify(name: string): SecretName | null {
  // -HAuthorization: ...
  const isHeader = HEADER.test(name.replace(/^-H/, '').toLowerCase());
  const word = wordOf(name);
  return word || isHeader ? { kind: word?.kind, ends: word?.ends === true, isHeader } : null;
}

/** The last word of a name that says that it is a secret. */
function wordOf(name: string): { readonly kind: SecretKind; readonly ends: boolean } | null {
  const plain = name.replace(/^-+/, '');
  const lower = plain.toLowerCase();
  if (NO_SECRETS.has(lower)) return null;
  if (/^(?:old)?pwd$/.test(lower) && plain === name) return { kind: 'directory', ends: true };
  const words: string[] = [];
  /** Whether the word goes on in the same part, as in camelCase. */
  const inner: boolean[] = [];
  for (const part of plain.split(/[_.-]+/)) {
    const pieces = part.split(/(?<=[a-z0-9])(?=[A-Z])/).filter((piece) => piece !== '');
    pieces.forEach((piece, index) => {
      words.push(piece.toLowerCase().replace(/(?<=[a-z])\d+$/, ''));
      inner.push(index < pieces.length - 1);
    });
  }
  const last = words.length - 1;
  if (last > 0 && SWITCHES.test(words[0]!)) return null;
  for (let at = last; at >= 0; at -= 1) {
    const kind = kindOf(words, at);
    if (kind === undefined) continue;
    if (at === last) return { kind, ends: true };
    if (kind === 'pass' || kind === 'auth' || kind === 'several') continue;
    if (ABOUT.test(words[last]!)) return null;
    if (inner[at] && !CAMEL_SUFFIX.test(words[at + 1]!)) return null;
    return { kind, ends: false };
  }
  return null;
}

function kindOf(words: readonly string[], at: number): SecretKind | undefined {
  const word = words[at]!;
  const before = words[at - 1] ?? '';
  if (OTHER_WORDS.has(word)) return undefined;
  if (word === 'key') {
    if (KEY_QUALIFIER.test(before)) return 'key';
    return KEY_FILE_QUALIFIER.test(before) ? 'keyfile' : undefined;
  }
  if (word === 'keys') return KEY_QUALIFIER.test(before) ? 'several' : undefined;
  if (word === 'cookie') return before === 'erlang' || before === 'session' || before === 'set' ? 'secret' : undefined;
  if (word === 'secret' && SECRET_NAMES.test(before)) return undefined;
  // pass-phrase, seed_phrase
  if (/^(?:phrase|word|code)$/.test(word) && before === 'pass') return 'password';
  if (word === 'phrase' && /^(?:seed|recovery|backup)$/.test(before)) return 'password';
  if (word === 'pass' && PASSES.test(before)) return undefined;
  return ENDINGS.find(([ending]) => ending.test(word))?.[1];
}

/** Values that are no secret whatever the name: a switch's, or a single digit. */
const PLAIN_VALUE = /^(?:true|false|yes|no|on|off|none|null|nil|undefined|enabled?|disabled?|\d)$/i;
/** Nothing but punctuation, or a pattern of sed or grep that stands for any value. */
const PATTERN_VALUE = /^[/'".*\s]*$|^(?:\.[*+]|\[\^|\\[Sw])/;
/** How to authenticate, rather than with what. */
const AUTH_VALUE =
  /^(?:basic|digest|ntlm|negotiate|kerberos|krb5i?p?|gssapi|plain|login|cram-md5|scram(?:-.*)?|oauth2?|xoauth2|bearer|jwt|ldap|pam|md5|sha-?\d+|hmac.*|trust|peer|ident|password|cert|anonymous|any|auto|guess|optional|required|internal|external|sspi|sys)$/i;
/** A path of a key's file, not a key that has slashes in it. */
const FILE_VALUE = /^(?:~|\.{1,2})?\/[\w./:~-]*$|^[\w./-]+\.(?:pem|key|crt|cer|der|p12|pub|json|jks|ppk|asc)$/;

/** Whether a value can be the secret that its name promises. */
export function canBeSecret(value: string, kind: SecretKind | undefined): boolean {
  if (PLAIN_VALUE.test(value) || PATTERN_VALUE.test(value)) return false;
  if (kind === 'auth') return !AUTH_VALUE.test(value) && !FILE_VALUE.test(value);
  if (kind === 'directory') return !value.startsWith('/');
  if (kind === 'keyfile') return !FILE_VALUE.test(value);
  // openssl's ways to be told, of which pass:X is a rule of its own.
  if (kind === 'pass') return !/^(?:pass|file|env|fd):|^stdin$/.test(value);
  if (kind === 'several') return !/^\d+$/.test(value);
  return true;
}
