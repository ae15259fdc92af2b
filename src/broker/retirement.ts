/**
 * A broker that is taken out of service sends its agents and subscribers away, each to another broker of its list: some at a
 * time, as all at once would be a storm there, in which each waits for all others. Whoever comes meanwhile is refused, and goes
 * on to the next.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { BackplaneError } from '../errors.js';
import { shuffled } from '../flow/reconnect.js';
import {
  RETIRE_ARRIVAL_MS,
  RETIRE_AT_ONCE,
  RETIRE_LATE_MS,
  RETIRE_LEAST_MS,
  RETIRE_MS_MAX,
  RETIRE_SETTLE_MS,
  RETIRE_UNKNOWN_MS,
} from '../limits.js';
import type { RetireResponse } from '../wire/messages.js';
import { comparePositions, type Position } from '../wire/position.js';
import { ProtoReader } from '../wire/protobuf.js';
import type { Caller } from './access/gate.js';
import type { AuditTrail } from './cluster/audit-trail.js';

/**
 * Whether a RetireRequest forces it. Read strictly: the usual reader takes bytes of any form for a bool, and a message that
 * is none must not empty a broker. @throws BackplaneError invalid_argument
 */
export function isForced(request: Buffer): boolean {
  const reader = new ProtoReader(request, 'retire');
  let force = false;
  while (reader.nextTag()) {
    if (reader.field === 1) force = reader.bool();
    else reader.skip();
  }
  return force;
}

/** One that is connected. */
export interface Leaving {
  /** Sends it away. */
  readonly leave: () => void;
  /** Whether another broker has it; undefined where nobody says so. */
  readonly hasArrived?: () => boolean;
}

/** How a node is that was sent away. */
interface Moving {
  readonly isElsewhere: () => boolean;
  /** How far the log has its frames. */
  readonly coveredTo: () => Position | undefined;
}

/**
 * Whether a node that was sent away has arrived: another broker has it, and its frames go on. Connecting is the smaller part of
 * what that takes.
 */
export function arrivalOf({ isElsewhere, coveredTo }: Moving, now = () => performance.now()): () => boolean {
  const before = coveredTo();
  let sinceMs: number | undefined;
  return () => {
    if (!isElsewhere()) return false;
    sinceMs ??= now();
    const to = coveredTo();
    const goesOn = to !== undefined && (before === undefined || comparePositions(to, before) > 0);
    return goesOn || now() - sinceMs >= RETIRE_SETTLE_MS;
  };
}

/** Where peers are connected. */
export interface Connected {
  /** Refuses new ones from now on. Returns those there are. */
  retire(): readonly Leaving[];
}

export interface RetirementParts {
  readonly agents: Connected;
  readonly subscribers: Connected;
  /** Publishers have nothing here between two batches: they are sent away together, last. */
  readonly publishers: { drain(): void };
  /** Number of other brokers of this one's cluster that take agents and subscribers. */
  readonly others: () => number;
  /** Called when it begins: the broker is not ready any more. */
  readonly begins: () => void;
  readonly trail: Pick<AuditTrail, 'record'>;
  readonly logger: Logger;
}

export class Retirement {
  readonly #parts: RetirementParts;
  #answer: RetireResponse | undefined;
  #gone: Promise<void> | undefined;

  constructor(parts: RetirementParts) {
    this.#parts = parts;
  }

  /**
   * Begins to send away, and resolves with how many; later calls have the same answer.
   * @param force also where nobody is known to take them
   * @throws BackplaneError failed_precondition where there is nowhere to go
   */
  async ask(force: boolean, { peer, identity }: Caller): Promise<RetireResponse> {
    if (this.#answer !== undefined) return this.#answer;
    if (!force && this.#parts.others() === 0) {
      const message =
        'there is nowhere to go: no other broker of this cluster is known. End it by SIGTERM, or use --force';
      throw new BackplaneError('failed_precondition', message, { field: 'force' });
    }
    await this.#parts.trail.record({ action: 'retire', peer, identity, force });
    return this.#begin();
  }

  /** Before the broker ends: resolves when all were sent away; at once where there is nowhere to go. */
  async finished(): Promise<void> {
    if (this.#answer === undefined && this.#parts.others() > 0) this.#begin();
    await this.#gone;
  }

  #begin(): RetireResponse {
    if (this.#answer !== undefined) return this.#answer;
    const { agents, subscribers, others, begins, logger } = this.#parts;
    begins();
    const away = { agents: agents.retire(), subscribers: subscribers.retire() };
    // Whoever begins elsewhere waits for answers of the nodes that have just come there: they come before all subscribers.
    const inOrder = [...shuffled(away.agents), ...shuffled(away.subscribers)];
    // Where it knows of no other broker it hears of no arrival.
    const all = others() > 0 ? inOrder : inOrder.map(({ leave }) => ({ leave }));
    this.#answer = {
      agents: away.agents.length,
      subscribers: away.subscribers.length,
      withinMs: Math.ceil(Math.min(RETIRE_MS_MAX, longestMs(all))),
    };
    logger.info(this.#answer, 'retiring: agents and subscribers go to other brokers');
    this.#gone = sendAway(all).then(() => this.#parts.publishers.drain());
    return this.#answer;
  }
}

/** Until the last has left, if no arrival is heard of. */
function longestMs(all: readonly Leaving[]): number {
  return all.reduce((sum, leaving) => sum + patienceMs(leaving), 0) / RETIRE_AT_ONCE;
}

function patienceMs({ hasArrived }: Leaving): number {
  return hasArrived === undefined ? RETIRE_UNKNOWN_MS : RETIRE_ARRIVAL_MS;
}

/**
 * In this order, so many on their way at a time, and fewer while this process is late itself: those who are still here would be
 * served later still. Resolves when all were sent.
 */
export async function sendAway(all: readonly Leaving[]): Promise<void> {
  const share = Math.min(1, RETIRE_MS_MAX / longestMs(all));
  const beganMs = performance.now();
  let away: { readonly leaving: Leaving; readonly untilMs: number }[] = [];
  for (const [index, leaving] of all.entries()) {
    // However late this process is, the last has left by then.
    const dueMs = beganMs + (index / all.length) * RETIRE_MS_MAX;
    const waitMs = patienceMs(leaving) * share;
    const heldToMs = performance.now() + waitMs / RETIRE_AT_ONCE;
    for (let isInTime = false; ; ) {
      const nowMs = performance.now();
      away = away.filter(({ leaving: { hasArrived }, untilMs }) => untilMs > nowMs && hasArrived?.() !== true);
      if ((away.length < RETIRE_AT_ONCE && (isInTime || nowMs >= heldToMs)) || nowMs >= dueMs) break;
      await sleep(RETIRE_LEAST_MS);
      isInTime = performance.now() - nowMs < RETIRE_LATE_MS;
    }
    leaving.leave();
    away.push({ leaving, untilMs: performance.now() + waitMs });
  }
}
