/**
 * Applies what an agent gives up when it takes more of the machine than it may.
 * First live matching is slowed: subscribers lag, but still get everything from
 * the recorder. Then the recording of on-demand events is switched off, the
 * costliest profile first: those events are lost, and the loss is stated.
 * Events that keep process context are always recorded.
 */
import { GUARD_START_UP_FACTOR, GUARD_START_UP_MS_MAX } from '../../limits.js';
import type { Profile } from '../../subscriptions/pushdown/catalogue.js';
import { type GuardBounds, type Load, OverheadGuard } from './overhead-guard.js';
import { residentBytes } from './resident.js';

/** The parts of an agent's work that can be given up. */
export interface Overheads {
  /** Matching takes at most this share of a core; undefined: what it needs. */
  slowMatching(share: number | undefined): void;
  /** Profiles that are asked for, costliest first. */
  profilesAsked(): readonly Profile[];
  /** Stops recording these profiles. `cause`: what the agent took, and what would help. */
  suspend(profiles: readonly Profile[], cause: string): void;
  /** Tells live subscribers and history. */
  notice(reason: 'overhead' | 'overhead_over', message: string): void;
}

/** Share of the CPU bound that matching gets once it is slowed. */
const SLOW_SHARE = 0.25;
/** Share of a core for slowed matching where CPU has no bound and memory is over its own. */
const SLOW_SHARE_DEFAULT = 0.1;

export class Overhead {
  /** The work given up at this moment, in a sentence; undefined: none. */
  given: string | undefined;
  readonly #guard: OverheadGuard;
  #suspended: readonly Profile[] = [];
  /** CPU time of history queries, which have a share of their own. */
  #historyMs = 0;

  readonly #bounds: GuardBounds;
  readonly #overheads: Overheads;

  constructor(bounds: GuardBounds, overheads: Overheads) {
    this.#bounds = bounds;
    this.#overheads = overheads;
    this.#guard = new OverheadGuard(bounds, startUpMs());
  }

  /** Adds the CPU time of a step of a history query. */
  historyTook(cpuMs: number): void {
    this.#historyMs += cpuMs;
  }

  /** About once a second. `nowMs` is monotonic. */
  tick(nowMs: number): void {
    const { user, system } = process.cpuUsage();
    const usage = {
      nowMs,
      cpuMs: (user + system) / 1000 - this.#historyMs,
      residentBytes: residentBytes(),
    };
    const asked = [...new Set([...this.#suspended, ...this.#overheads.profilesAsked()])];
    const before = this.#guard.level;
    const load = this.#guard.sample(usage, 1 + asked.length);
    if (load !== undefined) this.#step(before, load, asked);
  }

  #step(before: number, load: Load, asked: readonly Profile[]): void {
    const { level } = this.#guard;
    const { cpuShare } = this.#bounds;
    const share = Number.isFinite(cpuShare) ? cpuShare * SLOW_SHARE : SLOW_SHARE_DEFAULT;
    if (before === 0 || level === 0) this.#overheads.slowMatching(level > 0 ? share : undefined);
    this.#suspended = asked.slice(0, Math.max(0, level - 1));
    this.#overheads.suspend(this.#suspended, `the agent ${this.#measured(load)}; ${this.#help(load)}`);
    const given = [
      level > 0 ? 'live matching is slowed, subscribers lag' : '',
      this.#suspended.length > 0 ? `events of ${this.#suspended.join(' and ')} are not recorded` : '',
    ];
    this.given = given.filter(Boolean).join('; ') || undefined;
    const measured = this.#measured(load);
    if (level > before) this.#overheads.notice('overhead', `the agent ${measured}: ${this.given}`);
    else
      this.#overheads.notice('overhead_over', `the agent ${measured}: ${this.given ?? 'nothing is given up any more'}`);
  }

  #help({ cpuShare }: Load): string {
    const setting = cpuShare > this.#bounds.cpuShare ? 'agent.guard.cpu' : 'agent.guard.memory';
    return `a narrower filter, or a higher ${setting}, would help`;
  }

  #measured({ cpuShare, residentBytes }: Load): string {
    const bounds = this.#bounds;
    const cpu = `used ${percent(cpuShare)} of a core`;
    const cpuBound = Number.isFinite(bounds.cpuShare) ? ` (agent.guard.cpu ${percent(bounds.cpuShare)})` : '';
    const memory = `${mebibytes(residentBytes)} of memory`;
    const memoryBound = Number.isFinite(bounds.residentBytes)
      ? ` (agent.guard.memory ${mebibytes(bounds.residentBytes)})`
      : '';
    return `${cpu}${cpuBound} and ${memory}${memoryBound}`;
  }
}

/**
 * Time for connecting and catching up, in proportion to how long the agent took to start: a slow machine needs longer
 * for both.
 */
function startUpMs(): number {
  return Math.min(GUARD_START_UP_MS_MAX, GUARD_START_UP_FACTOR * process.uptime() * 1000);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
