/**
 * Nodes stay at the broker that has them, so that one that is started, for the first time or again, would have none until others
 * fail. A broker that has clearly more than its part sends some to the others, one a second; which ones is left to chance.
 */
import type { Logger } from 'pino';
import {
  BALANCE_AGE_MS_MIN,
  BALANCE_ARRIVAL_MS,
  BALANCE_PATIENCE_MS,
  BALANCE_PAUSE_MS_MAX,
  BALANCE_RATIO,
  BALANCE_SLACK,
} from '../limits.js';
import type { Leaving } from './retirement.js';

/** A node that is connected here. */
export interface Movable extends Leaving {
  /** Since when it is, by performance.now(). */
  readonly sinceMs: number;
}

export interface BalanceParts {
  /** How many nodes each other broker has that takes nodes, as it said last; none while that is not known. */
  readonly others: () => readonly number[];
  readonly agents: {
    /** Number of nodes that are connected here. */
    readonly connected: () => number;
    /** Those that may go to another broker. */
    readonly movable: () => readonly Movable[];
  };
  readonly logger: Logger;
}

export class Balance {
  readonly #parts: BalanceParts;
  readonly #now: () => number;
  readonly #random: () => number;
  /** Since when there are too many here. */
  #sinceMs: number | undefined;
  #isMoving = false;
  /** The one on its way. */
  #away: { readonly hasArrived: () => boolean; readonly untilMs: number } | undefined;
  #pauseMs = 0;
  #pauseUntilMs = Number.NEGATIVE_INFINITY;

  /** @param now as performance.now() @param random 0 to 1 */
  constructor(parts: BalanceParts, now: () => number = () => performance.now(), random: () => number = Math.random) {
    this.#parts = parts;
    this.#now = now;
    this.#random = random;
  }

  /** Call this about once a second. */
  look(): void {
    if (this.#hasTooMany() && this.#mayMove()) this.#move();
  }

  #hasTooMany(): boolean {
    const { others, agents, logger } = this.#parts;
    const theirs = others();
    // What began goes on when they are known again.
    if (theirs.length === 0) return false;
    const nodes = agents.connected();
    const mean = theirs.reduce((sum, each) => sum + each, nodes) / (theirs.length + 1);
    if (nodes <= (this.#isMoving ? mean : BALANCE_RATIO * mean + BALANCE_SLACK)) {
      if (this.#isMoving) logger.info({ nodes, mean }, 'balanced: no more nodes go');
      this.#isMoving = false;
      this.#sinceMs = undefined;
      return false;
    }
    this.#sinceMs ??= this.#now();
    return this.#now() - this.#sinceMs >= BALANCE_PATIENCE_MS;
  }

  /** Whether the last one has arrived, and none has come back lately. */
  #mayMove(): boolean {
    const nowMs = this.#now();
    if (this.#away?.hasArrived()) this.#pauseMs = 0;
    else if (this.#away !== undefined) {
      if (nowMs < this.#away.untilMs) return false;
      this.#pauseMs = Math.min(BALANCE_PAUSE_MS_MAX, Math.max(BALANCE_ARRIVAL_MS, 2 * this.#pauseMs));
      this.#pauseUntilMs = nowMs + this.#pauseMs;
    }
    this.#away = undefined;
    return nowMs >= this.#pauseUntilMs;
  }

  #move(): void {
    const { agents, logger } = this.#parts;
    const nowMs = this.#now();
    const movable = agents.movable().filter(({ sinceMs }) => nowMs - sinceMs >= BALANCE_AGE_MS_MIN);
    const chosen = movable[Math.floor(this.#random() * movable.length)];
    if (chosen === undefined) return;
    if (!this.#isMoving) logger.info({ nodes: agents.connected() }, 'nodes go to brokers that have fewer');
    this.#isMoving = true;
    chosen.leave();
    this.#away = { hasArrived: () => chosen.hasArrived?.() === true, untilMs: nowMs + BALANCE_ARRIVAL_MS };
  }
}
