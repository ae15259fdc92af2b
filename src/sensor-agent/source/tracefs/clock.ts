/**
 * The trace clock and the wall clock. `boot` is CLOCK_BOOTTIME,
 * process.hrtime is CLOCK_MONOTONIC: they differ by the time spent suspended,
 * which a `stats` file tells, because it prints the trace clock's now.
 */
import { readFileSync } from 'node:fs';
import { msToNs } from '../../../nanoseconds.js';
import type { ClockPair } from '../source.js';

/** No suspend is shorter; smaller differences are the reading's own (uptimeNow gives steps of 10 ms). */
const SUSPEND_NS_MIN = 25_000_000n;
/** A reading that took longer is too uncertain to use. */
const READING_NS_MAX = 5_000_000n;
/** Largest distance of two readings around a tick of the wall clock, and the number of ticks that are tried. */
const EDGE_NS_MAX = 20_000n;
const EDGE_TRIES = 4;

export class TraceClock {
  #suspendedNs = 0n;

  readonly #readNow: () => bigint | undefined;

  /** `readNow` reads the trace clock to a microsecond or so (see statsNow), undefined when it cannot. */
  constructor(readNow: () => bigint | undefined) {
    this.#readNow = readNow;
    this.renew();
  }

  /** Trace clock, nanoseconds. */
  nowNs(): bigint {
    return process.hrtime.bigint() + this.#suspendedNs;
  }

  /** The same, with time spent suspended since the last call of renew() taken into account. */
  renewedNs(): bigint {
    this.renew();
    return this.nowNs();
  }

  /** Takes time spent suspended since the last call into account. */
  renew(): void {
    const before = process.hrtime.bigint();
    const now = this.#readNow();
    const after = process.hrtime.bigint();
    if (now === undefined || after - before > READING_NS_MAX) return;
    const suspended = now - (before + after) / 2n;
    const change = suspended - this.#suspendedNs;
    if (change > SUSPEND_NS_MIN || change < -SUSPEND_NS_MIN) this.#suspendedNs = suspended;
  }

  /**
   * Reads both clocks at one moment, to some 10 µs: Date.now() changes in ticks, so a tick is waited for, usually a
   * millisecond at most. Sees clock steps.
   */
  pair(): ClockPair {
    this.renew();
    let best: { mono: bigint; wall: number; spread: bigint } | undefined;
    for (let attempt = 0; attempt < EDGE_TRIES; attempt++) {
      const edge = tick();
      if (best === undefined || edge.spread < best.spread) best = edge;
      if (edge.spread <= EDGE_NS_MAX) break;
    }
    return { bootNs: best!.mono + this.#suspendedNs, wallNs: msToNs(best!.wall) };
  }
}

/** Waits for Date.now() to change; `spread` is how uncertain the moment is. */
function tick(): { mono: bigint; wall: number; spread: bigint } {
  const start = Date.now();
  let before = process.hrtime.bigint();
  for (;;) {
    const wall = Date.now();
    const after = process.hrtime.bigint();
    if (wall !== start) return { mono: (before + after) / 2n, wall, spread: after - before };
    before = after;
  }
}

/** Trace clock by a stats file's `now ts:  2152.997173`. */
export function statsNow(path: string): bigint | undefined {
  try {
    const match = /^now ts:\s+(\d+)\.(\d{6})$/m.exec(readFileSync(path, 'utf8'));
    return match === null ? undefined : BigInt(match[1]! + match[2]!) * 1000n;
  } catch {
    return undefined;
  }
}

/** Boot clock to 10 ms, from any Linux. */
export function uptimeNow(): bigint | undefined {
  try {
    const match = /^(\d+)\.(\d{2}) /.exec(readFileSync('/proc/uptime', 'utf8'));
    return match === null ? undefined : BigInt(match[1]! + match[2]!) * 10_000_000n;
  } catch {
    return undefined;
  }
}
