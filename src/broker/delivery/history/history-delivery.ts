/** Delivers recorded history of some nodes to one subscription, and keeps its standing true meanwhile. */
import { BackplaneError } from '../../../errors.js';
import type { BytePool } from '../../../flow/byte-pool.js';
import { HISTORY_STALL_MS } from '../../../limits.js';
import { positionToMessage } from '../../../wire/messages.js';
import type { Position } from '../../../wire/position.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { SubscriptionPosition } from '../cursor/subscription-position.js';
import type { Outlet } from '../outlet.js';
import type { NodeQuery, UnsoundStretch } from './clipped-answer.js';
import type { CoverageSum } from './coverage.js';
import { compareKeys, type HistoryKey } from './history-merge.js';
import { type ReplayedRun, replay } from './replay.js';

export interface HistoryDeliveryOptions {
  readonly queries: readonly NodeQuery[];
  readonly last: number;
  /** The merged order is the subscription's place until this is over. */
  readonly leading: boolean;
  readonly signal: AbortSignal;
}

export class HistoryDelivery {
  constructor(
    private readonly registry: NodeRegistry,
    private readonly pool: BytePool,
    private readonly outlet: Outlet,
    private readonly standing: SubscriptionPosition,
    /** What is told as shed, skipped or refused comes later. */
    private readonly refilled: boolean,
  ) {}

  /** Returns the nodes that did not answer to the end: their views are late. Stops when the limit is reached. */
  async deliver(options: HistoryDeliveryOptions, coverage: CoverageSum): Promise<ReadonlySet<string>> {
    const failed = new Set<string>();
    const enough = new AbortController();
    const signal = AbortSignal.any([options.signal, enough.signal]);
    const onFailed = (node: string) => {
      failed.add(node);
      this.apart(node, undefined);
    };
    // What this node records from here on may be of a time, by its own clock, that merged order has passed already.
    const onEnded = ({ node, request: { upTo } }: NodeQuery) => {
      if (options.leading && upTo) this.apart(node, upTo);
    };
    try {
      const { last, queries } = options;
      const outcomes = await replay(
        this.registry,
        this.pool,
        queries,
        { client: this.outlet.client, last, signal, onFailed, onEnded, onUnsound: (stretch) => this.unsound(stretch) },
        async (run) => {
          // Live events that come beside it may have reached the limit.
          if (this.outlet.left > 0) await this.run(run, options, coverage);
          if (this.outlet.left <= 0) enough.abort();
        },
      );
      for (const [node, outcome] of outcomes) {
        coverage.ended(node, outcome);
        // What could not be read is not counted.
        const whole = outcome.kind === 'end' && outcome.end.damagedBytes === '0';
        if (!whole) this.standing.views.get(node)?.ahead.clear();
      }
    } catch (cause) {
      if (!enough.signal.aborted) throw cause;
    }
    return failed;
  }

  /** Merged order says no longer how much of the node was delivered: its own position does, or what it had before. */
  private apart(node: string, reached: Position | undefined): void {
    const view = this.standing.views.get(node);
    if (view === undefined) return;
    view.wentLate();
    if (reached) view.reached(reached);
  }

  private async run(run: ReplayedRun, { leading }: HistoryDeliveryOptions, coverage: CoverageSum): Promise<void> {
    const { node, topic } = run;
    await this.standing.makeNotes();
    // Reached by what came beside, or before this run: nothing of it is delivered, and no cursor says so.
    if (this.outlet.left <= 0) return;
    const { selection, end } = run.take(this.outlet.left, this.outlet.admit(node, topic));
    const view = this.standing.views.get(node);
    if (view) {
      const ahead = view.ahead.get(topic);
      if (ahead) view.ahead.set(topic, { ...ahead, events: ahead.events + run.countBehind(ahead.from) });
      view.reached(end.position);
    }
    if (leading) this.lead(end);
    coverage.delivered(node, selection.count, run.startNs);
    this.outlet.count({ throttled: selection.refused });
    if (selection.count === 0) return;
    const header = { node, topic, history: true, cursor: this.standing.cursor() };
    await readInTime(this.outlet.batch(header, selection), this.pool);
  }

  /** Nobody can take them from the recorder: also where refills were asked for, no more comes of them. */
  private async unsound({ node, topic, from, to, reason }: UnsoundStretch): Promise<void> {
    const gap = {
      node,
      topic,
      from: from ? positionToMessage(from) : null,
      to: positionToMessage(to),
      eventsUnknown: true,
      reason: this.refilled ? 'evicted' : 'refused',
      message: `what the node sent is not all events: ${reason}`.slice(0, 512),
    };
    await readInTime(this.outlet.message({ gap }), this.pool);
  }

  /** Nodes that come late begin before the place that the others have reached: it never goes back. */
  private lead(end: HistoryKey): void {
    const { history } = this.standing;
    if (history === undefined || compareKeys(end, history) > 0) this.standing.history = end;
  }
}

/** Whoever asks and does not read keeps what it holds for as long as nobody else wants it. */
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
    throw new BackplaneError('resource_exhausted', `${message}: resume with the last cursor`);
  }
}

/** Sorts before every node's events of that time. */
export function keyAtTime(wallNs: bigint): HistoryKey {
  return { wallNs, node: '', position: { epoch: 0, timeNs: 0n, lane: 0, tie: 0 } };
}
