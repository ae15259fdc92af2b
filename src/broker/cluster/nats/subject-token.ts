/** Any text as one token of a subject, in which dots, wildcards and spaces mean something else. */

/** What stands for itself. */
const PLAIN = /^[A-Za-z0-9_-]+$/;

/** `=` and two hexadecimal digits for each byte that does not stand for itself: such tokens are also keys of NATS's KV. */
export function subjectToken(text: string): string {
  if (PLAIN.test(text)) return text;
  let token = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const character = String.fromCharCode(byte);
    token += PLAIN.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  // A token has at least one character.
  return token === '' ? '=' : token;
}

/** The text of a token; undefined where no text has that token. */
export function textOfToken(token: string): string | undefined {
  if (PLAIN.test(token)) return token;
  if (token === '=') return '';
  const text = Buffer.from(
    token.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');
  return subjectToken(text) === token ? text : undefined;
}
