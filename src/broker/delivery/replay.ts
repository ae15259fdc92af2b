/**
 * One replay of recorded history: a query to each node, merged by wall time,
 * under credit, and what each node could answer.
 */
import { BackplaneError } from '../../errors.js';
import type { BytePool } from '../../flow/byte-pool.js';
import { HISTORY_CREDIT_BYTES, HISTORY_FRAME_BYTES, LAST_BYTES_MAX } from '../../limits.js';
import { positionAt } from '../../wire/frame-columns.js';
import type { HistoryFrame } from '../../wire/history-frame.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { type Selection, selectEvents, sliceEvents } from '../../wire/splice.js';
import type { HistoryAnswer, HistoryOutcome } from '../nodes/history-answer.js';
import type { HistoryRequest, Stretch } from '../nodes/history-desk.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { compareKeys, type HistoryKey, type HistorySource, mergeHistory, type Run } from './history-merge.js';

export interface NodeQuery {
  readonly node: string;
  readonly request: Omit<HistoryRequest, 'creditBytes' | 'last'>;
  /** Events up to here, per topic, were delivered before. */
  readonly floors: ReadonlyMap<string, Position>;
  /** Everything up to here, in merged order, was delivered before. */
  readonly afterKey: HistoryKey | undefined;
}

/** Some events of a run, from its beginning. */
export interface TakenRun {
  readonly selection: Selection;
  /** Of the last event that was looked at. */
  readonly end: HistoryKey;
}

export interface ReplayOptions {
  /** Only the last N over all nodes. 0: all. */
  readonly last: number;
  /** Called as soon as it is known that a node will not answer to the end. */
  readonly onFailed: (node: string) => void;
  /** Called when all that a query asked for has been taken by `onRun`. Not with `last`. */
  readonly onEnded: (query: NodeQuery) => void;
  /** Ends the replay; the nodes are told. */
  readonly signal: AbortSignal;
}

/** Events of one node and topic, in order. */
export class ReplayedRun {
  constructor(
    readonly node: string,
    private readonly frame: HistoryFrame,
    private readonly from: number,
    private readonly to: number,
    /** Of the last event. */
    readonly end: HistoryKey,
  ) {}

  get topic(): string {
    return this.frame.topic;
  }

  /** How many of its events lie behind the position. */
  countBehind(position: Position): number {
    return this.to - Math.max(this.from, Math.min(this.to, firstAfter(this.frame, position)));
  }

  /** At most `countMax` (at least 1) events that `admit` does not refuse. */
  take(countMax: number, admit?: (element: Buffer) => boolean): TakenRun {
    const { frame, from, to } = this;
    const selection = selectEvents(frame, { all: true, indices: [] }, from, to, countMax, admit);
    return { selection, end: selection.next === to ? this.end : keyAt(this.node, frame, selection.next - 1) };
  }
}

/** Per node: how its answer ended. */
export type ReplayOutcomes = ReadonlyMap<string, HistoryOutcome>;

/** `onRun` is awaited: whoever is slow there slows the nodes, by credit. */
export async function replay(
  registry: NodeRegistry,
  pool: BytePool,
  queries: readonly NodeQuery[],
  options: ReplayOptions,
  onRun: (run: ReplayedRun) => Promise<void>,
): Promise<ReplayOutcomes> {
  const creditBytes = Math.max(HISTORY_FRAME_BYTES, Math.floor(HISTORY_CREDIT_BYTES / Math.max(1, queries.length)));
  const release = await pool.take(queries.length * (creditBytes + 2 * HISTORY_FRAME_BYTES), options.signal);
  if (release === undefined) throw new BackplaneError('cancelled', 'the subscription has ended');
  const answers = new Map<string, HistoryAnswer>();
  const gone = new Map<string, HistoryOutcome>();
  const cancel = () => {
    for (const answer of answers.values()) answer.cancel();
  };
  options.signal.addEventListener('abort', cancel, { once: true });
  try {
    for (const { node, request } of queries) {
      const session = registry.session(node);
      if (session === undefined) {
        gone.set(node, { kind: 'failed', message: 'the node is not connected' });
        options.onFailed(node);
      } else answers.set(node, session.history.query({ ...request, last: options.last, creditBytes }));
    }
    const sources = queries.flatMap((query) => {
      const answer = answers.get(query.node);
      return answer === undefined ? [] : [new ClippedAnswer(answer, query, options)];
    });
    await deliver(sources, options, onRun);
    const outcomes = new Map(gone);
    for (const [node, { outcome }] of answers) if (outcome) outcomes.set(node, outcome);
    return outcomes;
  } finally {
    options.signal.removeEventListener('abort', cancel);
    cancel();
    release();
  }
}

