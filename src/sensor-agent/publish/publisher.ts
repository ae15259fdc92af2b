/**
 * Publishes the events that the broker's interest asks for. While live, the
 * recorder's timeline tells it directly. When the uplink was away or is full it
 * falls behind: it drops what it collected and reads the recorder again from
 * the last position it sent. The flight recorder is the outbox, so unsent
 * events take no memory.
 *
 *   idle    nobody asks; the recorder's timeline tells nobody
 *   live    Recorder ──▶ its Timeline ──▶ #publish()
 *   behind  SegmentLog ──▶ Replay ──▶ another Timeline ──▶ #publish(); the recorder's timeline tells nobody
 *
 * The publisher only calls down: ask() and tellTo() on the recorder. Events come
 * back through the sink #live, which #become() alone hands to the recorder.
 */

import { Pacer } from '../../flow/pacer.js';
import { BUDGET_WAIT_MS_MAX, REPLAY_RETURN_TURN_MS, REPLAY_STEP_BYTES, SLOW_MATCHING_BURST_MS } from '../../limits.js';
import { msToNs, nsToMs } from '../../nanoseconds.js';
import { MaskUnions } from '../../subscriptions/mask-unions.js';
import type { BusEvent } from '../../wire/event/event.js';
import { type Frame, refusedFrame } from '../../wire/frame/frame.js';
import { comparePositions, laterPosition, type Position, positionBefore } from '../../wire/position.js';
import { cpuTimer } from '../cpu-time.js';
import type { Interest } from '../interest/interest.js';
import { anchorAtPosition, oldestAnchor } from '../recorder/anchors.js';
import type { Recorder } from '../recorder/recorder.js';
import { Replay } from '../recorder/replay.js';
import { mayBeOf, statedLoss } from '../timeline/open-losses.js';
import { Timeline } from '../timeline/timeline.js';
import { type Loss, NOTHING_ASKED, type TimelineSink } from '../timeline/timeline-sink.js';
import type { TimelineView } from '../timeline/timeline-view.js';
import type { LiveBudget } from './budget.js';
import { FrameBuilder } from './frame-builder.js';
import { LagAllowance } from './lag-allowance.js';

/** The connection that frames are sent on. */
export interface FrameLink {
  /** False while too many bytes are on their way to the broker: nothing should be sent. */
  readonly writable: boolean;
  /** Returns the frame's bytes on the wire. Throws when the frame is invalid, as a broker would refuse it. */
  send(frame: Frame): number;
}

/** How far the broker's log has this node's frames of one topic. */
export interface WelcomeTopic {
  readonly topic: string;
  readonly to: Position;
  /** Whether to go on from `to`, because interest was in force without a break. */
  readonly resume: boolean;
  /** The log's last frame of the topic ended exactly here. */
  readonly frameEnd: boolean;
}

const BUDGET_WAIT_NS_MAX = msToNs(BUDGET_WAIT_MS_MAX);
const UNKNOWN_LOSS: Loss = { count: 0, unknown: true };

type State = { kind: 'idle' } | { kind: 'live' } | { kind: 'behind'; replay: Replay };

export class Publisher {
  eventsMatched = 0;
  /** Events not sent because the node was over its budget, each counted once however many predicates match. */
  eventsShed = 0;
  #state: State = { kind: 'idle' };
  #interest: Interest | undefined;
  readonly #masks = new MaskUnions();
  #builders = new Map<string, FrameBuilder>();
  #floors = new Map<string, Position>();
  /** Topics whose next frame continues the log's last one, which ended exactly at the topic's floor. */
  #continued = new Set<string>();
  #resume: Position | undefined;
  #link: FrameLink | undefined;
  /**
   * Trace-clock nanoseconds up to which the recording timeline skipped entries that the present interest wants;
   * publishing may go live only beyond that.
   */
  #settledNs = 0n;
  /** Limits the CPU share of matching; undefined while matching is not slowed. */
  #pacer: Pacer | undefined;
  /** The recording timeline's frontier when an event last came too late for its place. */
  #lateAt: Position | undefined;
  #restToMs = 0;
  /** Live events gather for so long beyond a drain before they are sent, unless a frame is full; 0: they are not held. */
  #gatherMs = 0;
  #sentMs = 0;
  /** Whether publishing is behind for an outage, or for an interest that asks more. */
  #readsEarlier = false;
  /** Whether the recording was read to its end while publishing is behind. */
  #atEnd = false;
  /** The lag that is allowed on top of waiting for the budget. */
  readonly #lagAllowance = new LagAllowance();

