/**
 * Limits what a node sends live: bytes and events per second, each with a
 * burst. Each topic must leave a reserved share of the burst to more important
 * topics, so that under pressure `syscall` is shed first and `process` last. A
 * shed topic is sent again only after a second and when the budget has room for
 * a run of its events, so that subscribers get shed notices no more often.
 */
import { TokenBucket } from '../../flow/token-bucket.js';
import {
  BUDGET_BURST_BYTES_MIN,
  BUDGET_BURST_EVENTS_MIN,
  EVENT_BYTES_MAX,
  HISTORY_OVERDRAFT_BYTES,
  NOTICE_INTERVAL_MS,
} from '../../limits.js';
import type { Budget__Output, Budget as BudgetMessage } from '../../wire/messages.js';

export interface BudgetRates {
  readonly bytesPerSecond: number;
  readonly eventsPerSecond: number;
  /** Burst size, in milliseconds' worth of each rate. */
  readonly burstMs: number;
}

/** Limits on what one node may send. */
export interface Budget {
  readonly live: BudgetRates;
  readonly history: { readonly bytesPerSecond: number; readonly burstMs: number };
}

export function budgetToMessage({ live, history }: Budget): BudgetMessage {
  return {
    liveBytesPerSecond: live.bytesPerSecond,
    liveEventsPerSecond: live.eventsPerSecond,
    historyBytesPerSecond: history.bytesPerSecond,
    burstMs: live.burstMs,
  };
}

/** The broker's rates; a rate that the broker leaves at 0 is the node's own. The burst is always the node's own. */
export function budgetFromMessage(message: Budget__Output, own: Budget): Budget {
  const { burstMs } = own.live;
  return {
    live: {
      bytesPerSecond: Number(message.liveBytesPerSecond) || own.live.bytesPerSecond,
      eventsPerSecond: Number(message.liveEventsPerSecond) || own.live.eventsPerSecond,
      burstMs,
    },
    history: { bytesPerSecond: Number(message.historyBytesPerSecond) || own.history.bytesPerSecond, burstMs },
  };
}

/**
 * Share of the burst that a topic must leave free for others. Topics not named here have the largest and are shed
 * first.
 */
const RESERVES: Readonly<Record<string, number>> = { host: 0, process: 0, security: 0.1, network: 0.2, file: 0.35 };
const RESERVE_OTHERS = 0.5;
/** Share of the burst that must be free above a topic's reserve before the topic, once shed, is sent again. */
const RESUME_MARGIN = 0.15;
/** Frame bytes per event beside its encoding (size, time, lane and tie), and per entry in a predicate's match list. */
const PLACE_BYTES = 22;
const MATCH_INDEX_BYTES = 3;
/** Estimated bytes sent per recorded byte: entries gain names and context on the wire. */
const SENT_PER_RECORDED_BYTE = 4;
/** Smallest entry of the kernel's buffer, with its header. */
const ENTRY_BYTES_MIN = 24;
/** Number of events over which the mean event size is smoothed. */
const MEAN_EVENTS = 64;

export class LiveBudget {
  readonly #bytes: TokenBucket;
  readonly #events: TokenBucket;
  /** Topics that are shed now, each with the monotonic time since when, in milliseconds. */
  readonly #shed = new Map<string, number>();
  /** Mean bytes of an event: the estimate for a shed event, which is never encoded. */
  #meanBytes = 256;
  /** Bytes charged, and estimated bytes shed, since the last takeDemand(). */
  #demand: { bytes: number; readonly sinceMs: number };

  readonly #nowMs: () => number;

  constructor(rates: BudgetRates, nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#bytes = new TokenBucket(rates.bytesPerSecond, burstBytes(rates), nowMs);
    this.#events = new TokenBucket(rates.eventsPerSecond, burstEvents(rates), nowMs);
    this.#demand = { bytes: 0, sinceMs: nowMs() };
  }

