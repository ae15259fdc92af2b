/**
 * Nodes whose history comes after the subscription has gone live: one at a
 * time, beside the live stream, in rounds up to the moment's end of the log.
 * What the log got during the last round, which is short, the live loop reads
 * from the log: there history meets the tail, however slow the node is.
 */
import { reconnectDelayMs } from '../../../flow/reconnect.js';
import type { Position } from '../../../wire/position.js';
import type { NodeView } from '../cursor/node-view.js';

/** Delivers a node's history up to `to`; false when the node failed: it is asked again later. */
export type RunRound = (view: NodeView, to: Position, signal: AbortSignal) => Promise<boolean>;

/** A node whose history is delivered up to what the log has before an offset. */
export interface Approached {
  readonly view: NodeView;
  readonly offset: number;
}

export interface LateNodesOptions {
  /** Up to where history is to go at this moment; undefined when the node cannot be asked. */
  readonly meeting: (view: NodeView) => Position | undefined;
  readonly round: RunRound;
  /** Where the live loop stands in the node's partition: what is before it of the node was passed over. */
  readonly offset: (view: NodeView) => number;
  /** There is something for `take`. */
  readonly notify: () => void;
  readonly signal: AbortSignal;
}

export class LateNodes {
  private readonly waiting = new Set<NodeView>();
  /** Could be asked again while what they were asked before was not over yet. */
  private readonly again = new Set<NodeView>();
  /** Of nodes that failed: how often in a row, and when they are asked again. */
  private readonly failed = new Map<NodeView, { readonly failures: number; readonly timer: NodeJS.Timeout }>();
  private running: NodeView | undefined;
  private ready: Approached | undefined;

  constructor(private readonly options: LateNodesOptions) {}

  /** The node can be asked (again). */
  add(view: NodeView): void {
    clearTimeout(this.failed.get(view)?.timer);
    if (this.running === view || this.ready?.view === view) this.again.add(view);
    else this.waiting.add(view);
    this.startNext();
  }

  /** For the live loop, which reads the rest from the log and then says what came of it. */
  take(): Approached | undefined {
    return this.ready;
  }

  /** What `take` gave is live from here on; or not, as the log could not be read, and is asked again. */
  joined(view: NodeView, isLive: boolean): void {
    this.ready = undefined;
    if (isLive) this.failed.delete(view);
    else this.putBack(view);
    this.startNext();
  }

  private startNext(): void {
    if (this.running !== undefined || this.ready !== undefined || this.options.signal.aborted) return;
    for (const view of this.waiting) {
      this.waiting.delete(view);
      this.again.delete(view);
      this.running = view;
      void this.approach(view).then((offset) => {
        this.running = undefined;
        if (offset !== undefined) this.ready = { view, offset };
        else {
          this.putBack(view);
          this.startNext();
        }
        this.options.notify();
      });
      return;
    }
  }

  /** It did not answer to the end. While it is connected, nothing but time may say that it can now: it had no room, say. */
  private putBack(view: NodeView): void {
    if (this.again.has(view)) this.waiting.add(view);
    else if (this.options.meeting(view)) {
      const failures = (this.failed.get(view)?.failures ?? 0) + 1;
      const timer = setTimeout(() => this.add(view), reconnectDelayMs(failures, false)).unref();
      this.failed.set(view, { failures, timer });
    }
  }

  /** Two rounds: what came during the first, long one is little for the second. Resolves with where the second began. */
  private async approach(view: NodeView): Promise<number | undefined> {
    let offset: number | undefined;
    for (let rounds = 0; rounds < 2; rounds++) {
      // Both of this moment: what the log has before the offset lies before the meeting.
      offset = this.options.offset(view);
      const to = this.options.meeting(view);
      if (to === undefined || !(await this.attempt(view, to))) return undefined;
    }
    return offset;
  }

  private async attempt(view: NodeView, to: Position): Promise<boolean> {
    const { round, signal } = this.options;
    try {
      return await round(view, to, signal);
    } catch {
      // The subscription has ended, or the subscriber went: its own loop says so.
      return false;
    }
  }
}
