/**
 * One node's answer to one history query, as it arrives: frames under credit,
 * then an end. Unread frames take at most the credit and one frame in memory.
 */
import { BackplaneError } from '../../../errors.js';
import { CreditWindow } from '../../../flow/credit.js';
import { HISTORY_FRAME_BYTES, HISTORY_PATIENCE_MS, HISTORY_SILENCE_MS } from '../../../limits.js';
import type { HistoryEnd__Output } from '../../../wire/messages.js';

export type HistoryOutcome =
  | { readonly kind: 'end'; readonly end: HistoryEnd__Output }
  /**
   * The node disconnected, answered with an error, stayed silent, or broke the protocol. `away`: the node did nothing wrong:
   * nobody is where it was connected, there is no way there, or something was lost on the way.
   */
  | { readonly kind: 'failed'; readonly message: string; readonly away?: boolean };

export class HistoryAnswer {
  outcome: HistoryOutcome | undefined;
  /** The answer was not read, so its place went to another query. The same query may be asked again. */
  displaced = false;
  readonly #frames: Buffer[] = [];
  readonly #credit: CreditWindow;
  #wake: (() => void) | undefined;
  /** The query was sent to the node. Before that, silence is not the node's fault and does not count. */
  #begun = false;
  /** Waiting time that is left for this node, in milliseconds. Received bytes add to it. */
  #patienceMs: number;
  /**
   * Time (milliseconds since 1970) since which frames were available and the reader took less than one frame's worth of
   * bytes. Undefined while the reader waits for more.
   */
  #unreadSinceMs: number | undefined;
  #takenBytes = 0;

  /** Called once, when the answer is settled and the node need send nothing more. */
  readonly #release: () => void;
  readonly #patienceMsMax: number;

  constructor(
    readonly node: string,
    creditBytes: number,
    grant: (bytes: number) => void,
    release: () => void,
    patienceMsMax = HISTORY_PATIENCE_MS,
    grow?: (bytes: number) => boolean,
  ) {
    this.#release = release;
    this.#patienceMsMax = patienceMsMax;
    this.#patienceMs = patienceMsMax;
    this.#credit = new CreditWindow(creditBytes, grant, grow);
  }

  /** The next frame, encoded, or undefined when the answer is complete and `outcome` is set. Never throws. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const bytes = this.#frames.shift();
      if (bytes !== undefined) {
        this.#took(bytes.length);
        return bytes;
      }
      if (this.outcome !== undefined) return undefined;
      await this.#arrival();
    }
  }

  /** Called when the query is sent to the node. From here on the node's silence is timed. */
  begin(): void {
    this.#begun = true;
    this.#wake?.();
  }

  /** Milliseconds during which frames were available and the reader took less than one frame's worth; 0 if it reads. */
  unreadMs(nowMs: number): number {
    return this.#unreadSinceMs === undefined ? 0 : nowMs - this.#unreadSinceMs;
  }

  /** Ends the answer so that another query gets its place. Frames that have arrived can still be read. */
  displace(): void {
    this.displaced = this.outcome === undefined;
    this.fail('its place was given to others, as it was not read');
  }

  /** Takes one frame from the session. Throws failed_precondition when the node sends more than its credit. */
  receive(bytes: Buffer): void {
    if (this.outcome !== undefined) return;
    if (!this.#credit.received(bytes.length)) {
      throw new BackplaneError('failed_precondition', `node ${this.node} sent history beyond its credit`);
    }
    this.#frames.push(bytes);
    this.#patienceMs = Math.min(
      this.#patienceMsMax,
      this.#patienceMs + (bytes.length / HISTORY_FRAME_BYTES) * this.#patienceMsMax,
    );
    if (this.#wake === undefined) this.#unreadSinceMs ??= Date.now();
    this.#wake?.();
  }

  finish(end: HistoryEnd__Output): void {
    if (end.displaced) this.displace();
    else if (end.error !== '') this.#settle({ kind: 'failed', message: end.error });
    else this.#settle({ kind: 'end', end });
  }

  fail(message: string): void {
    this.#settle({ kind: 'failed', message });
  }

  /** There is no way to the node, or something was lost on it. */
  goneAway(message: string): void {
    this.#settle({ kind: 'failed', message, away: true });
  }

  cancel(): void {
    this.#frames.length = 0;
    this.#settle({ kind: 'failed', message: 'cancelled' });
  }

  #settle(outcome: HistoryOutcome): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.#release();
    this.#wake?.();
  }

  #took(bytes: number): void {
    this.#credit.consumed(bytes);
    this.#takenBytes += bytes;
    if (this.#unreadSinceMs !== undefined && this.#takenBytes < HISTORY_FRAME_BYTES) return;
    this.#takenBytes = 0;
    this.#unreadSinceMs = Date.now();
  }

  /** Waits for a frame or the end while patience is left. Before begin() it sets no timer: the queue has its own. */
  async #arrival(): Promise<void> {
    this.#unreadSinceMs = undefined;
    this.#takenBytes = 0;
    let timer: NodeJS.Timeout | undefined;
    const startedMs = performance.now();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.#begun) timer = setTimeout(resolve, Math.min(HISTORY_SILENCE_MS, this.#patienceMs));
    });
    clearTimeout(timer);
    this.#wake = undefined;
    if (!this.#begun || timer === undefined) return;
    const waitedMs = performance.now() - startedMs;
    this.#patienceMs -= waitedMs;
    if (this.#frames.length > 0) return;
    if (waitedMs >= HISTORY_SILENCE_MS - 1) this.fail(`nothing was heard of it for ${HISTORY_SILENCE_MS / 1000} s`);
    else if (this.#patienceMs <= 0)
      this.fail(`too little was heard of it in ${this.#patienceMsMax / 1000} s of waiting`);
  }
}
