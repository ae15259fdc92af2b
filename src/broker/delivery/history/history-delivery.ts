/**
 * Delivers recorded history to one subscription: the past of its window from all
 * nodes, or of one node that is late. It keeps the subscription's position up to
 * date, and sums up for the subscriber what each node could answer.
 */
import { BackplaneError } from '../../../errors.js';
import type { BytePool } from '../../../flow/byte-pool.js';
import { HISTORY_STALL_MS, RETRY_AFTER_MS } from '../../../limits.js';
import { documentLogOf } from '../../../wire/event/document-topics.js';
import { positionToMessage } from '../../../wire/messages.js';
import type { Position } from '../../../wire/position.js';
import type { NodeView } from '../cursor/node-view.js';
import { goneNodes } from '../gone-nodes.js';
import type { PlannedSubscription } from '../planned-subscription.js';
import { ledgerMessage } from '../selectors/ledger.js';
import { plus } from '../selectors/tally.js';
import type { MissingStretch, NodeQuery, UnsoundStretch } from './clipped-answer.js';
import { CoverageSum, type LaterRecording } from './coverage.js';
import type { HistorySource } from './history-merge.js';
import { type ReplayedRun, replay } from './replay.js';

export class HistoryDelivery {
  readonly #coverage = new CoverageSum();
  readonly #subscription: PlannedSubscription;

  constructor(subscription: PlannedSubscription) {
    this.#subscription = subscription;
  }

