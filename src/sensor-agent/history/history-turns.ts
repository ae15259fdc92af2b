/**
 * Gives history queries their turns: one step of one query in each turn of the
 * event loop, in order of asking, and all of them together within one share of
 * a core. Recording goes on between any two steps, however many queries there
 * are.
 */
import { BackplaneError } from '../../errors.js';
import { Pacer } from '../../flow/pacer.js';
import { HISTORY_CPU_BURST_MS, HISTORY_CPU_SHARE, HISTORY_HOLDERS_MAX } from '../../limits.js';
import { cpuTimer } from '../cpu-time.js';

export class HistoryTurns {
  /** Steps that wait, in order of asking. */
  readonly #waiting = new Set<() => void>();
  readonly #pacer: Pacer;
  #restToMs = 0;
  #scheduled = false;
  #holders = 0;

  /** Told the CPU time that each step took, in milliseconds. */
  readonly #took: (cpuMs: number) => void;

  constructor(cpuShare = HISTORY_CPU_SHARE, took: (cpuMs: number) => void = () => undefined) {
    this.#took = took;
    this.#pacer = new Pacer(cpuShare, HISTORY_CPU_BURST_MS);
  }

  /** Takes a place among the queries that hold much, and returns what gives it back; undefined: none is free. */
  enter(): (() => void) | undefined {
    if (this.#holders >= HISTORY_HOLDERS_MAX) return undefined;
    this.#holders += 1;
    return () => {
      this.#holders -= 1;
    };
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
