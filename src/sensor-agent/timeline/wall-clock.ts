/**
 * Wall times of the trace clock's, by pairs of both that are read now and then: non-decreasing in position order although
 * clocks are stepped. Each replay must give an event the same time. So what counts is what was read: neither what was
 * told nor the frontier, which depend on who asks.
 */
import type { CheckpointHead, ClockBefore } from '../recorder/checkpoint.js';
import type { ClockPair } from '../source/source.js';

export class WallClock {
  #pair: ClockPair = { bootNs: 0n, wallNs: 0n };
  #floorWallNs = 0n;
  /** Of what was read before the clock was set, and may wait: it keeps its times. */
  #before: ClockBefore | undefined;
  /** Time of the newest entry or notice read; 0: none. */
  #readNs = 0n;

  get pair(): ClockPair {
    return this.#pair;
  }

  wallNs(timeNs: bigint): bigint {
    const before = this.#before;
    return before !== undefined && timeNs <= before.untilNs
      ? wallBy(before.clock, before.floorWallNs, timeNs)
      : wallBy(this.#pair, this.#floorWallNs, timeNs);
  }

  /** Wall time of the newest that was read, 0 for nothing: what is read from here on has no earlier one. */
  get readWallNs(): bigint {
    return this.#readNs === 0n ? 0n : this.wallNs(this.#readNs);
  }

  read(timeNs: bigint): void {
    if (timeNs > this.#readNs) this.#readNs = timeNs;
  }

  set(pair: ClockPair): void {
    const untilNs = this.#readNs;
    // Else nothing was read by the pair that this one replaces.
    if (untilNs > (this.#before?.untilNs ?? 0n)) {
      const floorWallNs = this.wallNs(untilNs);
      this.#before = { clock: this.#pair, floorWallNs: this.#floorWallNs, untilNs };
      this.#floorWallNs = floorWallNs;
    }
    this.#pair = pair;
  }

  /** Another trace clock begins, of which nothing was read. */
  restart(): void {
    if (this.#readNs > 0n) this.#floorWallNs = this.wallNs(this.#readNs);
    this.#before = undefined;
    this.#readNs = 0n;
  }

  save(): Pick<CheckpointHead, 'clock' | 'floorWallNs' | 'toldNs' | 'before'> {
    const before = this.#before ? { before: this.#before } : {};
    return { floorWallNs: this.#floorWallNs, toldNs: this.#readNs, clock: this.#pair, ...before };
  }

  restore({ clock, floorWallNs, toldNs, before }: CheckpointHead): void {
    this.#pair = clock;
    this.#floorWallNs = floorWallNs;
    this.#readNs = toldNs;
    this.#before = before;
  }
}

function wallBy(clock: ClockPair, floorNs: bigint, timeNs: bigint): bigint {
  const wallNs = clock.wallNs + (timeNs - clock.bootNs);
  return wallNs > floorNs ? wallNs : floorNs;
}
