/**
 * Holds a node to its query: topics that were asked for, ascending, within the
 * query's bounds. What it sends that is not sound is asked for once more, as
 * what was broken on its way is whole the second time; what comes unsound again
 * is passed by and told.
 */
import { asBackplaneError } from '../../../errors.js';
import { checkEvents, positionAt } from '../../../wire/frame/frame-columns.js';
import { decodeHistoryFrame, type HistoryFrame } from '../../../wire/frame/history-frame.js';
import type { Position } from '../../../wire/position.js';
import type { HistoryAnswer, HistoryOutcome } from '../../nodes/history-answer.js';
import type { HistoryRequest, Stretch } from '../../nodes/history-queries.js';
import { checkEpoch } from '../../nodes/node-checks.js';
import { compareKeys, type HistoryKey, type HistorySource } from './history-merge.js';
import { firstAfter, keyAt, sliceFrame } from './history-slice.js';

export interface NodeQuery {
  readonly node: string;
  readonly request: Omit<HistoryRequest, 'creditBytes' | 'last' | 'client'>;
  /** Events up to here, per topic, were delivered before. */
  readonly floors: ReadonlyMap<string, Position>;
  /** Everything up to here, in merged order, was delivered before. */
  readonly afterKey: HistoryKey | undefined;
}

/** Events of a node that cannot be delivered, as they are none: positions in (from, to]. */
export interface UnsoundStretch {
  readonly node: string;
  readonly topic: string;
  readonly from: Position | undefined;
  readonly to: Position;
  readonly reason: string;
}

export interface AnswerOptions {
  /** The node's present epoch: positions behind it would let nothing that it records later be delivered. */
  readonly epochMax: () => number;
  /** Called when the answer is over; with `last` also before the whole of it was taken. */
  readonly onOver: (outcome: HistoryOutcome) => void;
  readonly onUnsound: (stretch: UnsoundStretch) => Promise<void>;
}

export class ClippedAnswer implements HistorySource {
  readonly node: string;
  private answer: HistoryAnswer;
  private askedAgain = false;
  private readonly reached: Map<string, Position>;
  /** What is left of a frame that several stretches cut. */
  private cut: HistoryFrame[] = [];

  constructor(
    answer: HistoryAnswer,
    /** The same query once more; undefined when the node has gone. */
    private readonly askAgain: () => HistoryAnswer | undefined,
    private readonly query: NodeQuery,
    private readonly options: AnswerOptions,
  ) {
    this.answer = answer;
    this.node = query.node;
    this.reached = new Map(query.floors);
  }

  get outcome(): HistoryOutcome | undefined {
    return this.answer.outcome;
  }

  cancel(): void {
    this.answer.cancel();
  }

  async next(): Promise<HistoryFrame | undefined> {
    for (;;) {
      const piece = this.cut.shift();
      if (piece !== undefined) return piece;
      const bytes = await this.answer.next();
      // Read on, it wants its place again: what was taken is clipped from the second answer.
      if (bytes === undefined && this.answer.displaced) {
        this.answer = this.askAgain() ?? this.answer;
        if (!this.answer.displaced) continue;
      }
      if (bytes === undefined) {
        this.options.onOver(this.answer.outcome!);
        return undefined;
      }
      const frame = await this.sound(bytes);
      if (frame === undefined || !this.query.request.predicate.topics.includes(frame.topic)) continue;
      const { from, to } = this.bounds(frame);
      if (from >= to) continue;
      this.reached.set(frame.topic, positionAt(frame.epoch, frame, to - 1));
      const { within } = this.query.request;
      if (within !== undefined) this.cut = piecesWithin(frame, from, to, within);
      else return from === 0 && to === frame.wallNs.length ? frame : sliceFrame(frame, from, to);
    }
  }

  /** Undefined where it is not: the query was asked again, or has failed, or what was in it is told as missing. */
  private async sound(bytes: Buffer): Promise<HistoryFrame | undefined> {
    let frame: HistoryFrame | undefined;
    try {
      const decoded = decodeHistoryFrame(bytes);
      checkEpoch('history frame', decoded, this.options.epochMax());
      frame = decoded;
      checkEvents('history frame', frame);
      return frame;
    } catch (cause) {
      const reason = `node ${this.node}: ${asBackplaneError(cause).message}`;
      if (!this.askedAgain) this.ask(reason);
      else if (frame === undefined) this.answer.fail(reason);
      else await this.passBy(frame, reason);
      return undefined;
    }
  }

  /** What was taken already is clipped from the second answer. */
  private ask(reason: string): void {
    this.askedAgain = true;
    const answer = this.askAgain();
    if (answer === undefined) {
      this.answer.fail(reason);
      return;
    }
    this.answer.cancel();
    this.answer = answer;
  }

  private async passBy(frame: HistoryFrame, reason: string): Promise<void> {
    const { from, to } = this.bounds(frame);
    const { topic } = frame;
    if (from >= to || !this.query.request.predicate.topics.includes(topic)) return;
    const last = positionAt(frame.epoch, frame, to - 1);
    const before = this.reached.get(topic) ?? this.query.request.after;
    this.reached.set(topic, last);
    await this.options.onUnsound({ node: this.node, topic, from: before, to: last, reason });
  }

  /** Which of its events were asked for and not taken yet: indices in [from, to). */
  private bounds(frame: HistoryFrame): { from: number; to: number } {
    const count = frame.wallNs.length;
    const { afterKey } = this.query;
    const { upTo } = this.query.request;
    const floor = this.reached.get(frame.topic);
    let from = floor === undefined ? 0 : firstAfter(frame, floor);
    while (afterKey && from < count && compareKeys(keyAt(this.node, frame, from), afterKey) <= 0) from++;
    return { from, to: upTo === undefined ? count : firstAfter(frame, upTo) };
  }
}

/** Of the events with index in [from, to), those within one of the stretches, which ascend. */
function piecesWithin(frame: HistoryFrame, from: number, to: number, within: readonly Stretch[]): HistoryFrame[] {
  const pieces: HistoryFrame[] = [];
  for (const stretch of within) {
    const start = Math.max(from, firstAfter(frame, stretch.from));
    const end = Math.min(to, firstAfter(frame, stretch.to));
    if (start < end) pieces.push(sliceFrame(frame, start, end));
  }
  return pieces;
}