  readonly #recorder: Recorder;
  readonly #budget: LiveBudget;
  /** Called with an invalid frame's topic; a frame that marks the stretch as refused goes out in its place. */
  readonly #onRefused: (topic: string, cause: unknown) => void;
  readonly #charge = (bytes: number, predicates: number): number => this.#budget.charge(bytes, predicates);
  /** What the recorder's timeline tells while publishing is live. */
  readonly #live: TimelineSink = {
    event: (event) => this.#publish(event, this.#recorder.timeline),
    loss: (loss, position, from) => this.#lose(loss, position, from),
    late: (event, told) => {
      this.#lateAt = told;
      this.#miss(event, told);
    },
  };

  constructor(
    recorder: Recorder,
    budget: LiveBudget,
    onRefused: (topic: string, cause: unknown) => void = () => undefined,
  ) {
    this.#recorder = recorder;
    this.#budget = budget;
    this.#onRefused = onRefused;
  }

  get live(): boolean {
    return this.#state.kind !== 'idle';
  }

  /** Whether events are read from the recorder again because publishing fell behind. */
  get behind(): boolean {
    return this.#state.kind === 'behind';
  }

  /** Whether it reads again what was recorded before the session, or before it was asked for: not what it fell behind with. */
  get catchesUp(): boolean {
    return this.behind && this.#readsEarlier && this.#pacer === undefined;
  }

  /** Begins a session with a broker. Nothing is published before the broker states its interest. */
  connect(link: FrameLink, covered: readonly WelcomeTopic[]): void {
    this.disconnect();
    this.#link = link;
    for (const { topic, to, resume, frameEnd } of covered) {
      this.#floors.set(topic, to);
      if (resume && frameEnd) this.#continued.add(topic);
      if (resume && (!this.#resume || comparePositions(to, this.#resume) < 0)) this.#resume = to;
    }
  }

  disconnect(): void {
    this.#become({ kind: 'idle' });
    const asked = this.#interest !== undefined;
    this.#interest = undefined;
    this.#builders.clear();
    this.#floors.clear();
    this.#continued.clear();
    this.#resume = undefined;
    this.#link = undefined;
    if (asked) this.#recorder.ask(NOTHING_ASKED);
  }

  /** Replaces the interest. Returns the position from which the new one holds for every predicate. */
  setInterest(interest: Interest): Position {
    const main = this.#recorder.timeline;
    // Pages already read may hold entries of these types that were skipped, so they are read again.
    const more = main.skippableTypes.some((type) => interest.asksMore(type, this.#interest));
    // Ends the open frames here, so that a new predicate's shed count begins at the position from which it holds.
    if (this.#interest && this.#link!.writable) {
      const timeline = this.#timeline;
      for (const builder of this.#builders.values()) this.#flush(builder, timeline);
    }
    this.#interest = interest;
    // While behind too, so that the recorder's timeline has all entries when publishing is live again.
    this.#recorder.ask(interest.empty ? NOTHING_ASKED : interest);
    const start = this.#resume ?? this.#timeline.frontier;
    for (const topic of this.#builders.keys()) if (!interest.topics.has(topic)) this.#builders.delete(topic);
    for (const topic of interest.topics) {
      if (this.#builders.has(topic)) continue;
      const from = laterPosition(start, this.#floors.get(topic));
      this.#builders.set(topic, new FrameBuilder(topic, from, this.#continued.has(topic)));
    }
    for (const { coverage } of this.#builders.values()) coverage.wake();
    // A topic that is asked for again later must begin new frames instead of continuing the old ones.
    this.#continued.clear();
    if (interest.empty) this.#become({ kind: 'idle' });
    else {
      const idle = this.#state.kind === 'idle';
      if (idle || more) this.#become({ kind: 'live' });
      else if (this.#state.kind === 'behind') this.#state.replay.ask(interest);
      if (more) this.#settledNs = main.passedOverNs;
      const late = idle && (comparePositions(start, main.frontier) < 0 || this.#missedSince(start));
      if (more || late || (idle && this.#pacer)) this.#fallBehind(start);
      if (more || late) this.#readsEarlier = true;
    }
    this.#stateOpenLosses();
    this.#resume = undefined;
    let holds = this.#timeline.frontier;
    for (const { coveredTo } of this.#builders.values()) if (comparePositions(coveredTo, holds) > 0) holds = coveredTo;
    return holds;
  }

  /** While matching is slowed: how long until there is something to do, at most `idleMs`; else undefined. */
  restMs(nowMs: number, idleMs: number): number | undefined {
    if (!this.#pacer || this.#state.kind !== 'behind') return undefined;
    return this.#atEnd ? idleMs : Math.min(idleMs, Math.max(0, this.#restToMs - nowMs));
  }

  /** How far what is sent is behind what is recorded, in trace-clock milliseconds; 0 while publishing is not behind. */
  get lagMs(): number {
    return this.#state.kind === 'behind' ? nsToMs(this.#lagNs(this.#state.replay)) : 0;
  }

  /** Live events gather for so long before they are sent, except what fills a frame. */
  gather(ms: number): void {
    this.#gatherMs = ms;
  }

  /**
   * Limits matching to this share of a core. Events that are not matched yet wait in the recorder, which is the outbox.
   * Undefined: no limit, so publishing returns to live as soon as it has caught up.
   */
  slow(share: number | undefined): void {
    this.#pacer = share === undefined ? undefined : new Pacer(share, SLOW_MATCHING_BURST_MS);
    this.#restToMs = 0;
    if (this.#pacer && this.#state.kind === 'live') this.#fallBehind();
  }

  /** Called after every drain: sends the collected frames; while behind, first reads on. */
  tick(nowMs: number): void {
    if (this.#state.kind === 'idle' || this.#gathers(nowMs)) return;
    if (this.#state.kind === 'behind') this.#catchUp(this.#state.replay, nowMs);
    // While behind, collected events wait until the link is writable; while live, #flush() falls behind instead.
    if (this.#state.kind === 'behind' && !this.#link!.writable) return;
    const builders = [...this.#builders.values()];
    for (const builder of builders) if (builder.telling || builder.sheds) builder.coverage.wake();
    // Coverage frames wait while the budget is overdrawn, as even an empty frame costs bytes.
    const due = builders.some(({ coverage }) => coverage.isDue(nowMs)) && this.#budget.solvent;
    for (const builder of builders) {
      const { telling, coverage } = builder;
      if (!telling && !(due && coverage.goesAlong(nowMs))) continue;
      coverage.stated(nowMs, telling);
      this.#flush(builder, this.#timeline);
    }
  }

  #gathers(nowMs: number): boolean {
    if (this.#state.kind === 'live' && nowMs - this.#sentMs < this.#gatherMs) return true;
    this.#sentMs = nowMs;
    return false;
  }

  /** The timeline that events come from at present. */
  get #timeline(): TimelineView {
    return this.#state.kind === 'behind' ? this.#state.replay.timeline : this.#recorder.timeline;
  }

  /** Changes the state, and with it whether the recorder's timeline tells its events here. */
  #become(state: State): void {
    if (this.#state.kind === 'behind') this.#state.replay.close();
    this.#state = state;
    if (state.kind !== 'behind') this.#readsEarlier = false;
    this.#recorder.tellTo(state.kind === 'live' ? this.#live : undefined);
  }

  #publish(event: BusEvent, timeline: TimelineView): void {
    const builder = this.#builders.get(event.topic);
    if (!builder || comparePositions(event.position, builder.coveredTo) <= 0) return;
    const matched = this.#interest!.match(event);
    if (matched.length === 0) return;
    const admitted = this.#budget.admits(event.topic);
    const ids = matched.map((predicate) => predicate.id);
    const otherEpoch = builder.last !== undefined && builder.last.epoch !== event.position.epoch;
    if (otherEpoch || (admitted ? builder.sheds : builder.count > 0)) {
      // A failed flush means that publishing fell behind: this event is then read again with the rest.
      if (!this.#flush(builder, timeline, otherEpoch ? builder.last : positionBefore(event.position))) return;
    }
    if (admitted) {
      builder.add(event, ids, this.#charge, this.#masks.of(matched));
    } else builder.shed(event.position, ids);
    if (builder.full) this.#flush(builder, timeline, event.position);
  }

  /** Whether an event came late at or after `start`: it must be read again even if nothing newer exists. */
  #missedSince(start: Position): boolean {
    return this.#lateAt !== undefined && comparePositions(this.#lateAt, start) >= 0;
  }

  /**
   * Counts a late event in the frame that covers what comes next. Without its side record a match cannot be decided, so
   * the event is not matched.
   */
  #miss(event: BusEvent, told: Position): void {
    const builder = this.#builders.get(event.topic);
    if (builder && comparePositions(told, builder.coveredTo) >= 0) builder.late();
  }

  #lose(loss: Loss, position: Position, from?: Position): void {
    const late = from !== undefined && comparePositions(from, position) === 0;
    for (const builder of this.#builders.values()) {
      const beyond = comparePositions(position, builder.coveredTo);
      if (beyond < 0 || (beyond === 0 && !late)) continue;
      const { last } = builder;
      // A frame of the previous epoch must not state a loss of this one.
      if (last && last.epoch !== position.epoch && !this.#flush(builder, this.#timeline, last)) return;
      const stated = statedLoss(loss, position);
      if (!stated) builder.lose(loss.count, loss.unknown);
      else if (mayBeOf(loss, builder.topic)) builder.state(stated);
    }
  }

  /** States every loss that goes on, so that new subscribers hear of it; others are not told again. */
  #stateOpenLosses(): void {
    const { openLosses, frontier } = this.#timeline;
    for (const loss of openLosses)
      for (const builder of this.#builders.values())
        if (mayBeOf(loss, builder.topic)) builder.state(statedLoss(loss, frontier)!);
  }

  /**
   * `to`: where the frame's coverage ends, by default the timeline's frontier. False: publishing fell behind instead.
   */
  #flush(builder: FrameBuilder, timeline: TimelineView, to = timeline.frontier): boolean {
    if (comparePositions(to, builder.coveredTo) <= 0) return true;
    if (this.#state.kind === 'live' && !this.#link!.writable) {
      this.#fallBehind();
      return false;
    }
    // All events of a frame are of one epoch, that of the position it covers.
    const end = builder.last && builder.last.epoch !== to.epoch ? builder.last : to;
    const { charged, count, shedCount } = builder;
    this.eventsMatched += count + shedCount;
    this.eventsShed += shedCount;
    this.#budget.settle(this.#send(builder.take(end, timeline.wallNs(end.timeNs))), charged);
    return true;
  }

  /**
   * Sends a frame. An invalid frame would be the same if matched again, so its stretch is stated as unknown, once, and
   * publishing goes on.
   */
  #send(frame: Frame): number {
    try {
      return this.#link!.send(frame);
    } catch (cause) {
      this.#onRefused(frame.topic, cause);
      return this.#link!.send(refusedFrame(frame));
    }
  }

  /** Drops what is not sent yet, to read it from the recorder again: from `start`, or from where frames ended. */
  #fallBehind(start?: Position): void {
    let from = start;
    for (const builder of this.#builders.values()) {
      this.#budget.settle(0, builder.charged);
      builder.abandon();
      if (!from || comparePositions(builder.coveredTo, from) < 0) from = builder.coveredTo;
    }
    if (!from) return;
    const { log } = this.#recorder;
    // A checkpoint at this very position may stand behind late events that are not stated yet, and pass over them.
    const anchor = anchorAtPosition(log, positionBefore(from)) ?? oldestAnchor(log);
    const timeline: Timeline = new Timeline(this.#interest, {
      event: (event) => {
        if (replay.unsureAt(event.position.timeNs)) this.#lose(UNKNOWN_LOSS, event.position);
        this.#publish(event, timeline);
      },
      loss: (loss, position, from) => this.#lose(loss, position, from),
      late: (event, told) => this.#miss(event, told),
    });
    const replay: Replay = new Replay(log, anchor, timeline);
    // The recorder no longer reaches back to where publishing stopped, so the size of the loss is unknown.
    if (!anchor || comparePositions(anchor.head.position, from) > 0) this.#lose(UNKNOWN_LOSS, timeline.frontier);
    this.#become({ kind: 'behind', replay });
    this.#atEnd = false;
    this.#stateOpenLosses();
    this.#lagAllowance.grant(this.#recorder.timeline.frontier.timeNs - from.timeNs);
  }

  #catchUp(replay: Replay, nowMs: number): void {
    const main = this.#recorder.timeline;
    const lagNs = this.#lagNs(replay);
    const held = !this.#link!.writable || nowMs < this.#restToMs;
    if (held) {
      this.#lagAllowance.grant(lagNs);
      return;
    }
    this.#lagAllowance.review(lagNs, nowMs);
    const startedMs = performance.now();
    const usedMs = cpuTimer();
    let more: boolean;
    let sent: Position | undefined;
    do {
      // Nothing is sent between the checkpoint and the last sent position, so the budget does not limit reading there.
      const sentTo = this.#sentTo;
      sent = sentTo && comparePositions(replay.timeline.frontier, sentTo) < 0 ? sentTo : undefined;
      const bytes = sent ? REPLAY_STEP_BYTES : this.#affordableBytes(replay);
      if (bytes === 0) return;
      more = this.#readOn(replay, bytes, sent);
    } while (
      more &&
      sent &&
      !this.#pacer &&
      this.#link!.writable &&
      performance.now() - startedMs < REPLAY_RETURN_TURN_MS
    );
    this.#atEnd = !more;
    if (this.#pacer) this.#restToMs = nowMs + this.#pacer.spend(usedMs());
    if (more || this.#pacer) return;
    const { frontier } = replay.timeline;
    if (main.frontier.timeNs <= this.#settledNs) return;
    const { hole, timeline } = this.#recorder;
    // Entries skipped under the old interest may lie past the last readable record. So may events that wait here for a
    // record that is gone, as the recording timeline had it and waits for it no longer: state an unknown loss before
    // going live.
    const stuck = replay.timeline.pending > timeline.pending;
    if (hole || stuck || replay.unsureAt(frontier.timeNs)) this.#lose(UNKNOWN_LOSS, timeline.frontier);
    this.#become({ kind: 'live' });
  }

  /** Reading begins at a checkpoint, before what was sent: that it comes nearer does not mean that the lag shrinks. */
  #lagNs(replay: Replay): bigint {
    return this.#recorder.timeline.frontier.timeNs - laterPosition(replay.timeline.frontier, this.#sentTo).timeNs;
  }

  /** The position up to which every topic has been sent. */
  get #sentTo(): Position | undefined {
    let least: Position | undefined;
    for (const { coveredTo } of this.#builders.values())
      if (!least || comparePositions(coveredTo, least) < 0) least = coveredTo;
    return least;
  }

  /** Bytes of the recording that may be read now; 0: wait until the budget has grown. */
  #affordableBytes({ timeline }: Replay): number {
    const lagNs = this.#recorder.timeline.frontier.timeNs - timeline.frontier.timeNs;
    // Events in the recorder wait for the budget, unless the lag shows that more come than it takes in the long run.
    const waits = lagNs < this.#lagAllowance.lagNs + BUDGET_WAIT_NS_MAX;
    if (!waits) return REPLAY_STEP_BYTES;
    return this.#budget.ample ? Math.min(REPLAY_STEP_BYTES, this.#budget.recordedBytes) : 0;
  }

  /** Reads one step on. False at the recording's present end. */
  #readOn(replay: Replay, bytes: number, upTo: Position | undefined): boolean {
    const unsure = replay.unsureAt(replay.timeline.frontier.timeNs);
    const { passages } = replay;
    const more = replay.step(bytes, upTo);
    const { frontier } = replay.timeline;
    // Records that cannot be read may have held events about here, so every frame that covers part of that stretch
    // states a loss.
    if (unsure || replay.passages > passages || replay.unsureAt(frontier.timeNs)) this.#lose(UNKNOWN_LOSS, frontier);
    return more;
  }
}
