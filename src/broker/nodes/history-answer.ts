/**
 * One node's answer to one history query, as it comes in: frames under credit,
 * then an end. What waits in memory is at most the credit and one frame.
 */
import { BackplaneError } from '../../errors.js';
import { CreditWindow } from '../../flow/credit.js';
import { HISTORY_FRAME_BYTES, HISTORY_PATIENCE_MS, HISTORY_SILENCE_MS } from '../../limits.js';
import type { HistoryEnd__Output } from '../../wire/messages.js';

export type HistoryOutcome =
  | { readonly kind: 'end'; readonly end: HistoryEnd__Output }
  /** The node went, answered with an error, or broke the protocol. */
  | { readonly kind: 'failed'; readonly message: string };

export class HistoryAnswer {
  outcome: HistoryOutcome | undefined;
  /** Its place was given to others, as it was not read: the same query may be asked again. */
  displaced = false;
  private readonly frames: Buffer[] = [];
  private readonly credit: CreditWindow;
  private wake: (() => void) | undefined;
  /** The node has been asked. */
  private begun = false;
  /** How long may still be waited for the node. */
  private patienceMs: number;
  /** Since when the reader has taken less than a frame's worth, while there was some; undefined: it waits for more. */
  private unreadSinceMs: number | undefined;
  private takenBytes = 0;

  constructor(
    readonly node: string,
    creditBytes: number,
    grant: (bytes: number) => void,
    /** Called once, when nothing more is wanted from the node. */
    private readonly release: () => void,
    private readonly patienceMsMax = HISTORY_PATIENCE_MS,
  ) {
    this.patienceMs = patienceMsMax;
    this.credit = new CreditWindow(creditBytes, grant);
  }

  /** The next frame, encoded, or undefined when the answer is complete and `outcome` is set. Never throws. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const bytes = this.frames.shift();
      if (bytes !== undefined) {
        this.took(bytes.length);
        return bytes;
      }
      if (this.outcome !== undefined) return undefined;
      await this.arrival();
    }
  }

  /** Its turn has come: from here on the node is waited for. */
  begin(): void {
    this.begun = true;
    this.wake?.();
  }

  /** For how long its reader has hardly read, though there was something. */
  unreadMs(nowMs: number): number {
    return this.unreadSinceMs === undefined ? 0 : nowMs - this.unreadSinceMs;
  }

  /** Others get its place. What has come can still be read. */
  displace(): void {
    this.displaced = this.outcome === undefined;
    this.fail('its place was given to others, as it was not read');
  }

  /** From the session. Throws failed_precondition when the node sends more than it was granted. */
  receive(bytes: Buffer): void {
    if (this.outcome !== undefined) return;
    if (!this.credit.received(bytes.length)) {
      throw new BackplaneError('failed_precondition', `node ${this.node} sent history beyond its credit`);
    }
    this.frames.push(bytes);
    this.patienceMs = Math.min(
      this.patienceMsMax,
      this.patienceMs + (bytes.length / HISTORY_FRAME_BYTES) * this.patienceMsMax,
    );
    if (this.wake === undefined) this.unreadSinceMs ??= Date.now();
    this.wake?.();
  }

  finish(end: HistoryEnd__Output): void {
    if (end.error !== '') this.settle({ kind: 'failed', message: end.error });
    else this.settle({ kind: 'end', end });
  }

  fail(message: string): void {
    this.settle({ kind: 'failed', message });
  }

  cancel(): void {
    this.frames.length = 0;
    this.settle({ kind: 'failed', message: 'cancelled' });
  }

  private settle(outcome: HistoryOutcome): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.release();
    this.wake?.();
  }

  private took(bytes: number): void {
    this.credit.consumed(bytes);
    this.takenBytes += bytes;
    if (this.unreadSinceMs !== undefined && this.takenBytes < HISTORY_FRAME_BYTES) return;
    this.takenBytes = 0;
    this.unreadSinceMs = Date.now();
  }

  /** Waits for the node, as long as there is patience left; for its turn others set the time. */
  private async arrival(): Promise<void> {
    this.unreadSinceMs = undefined;
    this.takenBytes = 0;
    let timer: NodeJS.Timeout | undefined;
    const startedMs = performance.now();
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      if (this.begun) timer = setTimeout(resolve, Math.min(HISTORY_SILENCE_MS, this.patienceMs));
    });
    clearTimeout(timer);
    this.wake = undefined;
    if (!this.begun || timer === undefined) return;
    const waitedMs = performance.now() - startedMs;
    this.patienceMs -= waitedMs;
    if (this.frames.length > 0) return;
    if (waitedMs >= HISTORY_SILENCE_MS - 1) this.fail(`nothing was heard of it for ${HISTORY_SILENCE_MS / 1000} s`);
    else if (this.patienceMs <= 0) this.fail(`too little was heard of it in ${this.patienceMsMax / 1000} s of waiting`);
  }
}
