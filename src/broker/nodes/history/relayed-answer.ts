/**
 * A node's answer to a query of another broker: what comes from the node goes on at once, and nothing is kept. The node may
 * send what the asker has granted, so that the asker's reader is what slows it down.
 */
import { BackplaneError } from '../../../errors.js';
import type { HistoryEnd, HistoryEnd__Output } from '../../../wire/messages.js';
import type { HistoryOutcome } from './history-answer.js';
import type { AnswerTaker, QueryControls } from './history-queries.js';

/** Where the answer goes to. */
export interface AnswerSink {
  /** The query was sent to the node. */
  begin(): void;
  frame(bytes: Buffer): void;
  end(end: HistoryEnd): void;
}

export class RelayedAnswer implements AnswerTaker {
  outcome: HistoryOutcome | undefined;
  /** Bytes that the node may still send; negative by at most one frame. */
  #left: number;
  /** Bytes that were granted beyond the first window, in all. */
  #grantedBytes = 0;
  /** Since when the asker has granted nothing while nothing was left, milliseconds since 1970. */
  #unreadSinceMs: number | undefined;

  readonly #node: string;
  readonly #creditBytes: number;
  readonly #controls: QueryControls;
  readonly #sink: AnswerSink;

  constructor(node: string, creditBytes: number, controls: QueryControls, sink: AnswerSink) {
    this.#node = node;
    this.#creditBytes = creditBytes;
    this.#controls = controls;
    this.#sink = sink;
    this.#left = creditBytes;
  }

  begin(): void {
    if (this.outcome === undefined) this.#sink.begin();
  }

  receive(bytes: Buffer): void {
    if (this.outcome !== undefined) return;
    if (this.#left <= 0) {
      throw new BackplaneError('failed_precondition', `node ${this.#node} sent history beyond its credit`);
    }
    this.#left -= bytes.length;
    if (this.#left <= 0) this.#unreadSinceMs = Date.now();
    this.#sink.frame(bytes);
  }

  /** The asker has read so much in all. What exceeds its window is not granted. Returns whether it is more than before. */
  grant(bytes: number): boolean {
    const granted = Math.min(bytes - this.#grantedBytes, this.#creditBytes - this.#left);
    if (this.outcome !== undefined || granted <= 0) return false;
    this.#grantedBytes += granted;
    this.#left += granted;
    if (this.#left > 0) this.#unreadSinceMs = undefined;
    this.#controls.grant(granted);
    return true;
  }

  finish(end: HistoryEnd__Output): void {
    this.#settle({ kind: 'end', end }, end);
  }

  fail(message: string): void {
    this.#settle({ kind: 'failed', message }, { error: message });
  }

  displace(): void {
    const message = 'its place was given to others, as it was not read';
    this.#settle({ kind: 'failed', message }, { error: message, displaced: true });
  }

  /** The asker wants no more of it, or is gone. */
  cancel(): void {
    this.#settle({ kind: 'failed', message: 'cancelled' }, undefined);
  }

  unreadMs(nowMs: number): number {
    return this.#unreadSinceMs === undefined ? 0 : nowMs - this.#unreadSinceMs;
  }

  #settle(outcome: HistoryOutcome, end: HistoryEnd | undefined): void {
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    this.#controls.release();
    if (end !== undefined) this.#sink.end(end);
  }
}
