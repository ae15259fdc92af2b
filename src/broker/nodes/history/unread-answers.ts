/** Which answers give up what they have for others that wait: their readers do not read, and ask again once they do. */
import type { AnswerTaker } from './history-queries.js';

/** Those of which nothing was taken for `leastMs`, the one that was left for longest first. */
export function unreadAnswers<T extends Pick<AnswerTaker, 'outcome' | 'unreadMs'>>(
  answers: Iterable<T>,
  leastMs: number,
): T[] {
  const nowMs = Date.now();
  return [...answers]
    .filter((answer) => answer.outcome === undefined && answer.unreadMs(nowMs) >= leastMs)
    .sort((a, b) => b.unreadMs(nowMs) - a.unreadMs(nowMs));
}

/** Displaces such answers until nobody waits for a share of the pool, of which each has one. */
export function displaceUnread(
  pool: { readonly contended: boolean },
  answers: Iterable<Pick<AnswerTaker, 'outcome' | 'unreadMs' | 'displace'>>,
  leastMs: number,
): void {
  if (!pool.contended) return;
  for (const answer of unreadAnswers(answers, leastMs)) {
    answer.displace();
    if (!pool.contended) return;
  }
}
