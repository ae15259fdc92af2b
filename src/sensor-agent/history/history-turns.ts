/**
 * Gives history queries their turns: one step of one query in each turn of the
 * event loop, in order of asking, and all of them together within one share of
 * a core. Recording goes on between any two steps, however many queries there
 * are.
 */
import { BackplaneError } from '../../errors.js';
import { Pacer } from '../../flow/pacer.js';
import { HISTORY_CPU_BURST_MS, HISTORY_CPU_SHARE, HISTORY_HOLDERS_MAX, HISTORY_PLACE_MS } from '../../limits.js';
import { cpuTimer } from '../cpu-time.js';

/** A query that holds much. */
export interface Holder {
  /** Since when it waits for its reader, monotonic; undefined: it does not. */
  readonly unreadSinceMs: number | undefined;
  /** Ends it, so that another has its place. */
  displace(): void;
}

export class HistoryTurns {
  /** Steps that wait, in order of asking. */
  readonly #waiting = new Set<() => void>();
  readonly #pacer: Pacer;
  #restToMs = 0;
  #scheduled = false;
  readonly #holders = new Set<Holder>();

  /** Told the CPU time that each step took, in milliseconds. */
  readonly #took: (cpuMs: number) => void;

  readonly #placeMs: number;

  /** @param placeMs how long a query that holds much may wait for its reader while others want its place */
  constructor(
    cpuShare = HISTORY_CPU_SHARE,
    took: (cpuMs: number) => void = () => undefined,
    placeMs = HISTORY_PLACE_MS,
  ) {
    this.#took = took;
    this.#placeMs = placeMs;
    this.#pacer = new Pacer(cpuShare, HISTORY_CPU_BURST_MS);
  }

  /**
   * Takes a place among the queries that hold much, and returns what gives it back; undefined: none is free. Then the one
   * that is unread for longest loses its place: readers of several nodes may each wait for what the other holds.
   */
  enter(holder: Holder): (() => void) | undefined {
    if (this.#holders.size < HISTORY_HOLDERS_MAX) {
      this.#holders.add(holder);
      return () => this.#holders.delete(holder);
    }
    const [longest] = [...this.#holders].sort((a, b) => sinceMs(a) - sinceMs(b));
    if (performance.now() - sinceMs(longest!) >= this.#placeMs) longest!.displace();
    return undefined;
  }

  /** Does the work when its turn has come. If the signal fires before, throws `cancelled` and never begins the work. */
  step<T>(signal: AbortSignal, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancelled = () => {
        this.#waiting.delete(turn);
        reject(new BackplaneError('cancelled', 'history query cancelled'));
      };
      const turn = () => {
        signal.removeEventListener('abort', cancelled);
        try {
          resolve(work());
        } catch (cause) {
          reject(cause);
        }
      };
      if (signal.aborted) {
        cancelled();
        return;
      }
      signal.addEventListener('abort', cancelled, { once: true });
      this.#waiting.add(turn);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
    this.#scheduled = true;
    const restMs = this.#restToMs - performance.now();
    if (restMs > 1) setTimeout(() => this.#next(), restMs);
    else setImmediate(() => this.#next());
  }

  #next(): void {
    this.#scheduled = false;
    const [turn] = this.#waiting;
    if (turn) {
      this.#waiting.delete(turn);
      const usedMs = cpuTimer();
      turn();
      const cpuMs = usedMs();
      this.#took(cpuMs);
      this.#restToMs = performance.now() + this.#pacer.spend(cpuMs);
    }
    this.#schedule();
  }
}

function sinceMs({ unreadSinceMs = Number.POSITIVE_INFINITY }: Holder): number {
  return unreadSinceMs;
}
