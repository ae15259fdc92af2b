/**
 * What a node may send live: bytes and events a second, with a burst. A topic
 * is a class: each has a share of the burst that it must leave to the classes
 * above it, so that under pressure `syscall` goes first and `process` last. A
 * topic over budget stays shed until there is room for a stretch of it again,
 * and for a second, so that subscribers are told no more often.
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
  /** The burst, as so many milliseconds of either rate. */
  readonly burstMs: number;
}

/** What one node may send. */
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

/** What a broker says, where it says something; the node's own for the rest. */
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

/** Share of the burst that a topic leaves to others. Topics not named are shed first. */
const RESERVES: Readonly<Record<string, number>> = { host: 0, process: 0, security: 0.1, network: 0.2, file: 0.35 };
const RESERVE_OTHERS = 0.5;
/** Of the burst, above its reserve: what must be there before a shed topic is sent again. */
const RESUME_MARGIN = 0.15;
/** An event's place in its frame: size, time, lane and tie; and in each predicate's match list. */
const PLACE_BYTES = 22;
const MATCH_INDEX_BYTES = 3;
/** What is recorded, against what it becomes on the wire: entries gain names and context. */
const SENT_PER_RECORDED_BYTE = 4;
/** Of an entry of the kernel's, with its header. */
const ENTRY_BYTES_MIN = 24;
/** Over so many events an event's size is averaged. */
const MEAN_EVENTS = 64;

export class LiveBudget {
  readonly #bytes: TokenBucket;
  readonly #events: TokenBucket;
  /** Topics that are shed at this moment: since when. */
  readonly #shed = new Map<string, number>();
  /** Of events, in bytes: what a shed one would have taken. */
  #meanBytes = 256;
  /** Charged and shed since the last report. */
  #demand = { bytes: 0, sinceMs: performance.now() };

  constructor(
    rates: BudgetRates,
    private readonly nowMs: () => number = () => performance.now(),
  ) {
    this.#bytes = new TokenBucket(rates.bytesPerSecond, burstBytes(rates), nowMs);
    this.#events = new TokenBucket(rates.eventsPerSecond, burstEvents(rates), nowMs);
  }

  /** Whether another event of the topic may be sent. Decides for a stretch: see RESUME_MARGIN. */
  admits(topic: string): boolean {
    const reserve = RESERVES[topic] ?? RESERVE_OTHERS;
    const sinceMs = this.#shed.get(topic);
    const needed = sinceMs === undefined ? reserve : reserve + RESUME_MARGIN;
    const nowMs = this.nowMs();
    // Room for the largest event, whatever this one turns out to be: the bound holds without encoding it first.
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

  /** An event that was admitted takes so many bytes in its frame; returns what was charged for it. */
  charge(eventBytes: number, predicates: number): number {
    const bytes = eventBytes + PLACE_BYTES + predicates * MATCH_INDEX_BYTES;
    this.#bytes.take(bytes);
    this.#events.take(1);
    this.#demand.bytes += bytes;
    this.#meanBytes += (bytes - this.#meanBytes) / MEAN_EVENTS;
    return bytes;
  }

  /** A frame went out, for whose events `charged` was taken. */
  settle(frameBytes: number, charged: number): void {
    this.#bytes.take(frameBytes - charged);
  }

  /** Events that may be sent at once. */
  get burstEventsMax(): number {
    return this.#events.burstMax;
  }

  /** Half of the burst is there: time to go on with what waits in the recorder. */
  get ample(): boolean {
    return this.#bytes.level >= this.#bytes.burstMax / 2 && this.#events.level >= this.#events.burstMax / 2;
  }

  /** Of a recording: so much of it may be read at once that what is found in it can be sent, whatever it is. */
  get recordedBytes(): number {
    const { level } = this.#bytes;
    return Math.min(level / SENT_PER_RECORDED_BYTE, this.#events.level * ENTRY_BYTES_MIN);
  }

  /** Nothing is owed. */
  get solvent(): boolean {
    return this.#bytes.level >= 0;
  }

  /** Bytes per second that there were to send since the last call, sent or shed. */
  takeDemand(): number {
    const nowMs = performance.now();
    const { bytes, sinceMs } = this.#demand;
    this.#demand = { bytes: 0, sinceMs: nowMs };
    return (bytes * 1000) / Math.max(1, nowMs - sinceMs);
  }

  change(rates: BudgetRates): void {
    this.#bytes.change(rates.bytesPerSecond, burstBytes(rates));
    this.#events.change(rates.eventsPerSecond, burstEvents(rates));
  }
}

/** The last frame may overdraw it: less so much. */
export function historyBurstBytes({ bytesPerSecond, burstMs }: Budget['history']): number {
  return Math.max(1, (bytesPerSecond * burstMs) / 1000 - HISTORY_OVERDRAFT_BYTES);
}

/** So much that any event fits beside what is left to others. */
function burstBytes({ bytesPerSecond, burstMs }: BudgetRates): number {
  return Math.max(BUDGET_BURST_BYTES_MIN, (bytesPerSecond * burstMs) / 1000);
}

function burstEvents({ eventsPerSecond, burstMs }: BudgetRates): number {
  return Math.max(BUDGET_BURST_EVENTS_MIN, (eventsPerSecond * burstMs) / 1000);
}
