/** Which fault happens when, to whom and for how long: all of it from one seed, so that a failure can be run again. */

export const FAULTS = [
  'kill',
  'freeze',
  'terminate',
  'terminate-twice',
  'broker-away',
  'reader-stalls',
  'half-open',
  'partition',
  'slow-link',
  'link-down',
  'narrow-link',
  'clock-step',
  'reboot',
  'broker-power-cut',
  'node-power-cut',
  'power-cut',
  'wiped-recorder',
  'damage-recorder',
  'damage-log',
  'recorder-disk-full',
] as const;

export type FaultName = (typeof FAULTS)[number];

/**
 * What happens to stored bytes and to disks: then something may be missing, and must be stated. A broker has synced
 * what it acknowledged: a power cut takes nothing of it. A recorder is synced once a second.
 */
const LOSSY: readonly FaultName[] = [
  'damage-recorder',
  'damage-log',
  'recorder-disk-full',
  'wiped-recorder',
  'node-power-cut',
  'power-cut',
];
export const LOSSLESS: readonly FaultName[] = FAULTS.filter((fault) => !LOSSY.includes(fault));

export interface PlannedFault<Name extends string> {
  readonly atMs: number;
  readonly fault: Name;
  /** What the fault decides by chance, it decides with this: target, duration, bytes. */
  readonly seed: number;
}

/** mulberry32: small, fast, and the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 (inclusive) to 1 (exclusive). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends inclusive. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length - 1)]!;
  }
}

/**
 * Every kind comes once, in random order, before any comes again.
 * @param first comes before all of them, and is not one of their turns
 */
export function schedule<Name extends string>(
  seed: number,
  durationMs: number,
  kinds: readonly Name[],
  first?: Name,
): PlannedFault<Name>[] {
  const random = new Random(seed);
  const planned: PlannedFault<Name>[] = [];
  if (first !== undefined) planned.push({ atMs: 0, fault: first, seed: random.between(0, 0x7fff_ffff) });
  let left: Name[] = [];
  for (let atMs = 1_000; atMs < durationMs; atMs += random.between(800, 4_000)) {
    if (left.length === 0) left = [...kinds];
    const fault = random.pick(left);
    left.splice(left.indexOf(fault), 1);
    planned.push({ atMs, fault, seed: random.between(0, 0x7fff_ffff) });
  }
  return planned;
}
