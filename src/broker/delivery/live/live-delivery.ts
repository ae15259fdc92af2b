/**
 * The live part of one subscription, a loop until its end: serve nodes that have
 * changed, join late nodes to the log, deliver what the logs have, send notices.
 * History of late nodes and refills are delivered beside the loop.
 */
import { Turns } from '../../../flow/turns.js';
import { NOTICE_INTERVAL_MS, NOTICE_SLACK_MS, UNTIL_GRACE_MS } from '../../../limits.js';
import { msToNs, wallNowNs } from '../../../nanoseconds.js';
import { partitionOf } from '../../log/partition-log.js';
import type { NodeView } from '../cursor/node-view.js';
import { HistoryDelivery } from '../history/history-delivery.js';
import { Refill } from '../history/refill.js';
import type { PlannedSubscription } from '../planned-subscription.js';
import { type Approached, LateNodes } from './late-nodes.js';
import { LogDelivery } from './log-delivery.js';
import type { NodeWatch } from './node-watch.js';
import { Notices } from './notices.js';

export class LiveDelivery {
  readonly #notices: Notices;
  #noticedMs = performance.now();
  /** When notices are due. */
  #dueMs = this.#noticedMs + NOTICE_INTERVAL_MS;
  /** Whether something happened since the last notices. */
  #stirred = true;
  /** Undefined until a node is late. */
  #late: LateNodes | undefined;
  readonly #log: LogDelivery;
  /** Undefined when refills were not asked for. */
  readonly #refill: Refill | undefined;

  readonly #subscription: PlannedSubscription;
  readonly #watch: NodeWatch;

  constructor(subscription: PlannedSubscription, watch: NodeWatch) {
    this.#subscription = subscription;
    this.#watch = watch;
    this.#notices = new Notices(subscription.selectors);
    this.#log = new LogDelivery(subscription, watch, this.#notices);
    this.#refill = subscription.checked.refill ? new Refill(subscription) : undefined;
  }

