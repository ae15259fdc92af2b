/**
 * Publishes live what interest asks for. At the tail it is fed by the timeline
 * that records; when the uplink was away or is full it falls behind, keeps
 * nothing, and reads the recorder from the last position it sent: the flight
 * recorder is the outbox, memory is not.
 */
import { cpuTimer } from '../../flow/cpu-time.js';
import { Pacer } from '../../flow/pacer.js';
import {
  BUDGET_WAIT_MS_MAX,
  COVERAGE_INTERVAL_MS,
  REPLAY_RETURN_TURN_MS,
  REPLAY_STEP_BYTES,
  SLOW_MATCHING_BURST_MS,
} from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import type { BusEvent } from '../../wire/event/event.js';
import { unionOfMasks } from '../../wire/event/field-mask.js';
import { type Frame, refusedFrame } from '../../wire/frame/frame.js';
import { comparePositions, laterPosition, type Position, positionBefore } from '../../wire/position.js';
import type { Interest } from '../interest/interest.js';
import { anchorAtPosition, oldestAnchor } from '../recorder/anchors.js';
import type { Recorder } from '../recorder/recorder.js';
import { Replay } from '../recorder/replay.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';
import { mayBeOf, statedLoss } from '../timeline/open-losses.js';
import type { Loss, Timeline, TimelineSink } from '../timeline/timeline.js';
import type { LiveBudget } from './budget.js';
import { FrameBuilder } from './frame-builder.js';
import { LagAllowance } from './lag-allowance.js';

/** Where frames go. */
export interface FrameLink {
  /** False while more is under way than may be: nothing should be sent. */
  readonly writable: boolean;
  /** Returns the bytes it takes on the wire. Throws when the frame is not sound: a broker would refuse it. */
  send(frame: Frame): number;
}

/** How far the log has this node's frames, per topic. */
export interface WelcomeTopic {
  readonly topic: string;
  readonly to: Position;
  /** Go on from here: interest was in force without a break. */
  readonly resume: boolean;
  /** The log's last frame of the topic ended exactly here. */
  readonly frameEnd: boolean;
}

const BUDGET_WAIT_NS_MAX = msToNs(BUDGET_WAIT_MS_MAX);
const UNKNOWN_LOSS: Loss = { count: 0, unknown: true };

type State = { kind: 'idle' } | { kind: 'live' } | { kind: 'behind'; replay: Replay };

export class Publisher implements TimelineSink {
  eventsMatched = 0;
  /** Matches that were not sent because the node was over its budget, each counted once however many asked. */
  eventsShed = 0;
  #state: State = { kind: 'idle' };
  #interest: Interest | undefined;
  #builders = new Map<string, FrameBuilder>();
  #floors = new Map<string, Position>();
  /** Topics whose frames go on at their floor. */
  #continued = new Set<string>();
  #resume: Position | undefined;
  #link: FrameLink | undefined;
  #coveredMs = 0;
  /** What the recording timeline tells up to here is not whole for the present interest. */
  #settledNs = 0n;
  /** Of matching, while it is slowed. */
  #pacer: Pacer | undefined;
  /** Where telling had got to when an event last missed its turn. */
  #lateAt: Position | undefined;
  #restToMs = 0;
  /** How late it may be beyond what waiting for the budget makes it. */
  readonly #lagAllowance = new LagAllowance();

  constructor(
    private readonly recorder: () => Recorder,
    private readonly budget: LiveBudget,
    /** Told of a frame that is not sound: in its place one goes out that says so. */
    private readonly onRefused: (topic: string, cause: unknown) => void = () => undefined,
  ) {}

  get live(): boolean {
    return this.#state.kind !== 'idle';
  }

  /** Reads what it has to send from the recorder, later than it was recorded. */
  get behind(): boolean {
    return this.#state.kind === 'behind';
  }

