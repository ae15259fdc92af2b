/**
 * Nodes whose history comes after the subscription has gone live: one at a
 * time, beside the live stream, in rounds up to the moment's end of the log;
 * the last round, which is short, is run by the live loop itself, so that
 * history meets the tail while the tail stands still.
 */
import { reconnectDelayMs } from '../../../flow/reconnect.js';
import { within } from '../../../flow/within.js';
import { LATE_ROUND_MS } from '../../../limits.js';
import type { Position } from '../../../wire/position.js';
import { comparePositions } from '../../../wire/position.js';
import type { NodeView } from '../cursor/node-view.js';

/** Delivers a node's history up to `to`; false when the node failed: it is asked again later. */
export type RunRound = (view: NodeView, to: Position, signal: AbortSignal) => Promise<boolean>;

export class LateNodes {
  private readonly waiting = new Set<NodeView>();
  /** Could be asked again while what they were asked before was not over yet. */
  private readonly again = new Set<NodeView>();
  /** Of nodes that failed: how often in a row, and when they are asked again. */
  private readonly failed = new Map<NodeView, { readonly failures: number; readonly timer: NodeJS.Timeout }>();
  private running: NodeView | undefined;
  private ready: { readonly view: NodeView; readonly reached: Position } | undefined;

  constructor(
    private readonly meeting: (view: NodeView) => Position | undefined,
    private readonly round: RunRound,
    private readonly notify: () => void,
    private readonly signal: AbortSignal,
  ) {}

  /** The node can be asked (again). */
  add(view: NodeView): void {
    clearTimeout(this.failed.get(view)?.timer);
    if (this.running === view || this.ready?.view === view) this.again.add(view);
    else this.waiting.add(view);
    this.startNext();
  }

  /**
   * For the live loop, which waits for it: the node whose history has all but
   * met the tail is brought up to it. The view that is live from here on.
   */
  async join(): Promise<NodeView | undefined> {
    if (this.ready === undefined) return undefined;
    const { view, reached } = this.ready;
    this.ready = undefined;
    const to = this.meeting(view);
    let inTime = true;
    let met = to !== undefined && comparePositions(to, reached) <= 0;
    // A node that stalls here would stall the others' events: it gets little time, and comes again later.
    if (to && !met)
      met = await within(LATE_ROUND_MS, this.signal, async (deadline) => {
        const done = await this.attempt(view, to, deadline);
        inTime = !deadline.aborted;
        return done;
      });
    if (to && met) {
      view.state = 'live';
      view.skip = comparePositions(to, reached) > 0 ? to : reached;
      this.failed.delete(view);
    } else this.putBack(view, !inTime);
    this.startNext();
    return met ? view : undefined;
  }

  private startNext(): void {
    if (this.running !== undefined || this.ready !== undefined || this.signal.aborted) return;
    for (const view of this.waiting) {
      this.waiting.delete(view);
      this.again.delete(view);
      this.running = view;
      void this.approach(view).then((reached) => {
        this.running = undefined;
        if (reached) this.ready = { view, reached };
        else {
          this.putBack(view);
          this.startNext();
        }
        this.notify();
      });
      return;
    }
  }

  /** It did not answer to the end. While it is connected, nothing but time may say that it can now: it had no room, say. */
  private putBack(view: NodeView, soon = false): void {
    if (soon || this.again.has(view)) this.waiting.add(view);
    else if (this.meeting(view)) {
      const failures = (this.failed.get(view)?.failures ?? 0) + 1;
      const timer = setTimeout(() => this.add(view), reconnectDelayMs(failures, false)).unref();
      this.failed.set(view, { failures, timer });
    }
  }

  /** Two rounds: what came during the first, long one is little for the second. */
  private async approach(view: NodeView): Promise<Position | undefined> {
    let reached: Position | undefined;
    for (let rounds = 0; rounds < 2; rounds++) {
      const to = this.meeting(view);
      if (to === undefined || !(await this.attempt(view, to, this.signal))) return undefined;
      reached = to;
    }
    return reached;
  }

  private async attempt(view: NodeView, to: Position, signal: AbortSignal): Promise<boolean> {
    try {
      return await this.round(view, to, signal);
    } catch {
      // The subscription has ended, or the subscriber went: its own loop says so.
      return false;
    }
  }
}
