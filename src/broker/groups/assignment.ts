/**
 * Who has which slices. As few slices as possible move: members that have their share, or less, give up nothing, and
 * each gets an even share, so that shares differ by one at most.
 */

export interface Holder {
  readonly id: string;
  /** Slices that it has and keeps for now; those that it is giving up are not among them. */
  readonly slices: readonly number[];
  /** Whether it may get slices. One that may not keeps what it has. */
  readonly takes: boolean;
}

export interface Moves {
  /** Slices that nobody has, and who gets them. */
  readonly gives: ReadonlyMap<number, string>;
  /** Slices that their members must give up, so that others get their share. */
  readonly revokes: readonly number[];
}

/**
 * @param count the number of slices
 * @param holders in the order in which they joined
 * @param busy slices that are being given up
 */
export function planMoves(count: number, holders: readonly Holder[], busy: ReadonlySet<number>): Moves {
  const held = new Set(holders.flatMap(({ slices }) => slices));
  const free = Array.from({ length: count }, (_, slice) => slice).filter(
    (slice) => !held.has(slice) && !busy.has(slice),
  );
  const kept = holders.filter(({ takes }) => !takes).reduce((sum, { slices }) => sum + slices.length, 0);
  const active = activeOf(holders, count - kept);
  const gives = new Map<number, string>();
  const revokes: number[] = [];
  const room: { readonly id: string; has: number; readonly share: number }[] = [];
  for (const [index, { id, slices }] of active.entries()) {
    const pool = count - kept;
    // Those that have most keep the larger shares.
    const share = Math.floor(pool / active.length) + (index < pool % active.length ? 1 : 0);
    revokes.push(...slices.slice(share));
    room.push({ id, has: Math.min(slices.length, share), share });
  }
  for (const slice of free) {
    const next = room.filter(({ has, share }) => has < share).sort((a, b) => a.has - b.has)[0];
    if (next === undefined) break;
    next.has++;
    gives.set(slice, next.id);
  }
  return { gives, revokes };
}

/** The members among which slices are shared, those with most first: at most as many as there are slices. */
function activeOf(holders: readonly Holder[], slices: number): Holder[] {
  const able = holders.filter(({ takes }) => takes);
  return able.sort((a, b) => b.slices.length - a.slices.length).slice(0, Math.max(0, slices));
}
