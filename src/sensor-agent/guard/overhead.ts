/**
 * Applies what an agent gives up when it takes more of the machine than it may.
 * First live events gather for longer, step by step, up to a second. Then live
 * matching is slowed: subscribers lag, but still get everything from the
 * recorder, and are told how late. Then the recording of on-demand events is
 * switched off, the costliest profile first: those events are lost, and the
 * loss is stated. What keeps processes known is always recorded.
 */
import {
  GUARD_CALM_MEMORY_SHARE,
  GUARD_COLLECT_MS,
  GUARD_GATHER_MS,
  GUARD_LATE_MS,
  GUARD_START_UP_FACTOR,
  GUARD_START_UP_MS_MAX,
} from '../../limits.js';
import type { Profile } from '../../subscriptions/pushdown/catalogue.js';
import { durationMsText } from '../../text/time-text.js';
import { type Load, OverheadGuard } from './overhead-guard.js';
import { residentBytes } from './resident.js';

/** What the agent may take. */
export interface GuardBounds {
  /** Share of one core for recording. Infinity: CPU has no bound. */
  readonly recordingShare: number;
  /** Beside it while somebody listens. */
  readonly liveShare: number;
  /** Beside it while the recorder is read again. */
  readonly historyShare: number;
  /** Infinity: no bound. */
  readonly residentBytes: number;
}

/** The parts of an agent's work that can be given up. */
export interface Overheads {
  /** Whether somebody listens. */
  listening(): boolean;
  /** Whether the recorder is read again, for a query or to catch up after an outage. */
  readsAgain(): boolean;
  /** Live events gather for so long before they are sent; 0: as the settings say. */
  gather(ms: number): void;
  /** Matching takes at most this share of a core; undefined: what it needs. */
  slowMatching(share: number | undefined): void;
  /** How far the events that are sent are behind those that are recorded, in milliseconds. */
  lagMs(): number;
  /** Frees what is no longer used. */
  collectGarbage(): void;
  /** Profiles that are asked for, costliest first. */
  profilesAsked(): readonly Profile[];
  /** Stops recording these profiles. `cause`: what the agent took, and what would help. */
  suspend(profiles: readonly Profile[], cause: string): void;
  /** Tells live subscribers and history. */
  notice(reason: 'overhead' | 'overhead_over', message: string): void;
}

/** What the process has taken so far. */
export interface Taken {
  readonly cpuMs: number;
  readonly residentBytes: number;
}

/** The level at which live matching is slowed, behind those at which events gather. */
const SLOWED = GUARD_GATHER_MS.length + 1;

export class Overhead {
  /** The work given up at this moment, in a sentence; undefined: none. */
  given: string | undefined;
  readonly #guard: OverheadGuard;
  #suspended: readonly Profile[] = [];
  /** CPU time of history queries since the last tick. */
  #historyMs = 0;
  #allowedMs = 0;
  #tickedMs: number | undefined;
  #collectedMs = Number.NEGATIVE_INFINITY;
  /** How many of GUARD_LATE_MS live events are late by, as was told. */
  #late = 0;

  readonly #bounds: GuardBounds;
  readonly #overheads: Overheads;
  readonly #taken: () => Taken;

  constructor(bounds: GuardBounds, overheads: Overheads, taken: () => Taken = takenByProcess) {
    this.#bounds = bounds;
    this.#overheads = overheads;
    this.#taken = taken;
    this.#guard = new OverheadGuard(bounds.residentBytes, startUpMs());
  }

  /** Adds the CPU time of a step of a history query. */
  historyTook(cpuMs: number): void {
    this.#historyMs += cpuMs;
  }

