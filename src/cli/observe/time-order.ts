/**
 * Puts live lines in the order of time. The broker sends each topic of a node separately, so that a program's
 * connection can arrive before the program's start. Batches that arrive close together are held for a moment and
 * printed by the events' times. Where they are few and of one node they arrive in one turn, so that no timer need wake
 * this process once more.
 */
import { LINE_ORDER_EVENTS_MAX, LINE_ORDER_MS, LINE_ORDER_TURN_EVENTS_MAX } from '../../limits.js';
import type { ReceivedBatch, ReceivedEvent } from '../../wire/received-batch.js';

export interface Line {
  readonly node: string;
  readonly topic: string;
  readonly event: ReceivedEvent;
  /** Resumes behind this line; '' where no cursor does. */
  readonly cursor: string;
}

export class TimeOrder {
  readonly #print: (lines: readonly Line[]) => Promise<void>;
  #held: ReceivedBatch[] = [];
  #events = 0;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  /** Of all live batches so far; '' where there were several. */
  #node: string | undefined;
  #printed: Promise<void> = Promise.resolve();

  /** `print` must not reject. */
  constructor(print: (lines: readonly Line[]) => Promise<void>) {
    this.#print = print;
  }

  /** Whether there are events that are not printed yet. */
  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** Resolves when there is room for more. */
  async add(batch: ReceivedBatch): Promise<void> {
    await this.#printed;
    // Events of the past are merged by time already.
    if (batch.history) await this.flush();
    this.#held.push(batch);
    this.#events += batch.received.length;
    if (batch.history || this.#events >= LINE_ORDER_EVENTS_MAX) await this.flush();
    else this.#flushSoon(batch.node);
  }

  #flushSoon(node: string): void {
    this.#node = (this.#node ?? node) === node ? node : '';
    if (this.#timer !== undefined) return;
    const inTurn = this.#node !== '' && this.#events <= LINE_ORDER_TURN_EVENTS_MAX;
    if (inTurn) this.#turn ??= setImmediate(() => void this.flush());
    else {
      this.#endWait();
      this.#timer = setTimeout(() => void this.flush(), LINE_ORDER_MS);
    }
  }

  #endWait(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
    this.#timer = undefined;
    this.#turn = undefined;
  }

  /** Prints what is held. */
  flush(): Promise<void> {
    this.#endWait();
    const held = this.#held;
    this.#held = [];
    this.#events = 0;
    if (held.length > 0) this.#printed = this.#printed.then(() => this.#print(inOrder(held)));
    return this.#printed;
  }
}

/**
 * All events of the batches by time; events of equal time keep their order. Only the last line has a cursor, because a
 * cursor resumes behind all batches up to its own.
 */
export function inOrder(batches: readonly ReceivedBatch[]): Line[] {
  const timed = batches.flatMap(({ node, topic, received }) =>
    received.map((event) => ({ node, topic, event, cursor: '', timeNs: event.timeNs })),
  );
  const [only] = batches;
  if (batches.length > 1 || !only?.history)
    timed.sort((a, b) => (a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : 0));
  const last = timed.at(-1);
  if (last) last.cursor = batches.at(-1)!.cursor;
  return timed;
}
