/**
 * What an agent gives up when it takes more of the machine than it may, and how
 * it is told. First live matching is slowed: subscribers lag, and get everything
 * from the recorder. Then recording of what is on only while asked for, the
 * costliest profile first: that is lost, and stated. What keeps processes known
 * is always recorded.
 */
import { GUARD_START_UP_FACTOR, GUARD_START_UP_MS_MAX } from '../../limits.js';
import type { Profile } from '../../subscriptions/pushdown/catalogue.js';
import { type GuardBounds, type Load, OverheadGuard } from './overhead-guard.js';
import { residentBytes } from './resident.js';

/** What can be given up of an agent. */
export interface Overheads {
  /** Matching takes at most this share of a core; undefined: what it needs. */
  slowMatching(share: number | undefined): void;
  /** Profiles that are asked for, costliest first. */
  profilesAsked(): readonly Profile[];
  /** `cause`: what the agent took, and what would help. */
  suspend(profiles: readonly Profile[], cause: string): void;
  /** Says so to whoever listens, and to history. */
  notice(reason: 'overhead' | 'overhead_over', message: string): void;
}

/** Of the bound on CPU, for matching once it is slowed. */
const SLOW_SHARE = 0.25;
/** Where CPU has no bound and memory is over its own. */
const SLOW_SHARE_DEFAULT = 0.1;

export class Overhead {
  /** What is given up at this moment, in a sentence; undefined: nothing. */
  given: string | undefined;
  readonly #guard: OverheadGuard;
  #suspended: readonly Profile[] = [];
  /** CPU time of history queries, which have a share of their own. */
  #historyMs = 0;

  constructor(
    private readonly bounds: GuardBounds,
    private readonly overheads: Overheads,
  ) {
    this.#guard = new OverheadGuard(bounds, startUpMs());
  }

  /** A step of a history query took so much CPU time. */
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
    const asked = [...new Set([...this.#suspended, ...this.overheads.profilesAsked()])];
    const before = this.#guard.level;
    const load = this.#guard.sample(usage, 1 + asked.length);
    if (load !== undefined) this.#step(before, load, asked);
  }

  #step(before: number, load: Load, asked: readonly Profile[]): void {
    const { level } = this.#guard;
    const { cpuShare } = this.bounds;
    const share = Number.isFinite(cpuShare) ? cpuShare * SLOW_SHARE : SLOW_SHARE_DEFAULT;
    if (before === 0 || level === 0) this.overheads.slowMatching(level > 0 ? share : undefined);
    this.#suspended = asked.slice(0, Math.max(0, level - 1));
    this.overheads.suspend(this.#suspended, `the agent ${this.#measured(load)}; ${this.#help(load)}`);
    const given = [
      level > 0 ? 'live matching is slowed, subscribers lag' : '',
      this.#suspended.length > 0 ? `events of ${this.#suspended.join(' and ')} are not recorded` : '',
    ];
    this.given = given.filter(Boolean).join('; ') || undefined;
    const measured = this.#measured(load);
    if (level > before) this.overheads.notice('overhead', `the agent ${measured}: ${this.given}`);
    else
      this.overheads.notice('overhead_over', `the agent ${measured}: ${this.given ?? 'nothing is given up any more'}`);
  }

  #help({ cpuShare }: Load): string {
    const setting = cpuShare > this.bounds.cpuShare ? 'agent.guard.cpu' : 'agent.guard.memory';
    return `a narrower filter, or a higher ${setting}, would help`;
  }

  #measured({ cpuShare, residentBytes }: Load): string {
    const { bounds } = this;
    const cpu = `used ${percent(cpuShare)} of a core`;
    const cpuBound = Number.isFinite(bounds.cpuShare) ? ` (agent.guard.cpu ${percent(bounds.cpuShare)})` : '';
    const memory = `${mebibytes(residentBytes)} of memory`;
    const memoryBound = Number.isFinite(bounds.residentBytes)
      ? ` (agent.guard.memory ${mebibytes(bounds.residentBytes)})`
      : '';
    return `${cpu}${cpuBound} and ${memory}${memoryBound}`;
  }
}

/** A machine on which the agent takes long to start takes as much longer for what follows: connecting, catching up. */
function startUpMs(): number {
  return Math.min(GUARD_START_UP_MS_MAX, GUARD_START_UP_FACTOR * process.uptime() * 1000);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