  /** A broker answered. Nothing is published before it states its interest. */
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
    this.#stopReplay();
    const asked = this.#interest !== undefined;
    this.#state = { kind: 'idle' };
    this.#interest = undefined;
    this.#builders.clear();
    this.#floors.clear();
    this.#continued.clear();
    this.#resume = undefined;
    this.#link = undefined;
    if (asked) this.recorder().timeline.renew();
  }

  /** Takes the place of what was asked before. Returns the position from which it holds for every predicate. */
  setInterest(interest: Interest): Position {
    const main = this.recorder().timeline;
    // Of these, pages read before now may hold entries that were passed over: they are read again.
    const more = main.selection.types.some((type) => interest.asksMore(type, this.#interest));
    // Frames end here: what is shed is counted for a new predicate from the position that it holds from.
    if (this.#interest && this.#link!.writable) {
      const timeline = this.#timeline;
      for (const builder of this.#builders.values()) this.#flush(builder, timeline);
    }
    this.#interest = interest;
    const start = this.#resume ?? this.#timeline.frontier;
    for (const topic of this.#builders.keys()) if (!interest.topics.has(topic)) this.#builders.delete(topic);
    for (const topic of interest.topics) {
      if (this.#builders.has(topic)) continue;
      const from = laterPosition(start, this.#floors.get(topic));
      this.#builders.set(topic, new FrameBuilder(topic, from, this.#continued.has(topic)));
    }
    // Frames of a topic that is asked for again later begin anew.
    this.#continued.clear();
    if (interest.empty) {
      this.#stopReplay();
      this.#state = { kind: 'idle' };
    } else {
      const idle = this.#state.kind === 'idle';
      if (more) this.#stopReplay();
      if (idle || more) this.#state = { kind: 'live' };
      if (more) this.#settledNs = main.passedOverNs;
      const late = idle && (comparePositions(start, main.frontier) < 0 || this.#missedSince(start));
      if (more || late || (idle && this.#pacer)) this.#fallBehind(start);
    }
    main.renew();
    this.#stateOpenLosses();
    this.#resume = undefined;
    let holds = this.#timeline.frontier;
    for (const { coveredTo } of this.#builders.values()) if (comparePositions(coveredTo, holds) > 0) holds = coveredTo;
    return holds;
  }

  /**
   * Matching takes at most this share of a core, from the recorder, which is the outbox: what is not matched now is
   * later. Undefined: it goes on at the tail, as fast as events come.
   */
  slow(share: number | undefined): void {
    this.#pacer = share === undefined ? undefined : new Pacer(share, SLOW_MATCHING_BURST_MS);
    this.#restToMs = 0;
    if (this.#pacer && this.#state.kind === 'live') this.#fallBehind();
  }

  /** Also while it is behind, so that what the recording timeline holds is whole when that is over. */
  entryTest = (format: EventFormat): EntryTest | boolean =>
    this.#state.kind === 'idle' ? false : this.#interest!.entryTest(format);

  wants = (type: string): boolean => this.#state.kind === 'live' && this.#interest!.wants(type);

  event(event: BusEvent): void {
    if (this.#state.kind === 'live') this.#publish(event, this.recorder().timeline);
  }

  loss(loss: Loss, position: Position, from?: Position): void {
    if (this.#state.kind === 'live') this.#lose(loss, position, from);
  }

  late(event: BusEvent, told: Position): void {
    this.#lateAt = told;
    if (this.#state.kind === 'live') this.#miss(event, told);
  }

  /** After every drain: sends what has gathered, or reads on where it is behind. */
  tick(nowMs: number): void {
    if (this.#state.kind === 'idle') return;
    if (this.#state.kind === 'behind') this.#catchUp(this.#state.replay, nowMs);
    // Where a budget does not even pay for saying that there is nothing, it is said less often.
    const due = nowMs - this.#coveredMs >= COVERAGE_INTERVAL_MS && this.budget.solvent;
    if (due) this.#coveredMs = nowMs;
    // A reader that is behind waits with what it has; a live one falls behind.
    if (this.#state.kind === 'behind' && !this.#link!.writable) return;
    for (const builder of this.#builders.values()) if (builder.telling || due) this.#flush(builder, this.#timeline);
  }

  /** What it reads. */
  get #timeline(): Timeline {
    return this.#state.kind === 'behind' ? this.#state.replay.timeline : this.recorder().timeline;
  }

  #publish(event: BusEvent, timeline: Timeline): void {
    const builder = this.#builders.get(event.topic);
    if (!builder || comparePositions(event.position, builder.coveredTo) <= 0) return;
    const matched = this.#interest!.match(event);
    if (matched.length === 0) return;
    const admitted = this.budget.admits(event.topic);
    const ids = matched.map((predicate) => predicate.id);
    const otherEpoch = builder.last !== undefined && builder.last.epoch !== event.position.epoch;
    if (otherEpoch || (admitted ? builder.sheds : builder.count > 0)) {
      // What does not go out now is read again, with this event.
      if (!this.#flush(builder, timeline, otherEpoch ? builder.last : positionBefore(event.position))) return;
    }
    if (admitted) {
      const mask = unionOfMasks(matched.map((predicate) => predicate.mask));
      builder.add(event, ids, (bytes) => this.budget.charge(bytes, ids.length), mask);
    } else builder.shed(event.position, ids);
    if (builder.full) this.#flush(builder, timeline, event.position);
  }

  /** What had not been sent of it has to be read again, although there is nothing newer. */
  #missedSince(start: Position): boolean {
    return this.#lateAt !== undefined && comparePositions(this.#lateAt, start) >= 0;
  }

  /** In the frame that accounts for what is told next; without its side record nobody knows whether it matches. */
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
      // A frame of the epoch before does not account for it.
      if (last && last.epoch !== position.epoch && !this.#flush(builder, this.#timeline, last)) return;
      const stated = statedLoss(loss, position);
      if (!stated) builder.lose(loss.count, loss.unknown);
      else if (mayBeOf(loss, builder.topic)) builder.state(stated);
    }
  }

  /** Whoever asks from now on must hear of what is missing now; who was told already is not told again. */
  #stateOpenLosses(): void {
    const { losses, frontier } = this.#timeline;
    for (const loss of losses.all)
      for (const builder of this.#builders.values())
        if (mayBeOf(loss, builder.topic)) builder.state(statedLoss(loss, frontier)!);
  }

  /** `to`: what the frame accounts for; the timeline's frontier where not given. False: fell behind instead. */
  #flush(builder: FrameBuilder, timeline: Timeline, to = timeline.frontier): boolean {
    if (comparePositions(to, builder.coveredTo) <= 0) return true;
    if (this.#state.kind === 'live' && !this.#link!.writable) {
      this.#fallBehind();
      return false;
    }
    // A frame's events are of one epoch, the one of coveredTo.
    const end = builder.last && builder.last.epoch !== to.epoch ? builder.last : to;
    const { charged, count, shedCount } = builder;
    this.eventsMatched += count + shedCount;
    this.eventsShed += shedCount;
    this.budget.settle(this.#send(builder.take(end, timeline.wallNs(end.timeNs))), charged);
    return true;
  }

  /** Matched again it would be the same frame: the stretch is stated as not known, once, and publishing goes on. */
  #send(frame: Frame): number {
    try {
      return this.#link!.send(frame);
    } catch (cause) {
      this.onRefused(frame.topic, cause);
      return this.#link!.send(refusedFrame(frame));
    }
  }

  /** Everything that is not sent is read again later. */
  #fallBehind(start?: Position): void {
    let from = start;
    for (const builder of this.#builders.values()) {
      this.budget.settle(0, builder.charged);
      builder.abandon();
      if (!from || comparePositions(builder.coveredTo, from) < 0) from = builder.coveredTo;
    }
    if (!from) return;
    const { log } = this.recorder();
    const anchor = anchorAtPosition(log, from) ?? oldestAnchor(log);
    const told: TimelineSink = {
      wants: (type) => this.#interest!.wants(type),
      entryTest: (format) => this.#interest!.entryTest(format),
      event: (event) => {
        if (replay.unsureAt(event.position.timeNs)) this.#lose(UNKNOWN_LOSS, event.position);
        this.#publish(event, replay.timeline);
      },
      loss: (loss, position, from) => this.#lose(loss, position, from),
      late: (event, told) => this.#miss(event, told),
    };
    const replay: Replay = new Replay(log, anchor, told);
    // The recorder no longer reaches back to where publishing stopped: how much that was, nobody knows.
    if (!anchor || comparePositions(anchor.head.position, from) > 0) this.#lose(UNKNOWN_LOSS, replay.timeline.frontier);
    this.#state = { kind: 'behind', replay };
    this.#stateOpenLosses();
    this.#lagAllowance.grant(this.recorder().timeline.frontier.timeNs - from.timeNs);
  }

  #catchUp(replay: Replay, nowMs: number): void {
    const main = this.recorder().timeline;
    const lagNs = main.frontier.timeNs - replay.timeline.frontier.timeNs;
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
      // From the checkpoint to where it left off nothing is sent.
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
    if (this.#pacer) this.#restToMs = nowMs + this.#pacer.spend(usedMs());
    if (more || this.#pacer) return;
    const { frontier } = replay.timeline;
    if (main.frontier.timeNs <= this.#settledNs) return;
    const { hole, timeline } = this.recorder();
    // What was passed over last lies before what is recorded now, and may lie behind all that could be read.
    // So may what waits for a record that is gone: the recording's own timeline had it, and waits no longer.
    const stuck = replay.timeline.pending > timeline.pending;
    if (hole || stuck || replay.unsureAt(frontier.timeNs)) this.#lose(UNKNOWN_LOSS, timeline.frontier);
    this.#stopReplay();
    this.#state = { kind: 'live' };
  }

  /** What is before it has been sent, of every topic. */
  get #sentTo(): Position | undefined {
    let least: Position | undefined;
    for (const { coveredTo } of this.#builders.values())
      if (!least || comparePositions(coveredTo, least) < 0) least = coveredTo;
    return least;
  }

  /** Of recording; 0: not before the budget has grown. */
  #affordableBytes({ timeline }: Replay): number {
    const lagNs = this.recorder().timeline.frontier.timeNs - timeline.frontier.timeNs;
    // What waits in the recorder can wait for its turn, unless there is more than the budget takes in the long run.
    const waits = lagNs < this.#lagAllowance.lagNs + BUDGET_WAIT_NS_MAX;
    if (!waits) return REPLAY_STEP_BYTES;
    return this.budget.ample ? Math.min(REPLAY_STEP_BYTES, this.budget.recordedBytes) : 0;
  }

  /** False at the recording's present end. */
  #readOn(replay: Replay, bytes: number, upTo: Position | undefined): boolean {
    const unsure = replay.unsureAt(replay.timeline.frontier.timeNs);
    const { passages } = replay;
    const more = replay.step(bytes, upTo);
    const { frontier } = replay.timeline;
    // Stated in every frame that covers some of where it may have been, and was not sent before.
    if (unsure || replay.passages > passages || replay.unsureAt(frontier.timeNs)) this.#lose(UNKNOWN_LOSS, frontier);
    return more;
  }

  #stopReplay(): void {
    if (this.#state.kind === 'behind') this.#state.replay.close();
  }
}
