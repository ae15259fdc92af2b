/**
 * A broker that is cut off from NATS can acknowledge nothing. After a while it sends its agents to the others of its
 * cluster, which may not be cut off, and takes none until it reads NATS again. Alone it keeps them: there is nowhere to go.
 */
import type { Logger } from 'pino';
import { shuffled } from '../flow/reconnect.js';
import { CUT_OFF_MS } from '../limits.js';
import { type Leaving, sendAway } from './retirement.js';

export interface CutOffParts {
  /** Why nothing of NATS is read, in a sentence; undefined while it is. */
  readonly trouble: () => string | undefined;
  /** Number of other brokers that may take agents. */
  readonly others: () => number;
  readonly agents: {
    /** Refuses new agents. Returns those there are. */
    turnAway(reason: string): readonly Leaving[];
    /** Takes agents again. */
    takeAgain(): void;
  };
  readonly logger: Logger;
}

export class CutOff {
  readonly #parts: CutOffParts;
  readonly #now: () => number;
  #sinceMs: number | undefined;
  #isAway = false;

  /** @param now milliseconds of a clock that is never set */
  constructor(parts: CutOffParts, now: () => number = () => performance.now()) {
    this.#parts = parts;
    this.#now = now;
  }

  /** Call this about once a second. */
  look(): void {
    const { trouble, others, agents, logger } = this.#parts;
    const reason = trouble();
    if (reason === undefined) {
      if (this.#isAway) agents.takeAgain();
      this.#isAway = false;
      this.#sinceMs = undefined;
      return;
    }
    this.#sinceMs ??= this.#now();
    if (this.#isAway || others() === 0 || this.#now() - this.#sinceMs < CUT_OFF_MS) return;
    this.#isAway = true;
    const all = agents.turnAway('this broker is cut off from NATS: connect to another one');
    logger.warn({ agents: all.length, cause: reason }, 'cut off from NATS: agents go to other brokers');
    void sendAway(shuffled(all));
  }
}