  /** About once a second. `nowMs` is monotonic. */
  tick(nowMs: number): void {
    this.#allow(nowMs);
    const slowed = this.#guard.level >= SLOWED;
    const lagMs = slowed ? this.#overheads.lagMs() : 0;
    const usage = { nowMs, ...this.#takenNow(nowMs), allowedMs: this.#allowedMs, owes: lagMs >= GUARD_LATE_MS[0] };
    const asked = [...new Set([...this.#suspended, ...this.#overheads.profilesAsked()])];
    const before = this.#guard.level;
    // Where nobody listens there is nothing more to give up.
    const max = this.#overheads.listening() ? SLOWED + asked.length : before;
    const load = this.#guard.sample(usage, { max, savesMemory: SLOWED });
    if (load !== undefined) this.#step(before, load, asked);
    this.#tellLate(lagMs);
  }

  /** What slowed matching takes: the rest is for sending, and so that the next step is not due. */
  get #slowShare(): number {
    return (this.#bounds.liveShare * 2) / 3;
  }

  /** Queries keep to their share in the long run, and may take more at first: that is no overload. */
  #allow(nowMs: number): void {
    const elapsedMs = nowMs - (this.#tickedMs ?? nowMs);
    this.#tickedMs = nowMs;
    const { recordingShare, liveShare, historyShare } = this.#bounds;
    const share = recordingShare + (this.#overheads.listening() ? liveShare : 0);
    const again = this.#overheads.readsAgain() ? historyShare * elapsedMs : 0;
    if (elapsedMs > 0) this.#allowedMs += share * elapsedMs + Math.max(again, this.#historyMs);
    this.#historyMs = 0;
  }

  /** Garbage is nobody's memory: a quiet agent may be above its bound only for having had much to do. */
  #takenNow(nowMs: number): Taken {
    const taken = this.#taken();
    const high = taken.residentBytes > this.#bounds.residentBytes * GUARD_CALM_MEMORY_SHARE;
    if (!high || nowMs - this.#collectedMs < GUARD_COLLECT_MS) return taken;
    this.#collectedMs = nowMs;
    this.#overheads.collectGarbage();
    return this.#taken();
  }

  #step(before: number, load: Load, asked: readonly Profile[]): void {
    const { level } = this.#guard;
    const slowed = level >= SLOWED;
    this.#overheads.gather(GUARD_GATHER_MS[Math.min(level, GUARD_GATHER_MS.length) - 1] ?? 0);
    if (slowed !== before >= SLOWED) this.#overheads.slowMatching(slowed ? this.#slowShare : undefined);
    if (!slowed) this.#late = 0;
    this.#suspended = asked.slice(0, Math.max(0, level - SLOWED));
    const measured = this.#measured(load);
    this.#overheads.suspend(this.#suspended, `the agent ${measured}; ${this.#help(load)}`);
    this.given = this.#sentence();
    if (level > before) this.#overheads.notice('overhead', `the agent ${measured}: ${this.given}`);
    else
      this.#overheads.notice('overhead_over', `the agent ${measured}: ${this.given ?? 'nothing is given up any more'}`);
  }

  /** Tells when live events become later, or less late, by an order of magnitude. */
  #tellLate(lagMs: number): void {
    const before = this.#late;
    while (this.#late < GUARD_LATE_MS.length && lagMs >= GUARD_LATE_MS[this.#late]!) this.#late += 1;
    while (this.#late > 0 && lagMs < GUARD_LATE_MS[this.#late - 1]! / 2) this.#late -= 1;
    if (this.#late === before) return;
    this.given = this.#sentence();
    this.#overheads.notice(this.#late > before ? 'overhead' : 'overhead_over', this.given!);
  }

  #sentence(): string | undefined {
    const { level } = this.#guard;
    if (level === 0) return undefined;
    if (level < SLOWED) return `live events gather for ${durationMsText(GUARD_GATHER_MS[level - 1]!)}`;
    const late =
      this.#late > 0 ? `more than ${durationMsText(GUARD_LATE_MS[this.#late - 1]!)} late` : 'less than 1s late';
    const slowed = `live matching is slowed to ${percent(this.#slowShare)} of a core, live events are ${late}`;
    if (this.#suspended.length === 0) return slowed;
    return `${slowed}; events of ${this.#suspended.join(' and ')} are not recorded`;
  }

  #help({ cpuShare, allowedShare }: Load): string {
    const setting = cpuShare > allowedShare ? 'agent.guard.cpuLive' : 'agent.guard.memory';
    return `a narrower filter, or a higher ${setting}, would help`;
  }

  #measured({ cpuShare, allowedShare, residentBytes }: Load): string {
    const bounds = this.#bounds;
    const cpu = `used ${percent(cpuShare)} of a core`;
    const cpuBound = Number.isFinite(allowedShare) ? ` (${percent(allowedShare)} allowed)` : '';
    const memory = `${mebibytes(residentBytes)} of memory`;
    const memoryBound = Number.isFinite(bounds.residentBytes) ? ` (${mebibytes(bounds.residentBytes)} allowed)` : '';
    return `${cpu}${cpuBound} and ${memory}${memoryBound}`;
  }
}

function takenByProcess(): Taken {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1000, residentBytes: residentBytes() };
}

/**
 * Time for connecting and catching up, in proportion to how long the agent took to start: a slow machine needs longer
 * for both.
 */
function startUpMs(): number {
  return Math.min(GUARD_START_UP_MS_MAX, GUARD_START_UP_FACTOR * process.uptime() * 1000);
}

function percent(share: number): string {
  const digits = share < 0.1 ? 1 : 0;
  return `${Number((share * 100).toFixed(digits))} %`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
