/**
 * The rules that hold unless the configuration switches them off: data of the
 * same form as configured rules (see rule.ts). A value that is an argument of
 * its own, or the rest of one, goes on to the next NUL; one within a command
 * text (`sh -c`) is a word as shells read it, quotes and all. No value needs
 * an end, because arguments may have been cut: `$` matches only there.
 */
import type { RedactionRule } from './rule.js';

const PIECE = String.raw`\\.|'[^'\x00]*'?|"(?:\\.|[^"\\\x00])*"?`;
const BARE = String.raw`\s\x00'"\\;&|()<>`;
/** Pieces side by side: bare, quoted, escaped. */
const WORD = `((?:${PIECE}|[^${BARE}])+)`;
const WORD_NOT_FLAG = `((?:${PIECE}|[^-${BARE}])(?:${PIECE}|[^${BARE}])*)`;
const REST = String.raw`([^\x00]+)`;

/** Names whose value is a secret: these at the end of a name, or before a suffix that is set apart. */
const LONG =
  '(?:password|passwd|passphrase|secret|token|(?:api|access|secret|private|account|auth|encryption|signing|master)[_-]?key|credentials?)';
/** These only as a word of their own. */
const SHORT = '(?:[a-z0-9_.-]*[_.-])?(?:pass|pwd|auth|jwt)';
const NAME = `(?:[a-z0-9_.-]*${LONG}(?:[0-9]+|[_.-][a-z0-9_.-]*)?|${SHORT})`;
const FLAG = `-{1,2}(?:[a-z0-9_.-]*${LONG}(?:[0-9]+|[_.-][a-z0-9_.-]*)?|-${SHORT})`;
/** Names that say where a secret is or what it is like. Tried first, with no group to mask: an exception. */
const HARMLESS = `[a-z0-9_.-]*(?:${LONG}|pass|pwd|auth|jwt)[_.-](?:[a-z0-9_.-]*[_.-])?(?:files?|path|dir|ur[li]|endpoint|types?|name|ttl|expiry|lifetime|length|size|min|max|policy|helper|stdin|prompt|store|provider|method|mode|format|count|limit|age|timeout|scope|header|field|required|enabled|user(?:name)?|algorithm|sock)`;
const HARMLESS_FLAG = `-{1,2}(?:no-[a-z0-9-]*|${HARMLESS})`;
/** What cannot be within a name. */
const EDGE = '[^a-z0-9_.-]';
/** The flag before a command text. */
const COMMAND_FLAG = String.raw`\x00-[a-z]{0,6}c`;
const NAME_HINTS = ['pass', 'pwd', 'secret', 'token', 'key', 'credential', 'auth', 'jwt'];

const HEADER =
  '(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z0-9-]*(?:token|key|auth|secret)|private-token|api-?key)';
const SCHEME = String.raw`(?:(?:bearer|basic|token|digest|negotiate|apikey)\s+)?`;

/** A program: the path that runs, the zeroth argument, or a word where a command may begin. */
function program(names: string): string {
  return String.raw`(?:^(?:[^\x00]*/)?|[\x00\s;|&('"](?:[^\s\x00'"]*/s?bin/)?)(?:${names})`;
}

/** The value of a flag that is given as `-x value` or `-xvalue`, anywhere after its program's name. */
function flagValue(names: string, flag: string): string {
  return String.raw`(?s)${program(names)}(?:[\x00\s].*?)??(?:\x00-${flag}\x00?${REST}|\s-${flag}[ \t]*${WORD})`;
}

/** Flags of curl without a value, which may stand before one with a value: `-fsSLu`. */
const CURL_FLAGS = '-[#0-46afgijklnpqsvBGIJLMNORSZ]*';
/** user:secret in one argument, or quoted, or bare. */
const CURL_USER = [
  String.raw`\x00(?:${CURL_FLAGS}[uU]\x00?|--(?:proxy-)?user[=\x00])[^\x00:]*:${REST}`,
  String.raw`\s(?:${CURL_FLAGS}[uU]|--(?:proxy-)?user[=\s])\s*(?:'[^'\x00:]*:([^'\x00]+)|"[^"\x00:]*:([^"\x00]+)|[^\s\x00:'"]*:${WORD})`,
].join('|');
const COOKIE = String.raw`'[^'\x00=]*=[^'\x00]*|"[^"\x00=]*=[^"\x00]*|[^\s\x00'"=]+=[^\s\x00]*`;