async function deliver(
  sources: readonly HistorySource[],
  { last, signal }: ReplayOptions,
  onRun: (run: ReplayedRun) => Promise<void>,
): Promise<void> {
  const ring = last > 0 ? new LastRuns(last) : undefined;
  for await (const run of mergeHistory(sources)) {
    if (signal.aborted) break;
    if (ring) ring.add(run);
    else await onRun(new ReplayedRun(run.node, run.frame, run.from, run.to, run.end));
  }
  if (signal.aborted) throw new BackplaneError('cancelled', 'the subscription has ended');
  for (const run of ring?.take() ?? []) await onRun(run);
}

/** Holds a node to its query: topics asked for, ascending, within its bounds. */
class ClippedAnswer implements HistorySource {
  readonly node: string;
  private readonly reached: Map<string, Position>;
  /** What is left of a frame that several stretches cut. */
  private cut: HistoryFrame[] = [];

  constructor(
    private readonly answer: HistoryAnswer,
    private readonly query: NodeQuery,
    private readonly options: ReplayOptions,
  ) {
    this.node = query.node;
    this.reached = new Map(query.floors);
  }

  async next(): Promise<HistoryFrame | undefined> {
    for (;;) {
      const piece = this.cut.shift();
      if (piece !== undefined) return piece;
      const frame = await this.answer.next();
      if (frame === undefined) {
        const { last, onFailed, onEnded } = this.options;
        if (this.answer.outcome?.kind === 'failed') onFailed(this.node);
        else if (last === 0) onEnded(this.query);
        return undefined;
      }
      if (!this.query.request.predicate.topics.includes(frame.topic)) continue;
      const count = frame.wallNs.length;
      const { upTo } = this.query.request;
      const { afterKey } = this.query;
      const floor = this.reached.get(frame.topic);
      let from = floor === undefined ? 0 : firstAfter(frame, floor);
      while (afterKey && from < count && compareKeys(keyAt(this.node, frame, from), afterKey) <= 0) from++;
      const to = upTo === undefined ? count : firstAfter(frame, upTo);
      if (from >= to) continue;
      this.reached.set(frame.topic, positionAt(frame.epoch, frame, to - 1));
      const { within } = this.query.request;
      if (within !== undefined) this.cut = piecesWithin(frame, from, to, within);
      else return from === 0 && to === count ? frame : sliceFrame(frame, from, to);
    }
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

function keyAt(node: string, frame: HistoryFrame, index: number): HistoryKey {
  return { wallNs: frame.wallNs[index]!, node, position: positionAt(frame.epoch, frame, index) };
}

/** Index of the first event behind the position. */
function firstAfter(frame: HistoryFrame, position: Position): number {
  let low = 0;
  let high = frame.wallNs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePositions(positionAt(frame.epoch, frame, middle), position) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sliceFrame(frame: HistoryFrame, from: number, to: number): HistoryFrame {
  const { parts } = sliceEvents(frame, from, to);
  return {
    topic: frame.topic,
    epoch: frame.epoch,
    eventSizes: Array.from(frame.eventSizes).slice(from, to),
    wallNs: frame.wallNs.slice(from, to),
    timesNs: frame.timesNs.slice(from, to),
    lanes: Array.from(frame.lanes).slice(from, to),
    ties: Array.from(frame.ties).slice(from, to),
    events: parts[0]!,
  };
}

/** The last N events of a sequence of runs, copied out of their frames. */
class LastRuns {
  private runs: { readonly run: Run; from: number; readonly events: Buffer }[] = [];
  private count = 0;
  private bytes = 0;

  constructor(private readonly countMax: number) {}

  add(run: Run): void {
    const own = sliceFrame(run.frame, run.from, run.to);
    const events = Buffer.from(own.events);
    this.runs.push({ run: { ...run, frame: { ...own, events }, from: 0, to: run.to - run.from }, from: 0, events });
    this.count += run.to - run.from;
    this.bytes += events.length;
    while (this.count > this.countMax) this.shorten();
    if (this.bytes > LAST_BYTES_MAX) {
      throw new BackplaneError(
        'resource_exhausted',
        `last: the last ${this.countMax} events must be at most ${LAST_BYTES_MAX} bytes together, they are more: ` +
          'ask for fewer, or for a window with since',
      );
    }
  }

  *take(): Generator<ReplayedRun> {
    for (const { run, from } of this.runs) {
      yield new ReplayedRun(run.node, run.frame, from, run.to, run.end);
    }
  }

  /** Lets the oldest go: a whole run, or the beginning of one. */
  private shorten(): void {
    const oldest = this.runs[0]!;
    const excess = this.count - this.countMax;
    const length = oldest.run.to - oldest.from;
    if (length > excess) {
      oldest.from += excess;
      this.count -= excess;
      return;
    }
    this.runs.shift();
    this.count -= length;
    this.bytes -= oldest.events.length;
  }
}