  /** Whether another event of the topic may be sent. A refusal lasts for a while: see RESUME_MARGIN. */
  admits(topic: string): boolean {
    const reserve = RESERVES[topic] ?? RESERVE_OTHERS;
    const sinceMs = this.#shed.get(topic);
    const needed = sinceMs === undefined ? reserve : reserve + RESUME_MARGIN;
    const nowMs = this.#nowMs();
    // Requires room for the largest possible event, so that the bound holds without encoding this one first.
    const admitted =
      (sinceMs === undefined || nowMs - sinceMs >= NOTICE_INTERVAL_MS) &&
      this.#bytes.level - EVENT_BYTES_MAX >= needed * (this.#bytes.burstMax - EVENT_BYTES_MAX) &&
      this.#events.level - 1 >= needed * (this.#events.burstMax - 1);
    if (admitted) this.#shed.delete(topic);
    else {
      if (sinceMs === undefined) this.#shed.set(topic, nowMs);
      this.#demand.bytes += this.#meanBytes;
    }
    return admitted;
  }

  /**
   * Charges an admitted event of `eventBytes` encoded bytes that `predicates` predicates match; returns the bytes
   * charged.
   */
  charge(eventBytes: number, predicates: number): number {
    const bytes = eventBytes + PLACE_BYTES + predicates * MATCH_INDEX_BYTES;
    this.#bytes.take(bytes);
    this.#events.take(1);
    this.#demand.bytes += bytes;
    this.#meanBytes += (bytes - this.#meanBytes) / MEAN_EVENTS;
    return bytes;
  }

  /** Corrects the charge once a frame's real size is known; `charged` was already taken for its events. */
  settle(frameBytes: number, charged: number): void {
    this.#bytes.take(frameBytes - charged);
  }

  /** Events that may be sent at once. */
  get burstEventsMax(): number {
    return this.#events.burstMax;
  }

  /** Whether half of each burst is free: then reading what waits in the recorder goes on. */
  get ample(): boolean {
    return this.#bytes.level >= this.#bytes.burstMax / 2 && this.#events.level >= this.#events.burstMax / 2;
  }

  /** Bytes of a recording that may be read at once so that every event found in them can be sent. */
  get recordedBytes(): number {
    const { level } = this.#bytes;
    return Math.min(level / SENT_PER_RECORDED_BYTE, this.#events.level * ENTRY_BYTES_MIN);
  }

  /** False while the byte budget is overdrawn. */
  get solvent(): boolean {
    return this.#bytes.level >= 0;
  }

  /** Bytes per second that were to be sent since the last call, whether sent or shed. */
  takeDemand(): number {
    const nowMs = this.#nowMs();
    const { bytes, sinceMs } = this.#demand;
    this.#demand = { bytes: 0, sinceMs: nowMs };
    return (bytes * 1000) / Math.max(1, nowMs - sinceMs);
  }

  change(rates: BudgetRates): void {
    this.#bytes.change(rates.bytesPerSecond, burstBytes(rates));
    this.#events.change(rates.eventsPerSecond, burstEvents(rates));
  }
}

/** The history burst, less the amount by which the last frame may overdraw it. */
export function historyBurstBytes({ bytesPerSecond, burstMs }: Budget['history']): number {
  return Math.max(1, (bytesPerSecond * burstMs) / 1000 - HISTORY_OVERDRAFT_BYTES);
}

/** The burst in bytes, at least so large that any event fits beside the share that is left to other topics. */
function burstBytes({ bytesPerSecond, burstMs }: BudgetRates): number {
  return Math.max(BUDGET_BURST_BYTES_MIN, (bytesPerSecond * burstMs) / 1000);
}

function burstEvents({ eventsPerSecond, burstMs }: BudgetRates): number {
  return Math.max(BUDGET_BURST_EVENTS_MIN, (eventsPerSecond * burstMs) / 1000);
}
