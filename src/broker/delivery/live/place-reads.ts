/**
 * Reads places so that none waits long for another: a partition that cannot be read at this moment, as it has no leader, holds up
 * no other one, and ends the subscription only where that lasts.
 */
import { BackplaneError } from '../../../errors.js';
import { PLACE_PATIENCE_MS, PLACE_REST_MS, PLACE_TROUBLE_MS_MAX } from '../../../limits.js';
import type { LogPlace } from '../../log/fan-out.js';
import { endOf, type LogItem } from '../../log/partition-log.js';

/** One read that is under way, or whose result was not taken yet. */
interface Read {
  /** Never rejects. */
  readonly done: Promise<void>;
  isDone: boolean;
  item: LogItem | undefined;
  cause: unknown;
  /** Nobody waits for it any more. */
  isLeft: boolean;
}

/** Since when a place could not be read, and until when it is not tried. */
interface Trouble {
  readonly sinceMs: number;
  readonly untilMs: number;
}

export class PlaceReads {
  readonly #reads = new Map<LogPlace, Read>();
  readonly #troubles = new Map<LogPlace, Trouble>();
  readonly #onReady: () => void;
  readonly #now: () => number;

  /** @param onReady called when a place that was waited for in vain may be read again */
  constructor(onReady: () => void, now: () => number = () => performance.now()) {
    this.#onReady = onReady;
    this.#now = now;
  }

  /**
   * The next item, or undefined when there is none at this moment. Rejects as the log does, with unavailable only where that
   * has lasted.
   */
  async next(place: LogPlace): Promise<LogItem | undefined> {
    if (this.waits(place)) return undefined;
    const read = this.#reads.get(place) ?? this.#begin(place);
    // What is at hand is there in the next moment.
    if (!read.isDone) await undefined;
    if (!read.isDone) await this.#within(read);
    if (!read.isDone) {
      read.isLeft = true;
      return undefined;
    }
    this.#reads.delete(place);
    if (read.cause !== undefined) return this.#failed(place, read.cause);
    this.#troubles.delete(place);
    // The log went back since: other frames come there.
    return read.item !== undefined && endOf(read.item) > place.offset ? undefined : read.item;
  }

  /** Whether nothing can be had of a place at this moment, whatever the log has. */
  waits(place: LogPlace): boolean {
    const trouble = this.#troubles.get(place);
    return this.#reads.get(place)?.isDone === false || (trouble !== undefined && this.#now() < trouble.untilMs);
  }

  /** Whether an item of it was read, or is being read, that nobody has yet. */
  holds(place: LogPlace): boolean {
    return this.#reads.has(place);
  }

  #begin(place: LogPlace): Read {
    const taken = (item: LogItem | undefined, cause?: unknown) => {
      Object.assign(read, { isDone: true, item, cause });
      if (read.isLeft) this.#onReady();
    };
    const done = place.next().then(taken, (cause) => taken(undefined, cause));
    const read: Read = { done, isDone: false, item: undefined, cause: undefined, isLeft: false };
    this.#reads.set(place, read);
    return read;
  }

  async #within({ done }: Read): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PLACE_PATIENCE_MS);
    });
    await Promise.race([done, patience]);
    clearTimeout(timer);
  }

  #failed(place: LogPlace, cause: unknown): undefined {
    const nowMs = this.#now();
    const sinceMs = this.#troubles.get(place)?.sinceMs ?? nowMs;
    if (!isUnavailable(cause) || nowMs - sinceMs >= PLACE_TROUBLE_MS_MAX) throw cause;
    this.#troubles.set(place, { sinceMs, untilMs: nowMs + PLACE_REST_MS });
    setTimeout(this.#onReady, PLACE_REST_MS).unref();
  }
}

/** Whether a log says that it cannot be read at this moment. */
export function isUnavailable(cause: unknown): boolean {
  return cause instanceof BackplaneError && cause.code === 'unavailable';
}
