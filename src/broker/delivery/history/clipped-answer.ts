/**
 * Clips a node's answer to its query: only topics that were asked for, in
 * ascending order, within the query's bounds. After the first invalid frame the
 * query is asked once more, because damage on the way does not recur. Later
 * invalid frames are skipped and reported as missing.
 */
import { asBackplaneError } from '../../../errors.js';
import { checkEvents, positionAt } from '../../../wire/frame/frame-columns.js';
import { decodeHistoryFrame, type HistoryFrame } from '../../../wire/frame/history-frame.js';
import { positionFromMessage } from '../../../wire/messages.js';
import type { Position } from '../../../wire/position.js';
import type { HistoryAnswer, HistoryOutcome } from '../../nodes/history/history-answer.js';
import type { HistoryRequest, Stretch } from '../../nodes/history/history-request.js';
import { checkEpoch } from '../../nodes/node-checks.js';
import { compareKeys, type HistoryKey, type HistorySource } from './history-merge.js';
import { firstAfter, keyAt, sliceFrame } from './history-slice.js';

export interface NodeQuery {
  readonly node: string;
  readonly request: Omit<HistoryRequest, 'creditBytes' | 'grow' | 'last' | 'client'>;
  /** By topic, the position up to which events were delivered before. */
  readonly floors: ReadonlyMap<string, Position>;
  /** Place in merged order up to which everything was delivered before. */
  readonly afterKey: HistoryKey | undefined;
}

/** Invalid events of a node, which cannot be delivered: positions in (from, to]. */
export interface UnsoundStretch {
  readonly node: string;
  readonly topic: string;
  readonly from: Position | undefined;
  readonly to: Position;
  readonly reason: string;
}

/** Where a recorder lacks something, or may: positions in (from, to], of all topics. */
export interface MissingStretch {
  readonly node: string;
  readonly from: Position | undefined;
  readonly to: Position | undefined;
}

export interface AnswerOptions {
  /** The node's present epoch. Positions in a later one are refused: they would hide all that it records afterwards. */
  readonly epochMax: () => number;
  /** Called when the answer has ended and been read; with `last`, before its events were delivered. `reached`: see there. */
  readonly onOver: (outcome: HistoryOutcome, reached: Position | undefined) => void;
  readonly onUnsound: (stretch: UnsoundStretch) => Promise<void>;
  /** Called before anything behind the stretch is given: an answer that breaks off never says it at its end. */
  readonly onMissing: (stretch: MissingStretch) => Promise<void>;
}

export class ClippedAnswer implements HistorySource {
  readonly node: string;
  #answer: HistoryAnswer;
  #askedAgain = false;
  readonly #reached: Map<string, Position>;
  /** The last event that was taken, of any topic. */
  #last: Position | undefined;
  /** Remaining pieces of a frame that several stretches cut. */
  #cut: HistoryFrame[] = [];

  /** Asks the same query once more; returns undefined when the node is not connected. */
  readonly #askAgain: () => HistoryAnswer | undefined;
  readonly #query: NodeQuery;
  readonly #topics: ReadonlySet<string>;
  readonly #options: AnswerOptions;

  constructor(
    answer: HistoryAnswer,
    askAgain: () => HistoryAnswer | undefined,
    query: NodeQuery,
    options: AnswerOptions,
  ) {
    this.#askAgain = askAgain;
    this.#query = query;
    this.#topics = new Set(query.request.predicates.flatMap(({ topics }) => topics));
    this.#options = options;
    this.#answer = answer;
    this.node = query.node;
    this.#reached = new Map(query.floors);
    this.#last = query.request.after;
  }

  get outcome(): HistoryOutcome | undefined {
    return this.#answer.outcome;
  }

  /** Position up to which it has all, of whatever time; undefined where that is not known, or it did not end. */
  get reached(): Position | undefined {
    const { outcome } = this;
    const { upTo, untilNs } = this.#query.request;
    if (outcome?.kind !== 'end') return undefined;
    const { reached } = outcome.end;
    if (upTo !== undefined || untilNs !== undefined || !reached) return upTo;
    const position = positionFromMessage('history_end.reached', reached);
    // It would hide all that the node records later.
    return position.epoch > this.#options.epochMax() ? undefined : position;
  }

