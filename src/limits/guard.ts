/** What an agent may take of its machine, and what it gives up where that is not enough. */
import { HISTORY_CPU_SHARE } from './history.js';
import { MiB } from './units.js';

/** Percent of one core: for recording; beside it while somebody listens; beside it while the recorder is read again. */
export const GUARD_CPU_PERCENT_DEFAULT = 10;
export const GUARD_CPU_LIVE_PERCENT_DEFAULT = 15;
export const GUARD_CPU_HISTORY_PERCENT_DEFAULT = HISTORY_CPU_SHARE * 100;
export const GUARD_MEMORY_BYTES_DEFAULT = 128 * MiB;

/**
 * The overhead guard gives something up when the agent exceeds a bound for the window, and restores it when the agent
 * has stayed below the calm share of every bound for the calm time. Memory hardly moves, so its calm share is larger.
 */
export const GUARD_WINDOW_MS = 10_000;
export const GUARD_CALM_MS = 30_000;
export const GUARD_CALM_SHARE = 0.7;
export const GUARD_CALM_MEMORY_SHARE = 0.9;
/** Above the calm share of memory garbage is collected this often. */
export const GUARD_COLLECT_MS = 5_000;
export const GUARD_INTERVAL_MS = 1_000;

/** The first steps: live events gather for so long before they are sent. */
export const GUARD_GATHER_MS = [250, 500, 1_000] as const;
/** While live matching is slowed, it is told when events become so late. */
export const GUARD_LATE_MS = [1_000, 10_000, 60_000, 600_000, 3_600_000] as const;
/** CPU time that slowed matching may use at once. */
export const SLOW_MATCHING_BURST_MS = 100;

/** After the start the overhead guard is off for this many times the duration of the start, up to the maximum. */
export const GUARD_START_UP_FACTOR = 5;
export const GUARD_START_UP_MS_MAX = 120_000;
