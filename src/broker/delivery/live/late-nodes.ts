/**
 * Delivers history of nodes after the subscription has gone live: one node at a
 * time, in parallel to the live stream, in rounds that each end at the log's end
 * at that moment. The live loop reads from the log what came during the last,
 * short round, so that history reaches the log's end however slow the node is.
 */
import { reconnectDelayMs } from '../../../flow/reconnect.js';
import type { Position } from '../../../wire/position.js';
import type { NodeView } from '../cursor/node-view.js';

/** Delivers a node's history up to `to`; resolves with false when the node failed, which is then asked again later. */
export type RunRound = (view: NodeView, to: Position) => Promise<boolean>;

/** A node whose history was delivered up to the frames before an offset of the log. */
export interface Approached {
  readonly view: NodeView;
  readonly offset: number;
  /** See LateNodesOptions.rewinds. */
  readonly rewinds: number;
}

export interface LateNodesOptions {
  /** Position up to which history is needed at this moment; undefined when the node cannot be asked. */
  readonly meeting: (view: NodeView) => Position | undefined;
  readonly round: RunRound;
  /** Offset of the live loop in the node's partition. The loop passed over the node's frames before it. */
  readonly offset: (view: NodeView) => number;
  /** How often the log of the node's partition went back. */
  readonly rewinds: (view: NodeView) => number;
  /** Called when join() may have a node. */
  readonly notify: () => void;
  readonly signal: AbortSignal;
}

export class LateNodes {
  readonly #waiting = new Set<NodeView>();
  /** Nodes that add() was called for while they were already being worked on: they are retried at once on failure. */
  readonly #again = new Set<NodeView>();
  /** Nodes that failed: the number of failures in a row, and the timer of the next try. */
  readonly #failed = new Map<NodeView, { readonly failures: number; readonly timer: NodeJS.Timeout }>();
  #running: NodeView | undefined;
  #ready: Approached | undefined;

  readonly #options: LateNodesOptions;

  constructor(options: LateNodesOptions) {
    this.#options = options;
  }

  /** Call this when the node can be asked, or asked again. */
  add(view: NodeView): void {
    clearTimeout(this.#failed.get(view)?.timer);
    if (this.#running === view || this.#ready?.view === view) this.#again.add(view);
    else this.#waiting.add(view);
    this.#startNext();
  }

  /**
   * For the live loop: calls `read` when a node waits for the rest of its frames, which are in the log. `read` resolves
   * with false when the log could not be read; the node is then asked again.
   */
  async join(read: (approached: Approached) => Promise<boolean>): Promise<void> {
    const ready = this.#ready;
    if (ready === undefined) return;
    const isLive = await read(ready);
    this.#ready = undefined;
    if (isLive) this.#failed.delete(ready.view);
    else this.#putBack(ready.view);
    this.#startNext();
  }

  #startNext(): void {
    if (this.#running !== undefined || this.#ready !== undefined || this.#options.signal.aborted) return;
    for (const view of this.#waiting) {
      this.#waiting.delete(view);
      this.#again.delete(view);
      this.#running = view;
      void this.#approach(view).then((approached) => {
        this.#running = undefined;
        this.#ready = approached;
        if (approached === undefined) {
          this.#putBack(view);
          this.#startNext();
        }
        this.#options.notify();
      });
      return;
    }
  }

  /**
   * Schedules another try for a node that did not answer to the end. A timer is needed because a connected node, for
   * example a busy one, reports no change when it can answer again.
   */
  #putBack(view: NodeView): void {
    if (this.#again.has(view)) this.#waiting.add(view);
    else if (this.#options.meeting(view)) {
      const failures = (this.#failed.get(view)?.failures ?? 0) + 1;
      const timer = setTimeout(() => this.add(view), reconnectDelayMs(failures, false)).unref();
      this.#failed.set(view, { failures, timer });
    }
  }

  /**
   * Runs two rounds, because the second only has what came during the first and is short. Resolves with the offset at
   * which the second began, or undefined when the node failed.
   */
  async #approach(view: NodeView): Promise<Approached | undefined> {
    let offset = 0;
    const rewinds = this.#options.rewinds(view);
    for (let rounds = 0; rounds < 2; rounds++) {
      // Both are of the same moment, so all of the node's frames before `offset` lie before `to`.
      offset = this.#options.offset(view);
      const to = this.#options.meeting(view);
      if (to === undefined || !(await this.#attempt(view, to))) return undefined;
    }
    return { view, offset, rewinds };
  }

  async #attempt(view: NodeView, to: Position): Promise<boolean> {
    try {
      return await this.#options.round(view, to);
    } catch {
      // The subscription has ended, or the subscriber went: the subscription's own loop reports that.
      return false;
    }
  }
}
