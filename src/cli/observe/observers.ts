/**
 * The processes by which somebody observes: this one, and those of its shell
 * job that led to it (npx, sudo, time, ...), by pid and by when they began.
 */
import { readFileSync } from 'node:fs';
import { msToNs } from '../../nanoseconds.js';

export interface Observer {
  readonly pid: number;
  /** Wall nanoseconds. /proc tells it to 10 ms. */
  readonly createdNs: bigint;
  /** This process, not one that started it. */
  readonly self: boolean;
}

interface Stat {
  readonly parentPid: number;
  readonly group: number;
  readonly createdNs: bigint;
}

/** USER_HZ, which is 100 wherever Linux runs. */
const TICK_NS = 10_000_000n;
/** A job that is deeper than this is no job of a shell. */
const OBSERVERS_MAX = 8;
const CLOCK_READINGS = 5;

/**
 * Up to the shell: a shell puts what it starts into a process group of its own, so that the first ancestor in another
 * group is the shell. Empty where there is no /proc.
 */
export function observers(): readonly Observer[] {
  const found: Observer[] = [];
  try {
    const bootNs = bootWallNs();
    const own = statOf(process.pid);
    let stat = own;
    for (let pid = process.pid; found.length < OBSERVERS_MAX; pid = stat.parentPid, stat = statOf(pid)) {
      if (stat.group !== own.group) break;
      found.push({ pid, createdNs: bootNs + stat.createdNs, self: pid === process.pid });
      if (stat.parentPid <= 0) break;
    }
  } catch {
    // An ancestor ended while it was looked at, or is not to be seen from here: what was found so far stands.
  }
  return found;
}

/** `pid (comm) state ppid pgrp session ... starttime ...`: comm may hold anything, brackets too. */
function statOf(pid: number): Stat {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [, parentPid, group] = fields;
  const ticks = fields[19];
  if (ticks === undefined) throw new Error(`/proc/${pid}/stat is cut short`);
  return { parentPid: Number(parentPid), group: Number(group), createdNs: BigInt(ticks) * TICK_NS };
}

/** When the machine was started. The reading that took the least time is the best: two clocks are read one by one. */
function bootWallNs(): bigint {
  let best = { tookMs: Number.POSITIVE_INFINITY, bootMs: 0 };
  for (let reading = 0; reading < CLOCK_READINGS; reading += 1) {
    const before = performance.now();
    const wallMs = Date.now();
    const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
    const tookMs = performance.now() - before;
    if (tookMs < best.tookMs) best = { tookMs, bootMs: wallMs - uptimeMs };
  }
  return msToNs(best.bootMs);
}
