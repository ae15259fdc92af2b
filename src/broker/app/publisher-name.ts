/**
 * The name under which events of an identity come: `@` and the identity. No node can have it. It goes into cursors and
 * lists, which take no blanks and no letters beyond ASCII, so these are written as in URLs.
 */
import { createHash } from 'node:crypto';
import { PUBLISHER_NAME_BYTES_MAX } from '../../limits.js';

export function publisherName(identity: string): string {
  const plain = identity.replace(/[^A-Za-z0-9._/:@-]/gu, escaped);
  if (plain.length < PUBLISHER_NAME_BYTES_MAX) return `@${plain}`;
  const digest = createHash('sha256').update(identity).digest('hex').slice(0, 16);
  return `@${plain.slice(0, PUBLISHER_NAME_BYTES_MAX - 18)}~${digest}`;
}

function escaped(character: string): string {
  const bytes = [...Buffer.from(character)];
  return bytes.map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}
