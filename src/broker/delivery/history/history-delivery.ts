/** Delivers recorded history of some nodes to one subscription, and keeps the subscription's position up to date. */
import { BackplaneError } from '../../../errors.js';
import type { BytePool } from '../../../flow/byte-pool.js';
import { HISTORY_STALL_MS } from '../../../limits.js';
import { positionToMessage } from '../../../wire/messages.js';
import type { Position } from '../../../wire/position.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { NodeRoute } from '../../nodes/node-route.js';
import type { SubscriptionPosition } from '../cursor/subscription-position.js';
import type { Outlet } from '../outlet.js';
import type { NodeQuery, UnsoundStretch } from './clipped-answer.js';
import type { CoverageSum } from './coverage.js';
import { compareKeys, type HistoryKey } from './history-merge.js';
import { type ReplayedRun, replay } from './replay.js';

export interface HistoryDeliveryOptions {
  readonly queries: readonly NodeQuery[];
  readonly last: number;
  /** True when the subscription's position is a place in merged order until the delivery has ended. */
  readonly leading: boolean;
  readonly signal: AbortSignal;
}

export class HistoryDelivery {
  readonly #registry: NodeRegistry;
  readonly #route: NodeRoute;
  readonly #pool: BytePool;
  readonly #outlet: Outlet;
  readonly #standing: SubscriptionPosition;
  /** Whether the subscription asked for refills, so that gaps told as shed, skipped or refused are filled later. */
  readonly #refilled: boolean;

  constructor(
    registry: NodeRegistry,
    route: NodeRoute,
    pool: BytePool,
    outlet: Outlet,
    standing: SubscriptionPosition,
    refilled: boolean,
  ) {
    this.#registry = registry;
    this.#route = route;
    this.#pool = pool;
    this.#outlet = outlet;
    this.#standing = standing;
    this.#refilled = refilled;
  }

  /** Returns the nodes that did not answer to the end, whose views become late. Stops when the limit is reached. */
  async deliver(options: HistoryDeliveryOptions, coverage: CoverageSum): Promise<ReadonlySet<string>> {
    const failed = new Set<string>();
    const enough = new AbortController();
    const signal = AbortSignal.any([options.signal, enough.signal]);
    const onFailed = (node: string) => {
      failed.add(node);
      this.#apart(node, undefined);
    };
    // By its own clock, the node may record later events at a time that the merged order has already passed.
    const onEnded = ({ node, request: { upTo } }: NodeQuery) => {
      if (options.leading && upTo) this.#apart(node, upTo);
    };
    try {
      const { last, queries } = options;
      const outcomes = await replay(
        this.#registry,
        this.#route,
        this.#pool,
        queries,
        {
          client: this.#outlet.client,
          last,
          signal,
          onFailed,
          onEnded,
          onUnsound: (stretch) => this.#unsound(stretch),
        },
        async (run) => {
          // Live events that are delivered at the same time may have reached the limit.
          if (this.#outlet.left > 0) await this.#run(run, options, coverage);
          if (this.#outlet.left <= 0) enough.abort();
        },
      );
      for (const [node, outcome] of outcomes) {
        coverage.ended(node, outcome);
        // The counts in `ahead` lack the events that could not be read, so they must not be used.
        const whole = outcome.kind === 'end' && outcome.end.damagedBytes === '0';
        if (!whole) this.#standing.views.get(node)?.ahead.clear();
      }
    } catch (cause) {
      if (!enough.signal.aborted) throw cause;
    }
    return failed;
  }

  /** From here the node's own position, not the merged order, says how much was delivered. */
  #apart(node: string, reached: Position | undefined): void {
    const view = this.#standing.views.get(node);
    if (view === undefined) return;
    view.wentLate();
    if (reached) view.reached(reached);
  }

  async #run(run: ReplayedRun, { leading }: HistoryDeliveryOptions, coverage: CoverageSum): Promise<void> {
    const { node, topic } = run;
    await this.#standing.makeNotes();
    // The limit was reached during the wait: deliver nothing of the run, and leave the position before it.
    if (this.#outlet.left <= 0) return;
    const { selection, end } = run.take(this.#outlet.left, this.#outlet.admit(node, topic));
    const view = this.#standing.views.get(node);
    if (view) {
      const ahead = view.ahead.get(topic);
      if (ahead) view.ahead.set(topic, { ...ahead, events: ahead.events + run.countBehind(ahead.from) });
      view.reached(end.position);
    }
    if (leading) this.#lead(end);
    coverage.delivered(node, selection.count, run.startNs);
    this.#outlet.count({ throttled: selection.refused });
    if (selection.count === 0) return;
    const header = { node, topic, history: true, cursor: this.#standing.cursor() };
    await readInTime(this.#outlet.batch(header, selection), this.#pool);
  }

  /** Reports invalid events as a gap. With refills the reason is `evicted`, because no refill can bring them either. */
  async #unsound({ node, topic, from, to, reason }: UnsoundStretch): Promise<void> {
    const gap = {
      node,
      topic,
      from: from ? positionToMessage(from) : null,
      to: positionToMessage(to),
      eventsUnknown: true,
      reason: this.#refilled ? 'evicted' : 'refused',
      message: `what the node sent is not all events: ${reason}`.slice(0, 512),
    };
    await readInTime(this.#outlet.message({ gap }), this.#pool);
  }

  /** Advances the place in merged order. Nodes that start late lie before it, and it must never go back. */
  #lead(end: HistoryKey): void {
    const { history } = this.#standing;
    if (history === undefined || compareKeys(end, history) > 0) this.#standing.history = end;
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
    throw new BackplaneError('resource_exhausted', `${message}: resume with the last cursor`);
  }
}

/** A key that sorts before all nodes' events of that time. */
export function keyAtTime(wallNs: bigint): HistoryKey {
  return { wallNs, node: '', position: { epoch: 0, timeNs: 0n, lane: 0, tie: 0 } };
}
