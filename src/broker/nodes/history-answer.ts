/**
 * One node's answer to one history query, as it comes in: frames under credit,
 * then an end. What waits in memory is at most the credit and one frame.
 */
import { BackplaneError } from '../../errors.js';
import { CreditWindow } from '../../flow/credit.js';
import { HISTORY_SILENCE_MS } from '../../limits.js';
import type { HistoryEnd__Output } from '../../wire/messages.js';

export type HistoryOutcome =
  | { readonly kind: 'end'; readonly end: HistoryEnd__Output }
  /** The node went, answered with an error, or broke the protocol. */
  | { readonly kind: 'failed'; readonly message: string };

export class HistoryAnswer {
  outcome: HistoryOutcome | undefined;
  private readonly frames: Buffer[] = [];
  private readonly credit: CreditWindow;
  private wake: (() => void) | undefined;

  constructor(
    readonly node: string,
    creditBytes: number,
    grant: (bytes: number) => void,
    /** Called once, when nothing more is wanted from the node. */
    private readonly release: () => void,
  ) {
    this.credit = new CreditWindow(creditBytes, grant);
  }

  /** The next frame, encoded, or undefined when the answer is complete and `outcome` is set. Never throws. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const bytes = this.frames.shift();
      if (bytes !== undefined) {
        this.credit.consumed(bytes.length);
        return bytes;
      }
      if (this.outcome !== undefined) return undefined;
      await this.arrival();
    }
  }

  /** From the session. Throws failed_precondition when the node sends more than it was granted. */
  receive(bytes: Buffer): void {
    if (this.outcome !== undefined) return;
    if (!this.credit.received(bytes.length)) {
      throw new BackplaneError('failed_precondition', `node ${this.node} sent history beyond its credit`);
    }
    this.frames.push(bytes);
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

  private async arrival(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      timer = setTimeout(() => {
        this.fail(`nothing was heard of it for ${HISTORY_SILENCE_MS / 1000} s`);
        resolve();
      }, HISTORY_SILENCE_MS);
    });
    clearTimeout(timer);
    this.wake = undefined;
  }
}