  /**
   * Delivers the past of the window; stops when the limit is reached. Returns the nodes that did not answer to the end,
   * whose views become late.
   * @param recordedLater nodes that are not asked because their recording starts after the window
   */
  async deliverWindow(
    queries: readonly NodeQuery[],
    recordedLater: ReadonlyMap<string, LaterRecording> = new Map(),
  ): Promise<ReadonlySet<string>> {
    const { broker, checked, start, outlet } = this.#subscription;
    for (const [node, recording] of recordedLater) this.#coverage.recordedLater(node, recording);
    // A node that goes while the others answer was there to be asked, so its own answer tells what is missing.
    const gone = goneNodes(broker.registry, checked);
    await this.#subscription.documents?.tellExpired(outlet);
    const documents = this.#subscription.documents?.sources(outlet) ?? [];
    const failed = await this.#deliver(queries, checked.window.last, documents).finally(() => {
      for (const source of documents) source.close();
    });
    this.#coverage.gone(gone, start.windowFromNs(outlet.ledger.events, this.#coverage));
    return failed;
  }

  /** Delivers a late node's history up to `to`, and its coverage. Resolves with false when the node failed. */
  async deliverLate(view: NodeView, to: Position): Promise<boolean> {
    const failed = await this.#deliver([this.#subscription.planner.late(view, to)], 0);
    if (failed.size > 0) return false;
    // Everything up to `to` was asked for, even if nothing matched, so the next round begins there.
    view.reached(to);
    await this.tellCoverage();
    return true;
  }

  async tellCoverage(): Promise<void> {
    const { selectors, position, outlet } = this.#subscription;
    await position.makeNotes();
    await outlet.message(this.#coverage.message(position.cursor(), ledgerMessage(outlet, selectors)));
  }

  async #deliver(
    queries: readonly NodeQuery[],
    last: number,
    beside: readonly HistorySource[] = [],
  ): Promise<ReadonlySet<string>> {
    const { broker, selectors, position, outlet, signal } = this.#subscription;
    const failed = new Set<string>();
    const enough = new AbortController();
    const onFailed = (node: string) => {
      failed.add(node);
      this.#apart(node, undefined);
    };
    // By its own clock, the node may record later events at a time that the merged order has already passed.
    const onEnded = (node: string, reached: Position | undefined) => {
      if (position.replaying || reached) this.#apart(node, reached);
    };
    try {
      const outcomes = await replay(
        broker,
        queries,
        selectors,
        {
          client: outlet.client,
          last,
          beside,
          signal: AbortSignal.any([signal, enough.signal]),
          onFailed,
          onEnded,
          onUnsound: (stretch) => this.#unsound(stretch),
          onMissing: (stretch) => this.#missing(stretch),
        },
        async (run) => {
          // Live events that are delivered at the same time may have reached the limit.
          if (outlet.left > 0) await this.#run(run);
          if (outlet.left <= 0) enough.abort();
        },
      );
      for (const [node, outcome] of outcomes) {
        this.#coverage.ended(node, outcome, broker.registry.record(node)?.replaced);
        // The counts in `ahead` lack the events that could not be read, so they must not be used.
        const whole = outcome.kind === 'end' && outcome.end.damagedBytes === '0';
        if (!whole) position.views.get(node)?.forgetAhead();
      }
    } catch (cause) {
      if (!enough.signal.aborted) throw cause;
    }
    return failed;
  }

  /**
   * From here the node's own position, not the merged order, says how much was delivered.
   * @param reached undefined: up to its last event that was
   */
  #apart(node: string, reached: Position | undefined): void {
    const view = this.#subscription.position.views.get(node);
    if (view === undefined) return;
    view.wentLate();
    if (reached) view.reached(reached);
  }

  async #run(run: ReplayedRun): Promise<void> {
    const { broker, selectors, position, outlet } = this.#subscription;
    const { node, topic } = run;
    await position.makeNotes();
    // The limit was reached during the wait: deliver nothing of the run, and leave the position before it.
    if (outlet.left <= 0) return;
    const { selection, end } = run.take(outlet.left, outlet.admit(node, topic));
    const view = position.views.get(node);
    if (view) {
      const ahead = view.ahead(topic);
      if (ahead) view.setAhead(topic, { ...ahead, tally: plus(ahead.tally, run.countBehind(ahead.from)) });
      view.reached(end.position);
    }
    // Nodes that start late lie before the place in merged order, which does not go back for them.
    position.replayedTo(end);
    if (documentLogOf(topic) === undefined) this.#coverage.delivered(node, selection.count, run.startNs);
    else this.#subscription.documents?.reached(topic, end.position);
    outlet.count('throttled', topic, selectors.refused(selection));
    if (selection.count === 0) return;
    const header = { node, topic, history: true, cursor: position.cursor() };
    await readInTime(outlet.batch(header, selection), broker.historyPool);
  }

  /**
   * Reports as a gap what a recorder lacks, before a cursor is behind it. Coverage says how much, but only at the end: an
   * answer may break off, and so may the subscriber's stream.
   */
  async #missing({ node, from, to }: MissingStretch): Promise<void> {
    const { broker, outlet } = this.#subscription;
    const gap = {
      node,
      from: from ? positionToMessage(from) : null,
      to: to ? positionToMessage(to) : null,
      eventsUnknown: true,
      reason: 'kernel_overrun',
      message: 'of this stretch the recorder of the node lacks something: it was lost, or is no longer recorded',
    };
    await readInTime(outlet.message({ gap }), broker.historyPool);
  }

  /** Reports invalid events as a gap. With refills the reason is `evicted`, because no refill can bring them either. */
  async #unsound({ node, topic, from, to, reason }: UnsoundStretch): Promise<void> {
    const { broker, checked, outlet } = this.#subscription;
    const gap = {
      node,
      topic,
      from: from ? positionToMessage(from) : null,
      to: positionToMessage(to),
      eventsUnknown: true,
      reason: checked.refill ? 'evicted' : 'refused',
      message: `what the node sent is not all events: ${reason}`.slice(0, 512),
    };
    await readInTime(outlet.message({ gap }), broker.historyPool);
  }
}

/**
 * Awaits a write to the subscriber. A subscriber that does not read keeps its share of the pool while nobody else waits
 * for it. Throws resource_exhausted after HISTORY_STALL_MS without reading when others wait.
 */
export async function readInTime(write: Promise<void>, pool: BytePool): Promise<void> {
  const written = write.then(() => true);
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const stalled = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), HISTORY_STALL_MS);
    });
    const done = await Promise.race([written, stalled]).finally(() => clearTimeout(timer));
    if (done) return;
    if (!pool.contended) continue;
    const message = `nothing of the history was read for ${HISTORY_STALL_MS / 1000} s, and others wait`;
    throw new BackplaneError('resource_exhausted', `${message}: resume with the last cursor`, {
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
}
