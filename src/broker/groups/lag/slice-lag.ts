/** What one slice of a group still has to process of one log, by the offsets of that log. */
import { GROUP_LAG_ENTRIES_MAX } from '../../../limits.js';

/** Whether a record was in the log before that was followed. */
export type When = 'before' | 'later';

/** Events of records that follow each other, up to an offset. */
interface Stretch {
  to: number;
  events: number;
  /** When the first of them came into the log. */
  readonly atMs: number;
}

export class SliceLag {
  /** Of records that were in the log before it was followed, and of later ones, in the order of their offsets. */
  readonly #stretches: Record<When, Stretch[]> = { before: [], later: [] };

  get events(): number {
    let sum = 0;
    for (const { events } of [...this.#stretches.before, ...this.#stretches.later]) sum += events;
    return sum;
  }

  /** When the oldest of them came into the log, milliseconds since 1970; undefined for none. */
  get sinceMs(): number | undefined {
    const { before, later } = this.#stretches;
    return (before[0] ?? later[0])?.atMs;
  }

  add(when: When, offset: number, events: number, atMs: number): void {
    const stretches = this.#stretches[when];
    stretches.push({ to: offset, events, atMs });
    if (stretches.length > GROUP_LAG_ENTRIES_MAX) this.#stretches[when] = merged(stretches);
  }

  /** Everything before the offset is committed. */
  committed(offset: number): void {
    for (const stretches of [this.#stretches.before, this.#stretches.later]) {
      const left = stretches.findIndex(({ to }) => to >= offset);
      stretches.splice(0, left < 0 ? stretches.length : left);
    }
  }

  /** The log has lost what it had from the offset on. */
  rewound(offset: number): void {
    const { before, later } = this.#stretches;
    this.#stretches.before = before.filter(({ to }) => to < offset);
    this.#stretches.later = later.filter(({ to }) => to < offset);
  }
}

function merged(stretches: readonly Stretch[]): Stretch[] {
  const half: Stretch[] = [];
  for (let at = 0; at < stretches.length; at += 2) {
    const [one, two] = [stretches[at]!, stretches[at + 1]];
    half.push({ to: two?.to ?? one.to, events: one.events + (two?.events ?? 0), atMs: one.atMs });
  }
  return half;
}
