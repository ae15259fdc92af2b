/** Waits for a query's reader, and ends where the query's place is given to another meanwhile. */
import { BackplaneError } from '../../errors.js';
import { HISTORY_HOLD_RETRY_MS } from '../../limits.js';
import type { HistoryFrame } from '../../wire/frame/history-frame.js';
import type { Holder } from './history-turns.js';

export interface HistoryOutlet {
  send(frame: HistoryFrame): void;
  /** Resolves when more may be sent. */
  ready(signal: AbortSignal): Promise<void>;
  /** Its reader is to take what was sent before; absent: it never is. */
  readonly waits?: boolean;
  /** How much is to be gathered into a frame; absent: HISTORY_FRAME_BYTES. */
  readonly frameBytes?: number;
}

export class ReaderWait implements Holder {
  readonly #outlet: HistoryOutlet;
  readonly #ending = new AbortController();
  /** Fires when the query is cancelled, or its place was given away. */
  readonly signal = this.#ending.signal;
  /** Monotonic. */
  #sinceMs: number | undefined;
  #displaced = false;

  /** @param cancelled fires when the query is cancelled */
  constructor(outlet: HistoryOutlet, cancelled: AbortSignal) {
    this.#outlet = outlet;
    const end = () => this.#ending.abort();
    cancelled.addEventListener('abort', end, { once: true });
    if (cancelled.aborted) end();
  }

  get unreadSinceMs(): number | undefined {
    return this.#outlet.waits === true && !this.#displaced ? this.#sinceMs : undefined;
  }

  displace(): void {
    this.#displaced = true;
    this.#ending.abort();
  }

  /** Throws `cancelled`, or `resource_exhausted` when the query's place was given away: it may be asked again. */
  async ready(): Promise<void> {
    this.#sinceMs = performance.now();
    await this.#outlet.ready(this.signal);
    this.#sinceMs = undefined;
    if (this.#displaced) {
      const message = 'its place was given to others, as it was not read';
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: HISTORY_HOLD_RETRY_MS });
    }
    // What is cancelled while its last frames wait is not answered: they were never sent.
    if (this.signal.aborted) throw new BackplaneError('cancelled', 'history query cancelled');
  }
}
