/**
 * Subjects of a state's stream: what stands before a key's first dot is a token of its own, so that kinds can be told
 * apart in NATS, and the rest another.
 *
 *   PREFIX.KIND [ .REST ]    an entry
 *   PREFIX.=tick.BROKER      a sign of life; no text has the token `=tick`
 */
import { subjectToken, textOfToken } from './subject-token.js';

export function subjectOfKey(prefix: string, key: string): string {
  const dot = key.indexOf('.');
  if (dot < 0) return `${prefix}.${subjectToken(key)}`;
  return `${prefix}.${subjectToken(key.slice(0, dot))}.${subjectToken(key.slice(dot + 1))}`;
}

export function tickSubject(prefix: string, broker: string): string {
  return `${prefix}.=tick.${subjectToken(broker)}`;
}

/** Undefined for a tick, and for what no broker writes. */
export function keyOfSubject(prefix: string, subject: string): string | undefined {
  if (!subject.startsWith(`${prefix}.`)) return undefined;
  const texts = subject
    .slice(prefix.length + 1)
    .split('.')
    .map(textOfToken);
  if (texts.length > 2 || texts.includes(undefined)) return undefined;
  return texts.join('.');
}