/** [name, pattern, hints]; every group is masked. */
const RULES: readonly (readonly [name: string, pattern: string, hints: readonly string[]])[] = [
  [
    // --password=x, TOKEN=x, ?api_key=x
    'secret-assignment',
    [
      String.raw`(?i)(?:${COMMAND_FLAG})?${EDGE}(?:${HARMLESS}=|(?:old)?pwd=/)`,
      String.raw`(?:${COMMAND_FLAG}\x00\s*|[\s(])${NAME}=${WORD}`,
      String.raw`\x00(?:-[a-z0-9_-]+=)?${NAME}=${REST}`,
      String.raw`"${NAME}=([^"\x00]+)`,
      String.raw`'${NAME}=([^'\x00]+)`,
      String.raw`${EDGE}${NAME}["']?\s*=\s*(?:"([^"\x00]+)|'([^'\x00]+)|([^\s\x00"'&;|)]+))`,
    ].join('|'),
    NAME_HINTS,
  ],
  [
    // {"password":"x"}, password: x, client_secret:x
    'secret-member',
    [
      String.raw`(?i)${EDGE}${HARMLESS}\\?["']?\s*:`,
      String.raw`"${NAME}"\s*:\s*(?:"((?:\\.|[^"\\\x00])+)|([^\s"\x00,}\]]+))`,
      String.raw`\\"${NAME}\\"\s*:\s*\\"([^\\\x00]+)`,
      String.raw`${EDGE}${NAME}'?:[ \t]+(?:"([^"\x00]+)|'([^'\x00]+)|([^\x00\r\n"'\s][^\x00\r\n"']*))`,
      String.raw`${EDGE}[a-z0-9.-]+_${LONG}:([^\s\x00"'&;|)]+)`,
    ].join('|'),
    NAME_HINTS,
  ],
  [
    // --password x, -token x
    'secret-flag',
    [
      String.raw`(?i)\x00${HARMLESS_FLAG}\x00[^\x00-][^\x00]*`,
      String.raw`[\s"'(]${HARMLESS_FLAG}["']?\s+[^\s\x00-][^\s\x00]*`,
      String.raw`\x00${FLAG}\x00([^\x00-][^\x00]*)`,
      String.raw`[\s"'(]${FLAG}["']?[ \t]+${WORD_NOT_FLAG}`,
    ].join('|'),
    NAME_HINTS,
  ],
  [
    'header',
    [
      String.raw`(?i)\x00(?:-H|--header=)?\s*${HEADER}\s*[:=]\s*${SCHEME}${REST}`,
      String.raw`"${HEADER}\s*:\s*${SCHEME}([^"\x00]+)`,
      String.raw`'${HEADER}\s*:\s*${SCHEME}([^'\x00]+)`,
      String.raw`${EDGE}(?:-H\s*)?${HEADER}\\?["']?\s*[:=]\s*\\?["']?${SCHEME}([^\x00"'\r\n]+)`,
    ].join('|'),
    ['authorization', 'cookie', 'x-', 'private-token', 'api-key', 'apikey'],
  ],
  ['bearer', String.raw`(?i)\bbearer[\s:=]+([a-z0-9._~+/=-]{8,}|[a-z0-9._~+/=-]+$)`, ['bearer']],
  [
    // scheme://user:secret@host, scheme://secret@host
    'url-credentials',
    String.raw`(?i)[a-z0-9]://(?:[^\s/@:\x00'"]*:(?:([^\s/\x00]+)@|([^\s/@\x00]+)$)|([^\s/@:\x00?#]{20,})@)`,
    ['://'],
  ],
  ['curl-user', String.raw`(?s)${program('curl|wget')}.*?(?:${CURL_USER})(?:.*?(?:${CURL_USER}))?`, ['curl', 'wget']],
  [
    // A cookie has a "="; without one it is a file of cookies.
    'curl-cookie',
    String.raw`(?s)${program('curl')}.*?(?:\x00(?:${CURL_FLAGS}b\x00?|--cookie[=\x00])([^\x00=]*=[^\x00]*)|\s(?:${CURL_FLAGS}b|--cookie[=\s])\s*(${COOKIE}))`,
    ['curl'],
  ],
  [
    // Only -pSECRET: in "-p name" the name is a database.
    'mysql-password',
    String.raw`(?s)${program('mysql(?:dump|admin|import|check|show|pump)?|mariadb(?:-dump|-admin|-import|-check|-show)?')}(?:[\x00\s].*?)??(?:\x00-p${REST}|[\s'"]-p${WORD}|[\x00\s](?:old-)?password(?:\x00${REST}|[ \t]+${WORD}))`,
    ['mysql', 'mariadb'],
  ],
  [
    'sshpass-password',
    String.raw`${program('sshpass')}(?:[\x00\s]-(?:[ehvV]+|[fdP][\x00\s]?[^\x00\s]+))*(?:\x00-p\x00?${REST}|\s-p\s*${WORD})`,
    ['sshpass'],
  ],
  ['redis-password', flagValue('redis-cli|valkey-cli', 'a'), ['redis-cli', 'valkey-cli']],
  ['mongo-password', flagValue('mongo(?:sh|dump|restore|export|import)?', 'p'), ['mongo']],
  ['ldap-password', flagValue('ldap(?:search|add|modify|delete|passwd|whoami|compare)', 'w'), ['ldap']],
  ['zip-password', flagValue('zip|unzip|zipcloak', 'P'), ['zip']],
  ['sqlserver-password', flagValue('sqlcmd|bcp', 'P'), ['sqlcmd', 'bcp']],
  [
    'openssl-key',
    String.raw`(?s)${program('openssl')}[\x00\s].*?[\x00\s]-[kK](?:\x00${REST}|[ \t]+${WORD})`,
    ['openssl'],
  ],
  ['openssl-pass', String.raw`\x00pass:${REST}|'pass:([^'\x00]+)|"pass:([^"\x00]+)|[\s=]pass:${WORD}`, ['pass:']],
  [
    'login-password',
    String.raw`(?s)${program('docker|podman|nerdctl|buildah|skopeo|helm|crane|oc|az')}[\x00\s](?:.*?[\x00\s])??login(?:[\x00\s].*?)??(?:\x00-p(?:\x00|=)?${REST}|\s-p=?[ \t]*${WORD})`,
    ['login'],
  ],
  ['jwt', String.raw`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}`, ['eyJ']],
  [
    'pem-key',
    String.raw`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----([^\x00]*?)(?:-----END|\x00|$)`,
    ['private key'],
  ],
  ['aws-key', String.raw`\b((?:AKIA|ASIA)(?:[A-Z0-9]{16,}|[A-Z0-9]*$))`, ['AKIA', 'ASIA']],
  [
    // GitHub, GitLab, Slack, Stripe, OpenAI and its like, Google, npm, Hugging Face, Docker, Vault
    'provider-token',
    [
      String.raw`(?:^|[^A-Za-z0-9])((?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_(?:live|test)_|sk-|AIza|npm_|hf_|dckr_pat_|hv[sb]\.)(?:[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]*$))`,
      String.raw`hooks\.slack\.com/services/([A-Za-z0-9/]+)`,
    ].join('|'),
    [
      'gh',
      'github_pat_',
      'glpat-',
      'xox',
      'k_',
      'sk-',
      'AIza',
      'npm_',
      'hf_',
      'dckr_pat_',
      'hvs.',
      'hvb.',
      'hooks.slack',
    ],
  ],
];

export const DEFAULT_RULES: readonly RedactionRule[] = RULES.map(([name, pattern, hints]) => ({
  name,
  field: 'process.command_args',
  pattern,
  hints,
}));