  /**
   * Returns when the limit or the end of the window is reached, or the signal fires.
   * @param failed nodes that did not answer to the end, which are asked again first
   */
  async run(failed: ReadonlySet<string>): Promise<void> {
    for (const node of failed) this.#watch.changed(node);
    // A node that could not be served at the plan may not change again, so every node is looked at once.
    for (const { name } of this.#subscription.broker.registry.all()) this.#watch.changed(name);
    this.#subscription.outlet.precededBy(this.#notices);
    const leave = this.#subscription.broker.silence.join();
    try {
      if (this.#refill) await this.#refill.during(() => this.#loop());
      else await this.#loop();
    } finally {
      leave();
    }
  }

  async #loop(): Promise<void> {
    const { outlet, wake, signal } = this.#subscription;
    const turns = new Turns();
    while (!signal.aborted) {
      await this.#serveChanged();
      await this.#late?.join((approached) => this.#join(approached));
      if (outlet.left <= 0) return this.#notify();
      const idle = await this.#log.readRound(turns);
      if (outlet.left <= 0) return this.#notify();
      const none = await this.#readDocuments(turns);
      if (outlet.left <= 0) return this.#notify();
      if (performance.now() >= this.#dueMs) await this.#notify();
      if (this.#ended()) return this.#notify();
      if (!(idle && none)) {
        this.#stir();
        if (turns.over) await turns.give();
        continue;
      }
      if (await wake.wait(signal, this.#waitMs())) this.#stir();
      turns.waited();
    }
  }

  /** How long nothing has to be told. While events come, notices that are due go with the next of them. */
  #waitMs(): number {
    const slackMs = this.#stirred ? NOTICE_SLACK_MS : 0;
    return Math.max(0, Math.ceil(this.#dueMs + slackMs - performance.now()));
  }

  /** Who was told of silence less often is told soon again. */
  #stir(): void {
    this.#stirred = true;
    this.#refill?.stir();
    this.#dueMs = Math.min(this.#dueMs, this.#noticedMs + NOTICE_INTERVAL_MS);
  }

  async #join(approached: Approached): Promise<boolean> {
    const isLive = await this.#log.join(approached);
    if (isLive) this.#stir();
    return isLive;
  }

  /** Returns true when there was none. */
  async #readDocuments(turns: Turns): Promise<boolean> {
    const { documents, position, outlet } = this.#subscription;
    return documents === undefined || (await documents.readRound(turns, position, outlet));
  }

  /** Tells the status of nodes that connected, disconnected or acknowledged, and starts to serve those that can be. */
  async #serveChanged(): Promise<void> {
    const { broker, planner, position, outlet } = this.#subscription;
    for (const { node, status } of this.#watch.takeChanged()) {
      if (status) await outlet.message(status);
      const view = position.views.get(node) ?? planner.join(node);
      if (view?.state === 'late' && broker.route.reaches(node) && planner.meeting(node)) {
        this.#late ??= this.#lateNodes();
        this.#late.add(view);
      }
    }
  }

  #lateNodes(): LateNodes {
    const subscription = this.#subscription;
    const { planner, position, wake, signal } = subscription;
    return new LateNodes({
      meeting: ({ node }) => planner.meeting(node),
      round: (view, to) => new HistoryDelivery(subscription).deliverLate(view, to),
      offset: ({ node }) => position.places[partitionOf(node)]!.delivered,
      rewinds: ({ node }) => position.places[partitionOf(node)]!.rewinds,
      notify: () => wake.notify(),
      signal,
    });
  }

  async #notify(): Promise<void> {
    const { position, outlet, broker, checked } = this.#subscription;
    const often = this.#stirred || checked.window.untilNs !== undefined;
    const intervalMs = often ? NOTICE_INTERVAL_MS : broker.silence.intervalMs();
    this.#stirred = false;
    this.#noticedMs = performance.now();
    this.#dueMs = this.#noticedMs + intervalMs;
    for (const place of position.places) place.tellPassed();
    await outlet.gaps();
    const views = [...position.views.values()];
    await position.makeNotes();
    let [cursor, bytes] = [position.cursor(), outlet.bytes];
    // Whoever is told of silence less often is told in one word, or telling it would be most of what a broker does.
    const watermarks =
      intervalMs > NOTICE_INTERVAL_MS
        ? this.#notices.takeCommonWatermark(views, position.topics)
        : this.#notices.takeWatermarks(views, position.topics);
    for (const watermark of watermarks) {
      // History that is delivered beside the loop got further during the last write, and no cursor may go back.
      if (outlet.bytes !== bytes) {
        await position.makeNotes();
        [cursor, bytes] = [position.cursor(), outlet.bytes];
      }
      await outlet.message({ watermark: { ...watermark, cursor } });
    }
    if (outlet.gapsOpen) await outlet.message({ watermark: { node: '', cursor: position.cursor() } });
  }

  /**
   * Whether the window has ended: every connected node has reached its end, or UNTIL_GRACE_MS have passed since, and
   * nothing is left to refill.
   */
  #ended(): boolean {
    const { checked, position } = this.#subscription;
    const { untilNs } = checked.window;
    if (untilNs === undefined) return false;
    const nowNs = wallNowNs();
    if (nowNs < untilNs) return false;
    if (this.#log.isHeldUp) return false;
    const overdue = nowNs > untilNs + msToNs(UNTIL_GRACE_MS);
    if (this.#subscription.documents?.ended(overdue) === false) return false;
    return [...position.views.values()].every(
      (view) => (overdue || this.#reachedEnd(view)) && !this.#refill?.owes(view),
    );
  }

  #reachedEnd(view: NodeView): boolean {
    const { broker, planner, position } = this.#subscription;
    const { node } = view;
    // A node that is not connected cannot deliver, so it is not waited for.
    if (!broker.route.reaches(node)) return true;
    // Nor one of which nobody knows from where its frames are complete; one that is served goes on while that is said anew.
    if (view.state !== 'live') return !planner.hold(node);
    return view.watermarkNs(position.topics) >= planner.untilNs(node)!;
  }
}
