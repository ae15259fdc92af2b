/** What the failure of a publish to JetStream means for the frame. */

/** Something else was appended to the subject, or the leader does not know what is last. */
const CHANGED: ReadonlySet<number> = new Set([10071, 10164, 10163, 10167]);
/** No leader, or one that does not serve yet; the message may have been stored all the same. */
const AWAY: ReadonlySet<number> = new Set([10008, 10076]);
/** The disk is full, or what may be stored is: see the faults in docs/cluster.md. */
const FULL: ReadonlySet<number> = new Set([10002, 10023, 10047, 10077]);

/**
 * `look`: what the subject has last decides, and the frame may be tried again. `full`: it has to wait. `refused`: it will
 * never be taken.
 */
export type PublishFailure = 'look' | 'full' | 'refused';

export function failureOf(cause: unknown): PublishFailure {
  const { code } = cause as { code?: unknown };
  // Everything without one is a time-out, a lost connection, or that nobody answers.
  if (typeof code !== 'number' || CHANGED.has(code) || AWAY.has(code)) return 'look';
  return FULL.has(code) ? 'full' : 'refused';
}