  cancel(): void {
    this.#answer.cancel();
  }

  async next(): Promise<HistoryFrame | undefined> {
    for (;;) {
      const piece = this.#cut.shift();
      if (piece !== undefined) return piece;
      const bytes = await this.#answer.next();
      // The answer lost its place and is read again, so ask again; what was taken is clipped from the new answer.
      if (bytes === undefined && this.#answer.displaced) {
        this.#answer = this.#askAgain() ?? this.#answer;
        if (!this.#answer.displaced) continue;
      }
      if (bytes === undefined) {
        const outcome = this.#answer.outcome!;
        if (outcome.kind === 'end' && outcome.end.incomplete) await this.#tellMissing(this.#query.request.upTo);
        this.#options.onOver(outcome, this.reached);
        return undefined;
      }
      const frame = await this.#sound(bytes);
      if (frame === undefined || !this.#topics.has(frame.topic)) continue;
      const { from, to } = this.#bounds(frame);
      if (from >= to) continue;
      const last = positionAt(frame.epoch, frame, to - 1);
      if (frame.incomplete) await this.#tellMissing(last);
      this.#last = last;
      this.#reached.set(frame.topic, last);
      const { within } = this.#query.request;
      if (within !== undefined) this.#cut = piecesWithin(frame, from, to, within);
      else return from === 0 && to === frame.wallNs.length ? frame : sliceFrame(frame, from, to);
    }
  }

  /**
   * Decodes and checks a frame. Returns undefined for an invalid one: then the query was asked again, or failed, or the
   * frame's events were reported as missing.
   */
  async #sound(bytes: Buffer): Promise<HistoryFrame | undefined> {
    let frame: HistoryFrame | undefined;
    try {
      const decoded = decodeHistoryFrame(bytes);
      checkEpoch('history frame', decoded, this.#options.epochMax());
      frame = decoded;
      checkEvents('history frame', frame);
      return frame;
    } catch (cause) {
      const reason = `node ${this.node}: ${asBackplaneError(cause).message}`;
      if (!this.#askedAgain) this.#ask(reason);
      else if (frame === undefined) this.#answer.fail(reason);
      else await this.#passBy(frame, reason);
      return undefined;
    }
  }

  async #tellMissing(to: Position | undefined): Promise<void> {
    await this.#options.onMissing({ node: this.node, from: this.#last, to });
  }

  /** Asks the query again; events that were taken already are clipped from the second answer. */
  #ask(reason: string): void {
    this.#askedAgain = true;
    const answer = this.#askAgain();
    if (answer === undefined) {
      this.#answer.fail(reason);
      return;
    }
    this.#answer.cancel();
    this.#answer = answer;
  }

  async #passBy(frame: HistoryFrame, reason: string): Promise<void> {
    const { from, to } = this.#bounds(frame);
    const { topic } = frame;
    if (from >= to || !this.#topics.has(topic)) return;
    const last = positionAt(frame.epoch, frame, to - 1);
    const before = this.#reached.get(topic) ?? this.#query.request.after;
    this.#reached.set(topic, last);
    await this.#options.onUnsound({ node: this.node, topic, from: before, to: last, reason });
  }

  /** Indices [from, to) of the frame's events that were asked for and not taken yet. */
  #bounds(frame: HistoryFrame): { from: number; to: number } {
    const count = frame.wallNs.length;
    const { afterKey } = this.#query;
    const { upTo } = this.#query.request;
    const floor = this.#reached.get(frame.topic);
    let from = floor === undefined ? 0 : firstAfter(frame, floor);
    while (afterKey && from < count && compareKeys(keyAt(this.node, frame, from), afterKey) <= 0) from++;
    return { from, to: upTo === undefined ? count : firstAfter(frame, upTo) };
  }
}

/** Slices of the events with index in [from, to) that lie within one of the stretches, which are ascending. */
function piecesWithin(frame: HistoryFrame, from: number, to: number, within: readonly Stretch[]): HistoryFrame[] {
  const pieces: HistoryFrame[] = [];
  for (const stretch of within) {
    const start = Math.max(from, firstAfter(frame, stretch.from));
    const end = Math.min(to, firstAfter(frame, stretch.to));
    if (start < end) pieces.push(sliceFrame(frame, start, end));
  }
  return pieces;
}
