/**
 * Nodes stay at the broker that has them, so that one that is started, for the first time or again, would have none until others
 * fail. A broker that has clearly more than its part sends some to the others, one a second; which ones is left to chance.
 */
import type { Logger } from 'pino';
import {
  BALANCE_AGE_MS_MIN,
  BALANCE_ARRIVAL_MS,
  BALANCE_EXCESS_MAX,
  BALANCE_PATIENCE_MS,
  BALANCE_PAUSE_MS,
  BALANCE_RATIO,
  BALANCE_RETURNS_MAX,
  BALANCE_SLACK,
} from '../limits.js';
import type { Leaving } from './retirement.js';

/** A node that is connected here. */
export interface Movable extends Required<Leaving> {
  /** Since when it is, by performance.now(). */
  readonly sinceMs: number;
  /** Whether it was sent away, and has come back. */
  readonly isBack: () => boolean;
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

/** From when there are too many to when there are not. */
interface Episode {
  readonly sinceMs: number;
  /** How many may be sent; undefined until the first is. */
  left: number | undefined;
  /** How many in a row came back. */
  returned: number;
}

export class Balance {
  readonly #parts: BalanceParts;
  readonly #now: () => number;
  readonly #random: () => number;
  #episode: Episode | undefined;
  /** The one on its way. */
  #away: { readonly node: Movable; readonly untilMs: number } | undefined;
  #pauseUntilMs = Number.NEGATIVE_INFINITY;

  /** @param now as performance.now() @param random 0 to 1 */
  constructor(parts: BalanceParts, now: () => number = () => performance.now(), random: () => number = Math.random) {
    this.#parts = parts;
    this.#now = now;
    this.#random = random;
  }

  /** Call this about once a second. */
  look(): void {
    const { others, agents, logger } = this.#parts;
    const theirs = others();
    // What began goes on when they are known again.
    if (theirs.length === 0 || this.#now() < this.#pauseUntilMs) return;
    const nodes = agents.connected();
    const mean = theirs.reduce((sum, each) => sum + each, nodes) / (theirs.length + 1);
    const isMoving = this.#episode?.left !== undefined;
    if (nodes <= (isMoving ? mean : BALANCE_RATIO * mean + BALANCE_SLACK)) {
      if (isMoving) logger.info({ nodes, mean }, 'balanced: no more nodes go');
      this.#episode = undefined;
      return;
    }
    this.#episode ??= { sinceMs: this.#now(), left: undefined, returned: 0 };
    if (this.#now() - this.#episode.sinceMs < BALANCE_PATIENCE_MS || !this.#hasSettled(this.#episode)) return;
    if (this.#episode.left === 0 || this.#episode.returned >= BALANCE_RETURNS_MAX) this.#giveUp(nodes, mean);
    else this.#move(this.#episode, nodes - mean);
  }

  /** Whether it is known what became of the last one. */
  #hasSettled(episode: Episode): boolean {
    if (this.#away === undefined) return true;
    const { node, untilMs } = this.#away;
    const hasArrived = node.hasArrived();
    if (!hasArrived && !node.isBack() && this.#now() < untilMs) return false;
    episode.returned = hasArrived ? 0 : episode.returned + 1;
    this.#away = undefined;
    return true;
  }

  #move(episode: Episode, excess: number): void {
    const { agents, logger } = this.#parts;
    const nowMs = this.#now();
    const movable = agents.movable().filter(({ sinceMs }) => nowMs - sinceMs >= BALANCE_AGE_MS_MIN);
    const node = movable[Math.floor(this.#random() * movable.length)];
    if (node === undefined) return;
    if (episode.left === undefined) logger.info({ nodes: agents.connected() }, 'nodes go to brokers that have fewer');
    episode.left = (episode.left ?? Math.ceil(BALANCE_EXCESS_MAX * excess)) - 1;
    node.leave();
    this.#away = { node, untilMs: nowMs + BALANCE_ARRIVAL_MS };
  }

  #giveUp(nodes: number, mean: number): void {
    const message =
      'too many nodes are here, and those that are sent away come back, or others come: do they know all brokers?';
    this.#parts.logger.warn({ nodes, mean }, message);
    this.#episode = undefined;
    this.#pauseUntilMs = this.#now() + BALANCE_PAUSE_MS;
  }
}
