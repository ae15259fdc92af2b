/**
 * The processes that belong to the observer: this one, and those of its shell job that led to it (npx, sudo, time,
 * ...), by pid and by when they began.
 */
import { readFileSync } from 'node:fs';
import { msToNs } from '../../nanoseconds.js';

export interface Observer {
  readonly pid: number;
  /** Wall nanoseconds, exact to the 10 ms that /proc gives. */
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
/** A longer chain of ancestors is not a shell job. */
const OBSERVERS_MAX = 8;
const CLOCK_READINGS = 5;

/**
 * This process and its ancestors below the shell. A shell puts each job into a process group of its own, so that the
 * first ancestor in another group is the shell. Empty where there is no /proc.
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
    // An ancestor ended meanwhile or is not visible from here: those found so far are returned.
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

/**
 * Wall time of the machine's start. Two clocks are read one after the other, so the reading that took least time is
 * best.
 */
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
