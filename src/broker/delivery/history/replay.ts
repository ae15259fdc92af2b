/**
 * One replay of recorded history: asks each node under credit, merges the
 * answers by wall time, and returns how each answer ended.
 */
import { BackplaneError } from '../../../errors.js';
import type { BytePool } from '../../../flow/byte-pool.js';
import { HISTORY_CREDIT_BYTES, HISTORY_FRAME_BYTES, HISTORY_FRAME_BYTES_MIN, LAST_BYTES_MAX } from '../../../limits.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import type { Selection } from '../../../wire/frame/splice.js';
import type { Position } from '../../../wire/position.js';
import type { HistoryOutcome } from '../../nodes/history/history-answer.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { DeliveryContext } from '../planned-subscription.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import type { Tally } from '../selectors/tally.js';
import { type AnswerOptions, ClippedAnswer, type NodeQuery } from './clipped-answer.js';
import { type HistoryKey, type HistorySource, mergeHistory, type Run } from './history-merge.js';
import { firstAfter, keyAt, sliceFrame } from './history-slice.js';

/** The first events of a run. */
export interface TakenRun {
  readonly selection: Selection;
  /** Key of the last event that was examined, delivered or not. */
  readonly end: HistoryKey;
}

export interface ReplayOptions {
  /** The client that asks. The number of queries that run on a node is limited per client. */
  readonly client: string;
  /** Only the last N events over all nodes; 0 for all. */
  readonly last: number;
  /** Called as soon as a node fails to answer to the end. */
  readonly onFailed: (node: string) => void;
  /**
   * Called when `onRun` has taken all that a query asked for; `reached`: all that the node has up to there, where that is
   * known. With `last` only where it is: of a node that is behind by nothing the whole past would be asked for.
   */
  readonly onEnded: (node: string, reached: Position | undefined) => void;
  readonly onUnsound: AnswerOptions['onUnsound'];
  readonly onMissing: AnswerOptions['onMissing'];
  /** What is merged with the nodes' answers. */
  readonly beside?: readonly HistorySource[];
  /** Ends the replay and cancels the queries on the nodes. */
  readonly signal: AbortSignal;
}

/** Events of one node and topic, in order. */
export class ReplayedRun {
  readonly #frame: HistoryFrame;
  readonly #from: number;
  readonly #to: number;
  readonly #selectors: SelectorSet;

  constructor(
    readonly node: string,
    frame: HistoryFrame,
    from: number,
    to: number,
    /** Key of the last event. */
    readonly end: HistoryKey,
    selectors: SelectorSet,
  ) {
    this.#selectors = selectors;
    this.#frame = frame;
    this.#from = from;
    this.#to = to;
  }

  get topic(): string {
    return this.#frame.topic;
  }

  /** Wall time of the first event. */
  get startNs(): bigint {
    return this.#frame.wallNs[this.#from]!;
  }

  /** Its events after the position. */
  countBehind(position: Position): Tally {
    const from = Math.max(this.#from, Math.min(this.#to, firstAfter(this.#frame, position)));
    return this.#selectors.countHistory(this.#frame, from, this.#to);
  }

  /** Selects at most `countMax` (at least 1) events that `admit` does not refuse. */
  take(countMax: number, admit?: (element: Buffer) => boolean): TakenRun {
    const frame = this.#frame;
    const from = this.#from;
    const to = this.#to;
    const selection = this.#selectors.ofHistory(frame, from, to, countMax, admit);
    const whole = selection.next === to || selection.count < countMax;
    return { selection, end: whole ? this.end : keyAt(this.node, frame, selection.next - 1) };
  }
}

/** By node, how its answer ended. */
export type ReplayOutcomes = ReadonlyMap<string, HistoryOutcome>;

/**
 * `selectors`: those whose predicates the queries ask for. `onRun` is awaited, so that a slow subscriber slows the nodes through their credit. Throws cancelled when the signal
 * fires.
 */
export async function replay(
  { registry, route, historyPool: pool }: Pick<DeliveryContext, 'registry' | 'route' | 'historyPool'>,
  queries: readonly NodeQuery[],
  selectors: SelectorSet,
  options: ReplayOptions,
  onRun: (run: ReplayedRun) => Promise<void>,
): Promise<ReplayOutcomes> {
  const share = Math.floor(HISTORY_CREDIT_BYTES / Math.max(1, queries.length));
  const creditBytes = Math.max(HISTORY_FRAME_BYTES_MIN, share);
  const release = await pool.take(queries.length * memoryOf(creditBytes), options.signal);
  if (release === undefined) throw new BackplaneError('cancelled', 'the subscription has ended');
  const growth = new Growth(pool);
  const sources: ClippedAnswer[] = [];
  const gone = new Map<string, HistoryOutcome>();
  const cancel = () => {
    for (const source of sources) source.cancel();
  };
  options.signal.addEventListener('abort', cancel, { once: true });
  try {
    for (const query of queries) {
      const { node, request } = query;
      const ask = () => {
        const grow = growth.of(creditBytes);
        return route.history(node, { ...request, last: options.last, creditBytes, grow, client: options.client });
      };
      const answer = ask();
      if (answer === undefined) {
        gone.set(node, { kind: 'failed', message: 'the node is not connected' });
        options.onFailed(node);
      } else sources.push(new ClippedAnswer(answer, ask, query, answerOptions(registry, query, options)));
    }
    await deliver([...sources, ...(options.beside ?? [])], selectors, options, onRun);
    for (const { node, reached } of options.last > 0 && !options.signal.aborted ? sources : [])
      if (reached !== undefined) options.onEnded(node, reached);
    const outcomes = new Map(gone);
    for (const { node, outcome } of sources) if (outcome) outcomes.set(node, outcome);
    return outcomes;
  } finally {
    options.signal.removeEventListener('abort', cancel);
    cancel();
    growth.release();
    release();
  }
}

/** What an answer takes at most: its credit, a frame beyond it, and one that is being merged. */
function memoryOf(creditBytes: number): number {
  return creditBytes + 2 * Math.min(HISTORY_FRAME_BYTES, creditBytes);
}

/**
 * Answers that are read get larger windows, up to a frame, where there is memory for it: of thousands of nodes each begins
 * with little, because all of them must have something before the first event can be delivered.
 */
class Growth {
  readonly #taken: (() => void)[] = [];
  readonly #pool: BytePool;

  constructor(pool: BytePool) {
    this.#pool = pool;
  }

  /** See HistoryRequest.grow. */
  of(creditBytes: number): (bytes: number) => boolean {
    let windowBytes = creditBytes;
    return (bytes) => {
      if (windowBytes + bytes > HISTORY_FRAME_BYTES) return false;
      const release = this.#pool.tryTake(memoryOf(windowBytes + bytes) - memoryOf(windowBytes));
      if (release === undefined) return false;
      this.#taken.push(release);
      windowBytes += bytes;
      return true;
    };
  }

  release(): void {
    for (const release of this.#taken) release();
  }
}

function answerOptions(
  registry: NodeRegistry,
  query: NodeQuery,
  { last, onFailed, onEnded, onUnsound, onMissing, signal }: ReplayOptions,
): AnswerOptions {
  const onOver = ({ kind }: HistoryOutcome, reached: Position | undefined) => {
    // A cancelled answer that had arrived whole was not read to its end: what was left of it counts as not delivered.
    if (kind === 'failed' || signal.aborted) onFailed(query.node);
    else if (last === 0) onEnded(query.node, reached);
  };
  return { epochMax: () => registry.record(query.node)?.epoch ?? 0, onOver, onUnsound, onMissing };
}

async function deliver(
  sources: readonly HistorySource[],
  selectors: SelectorSet,
  { last, signal }: ReplayOptions,
  onRun: (run: ReplayedRun) => Promise<void>,
): Promise<void> {
  const ring = last > 0 ? new LastRuns(last, selectors) : undefined;
  for await (const run of mergeHistory(sources)) {
    if (signal.aborted) break;
    if (ring) ring.add(run);
    else await onRun(new ReplayedRun(run.node, run.frame, run.from, run.to, run.end, selectors));
  }
  if (signal.aborted) throw new BackplaneError('cancelled', 'the subscription has ended');
  for (const run of ring?.take() ?? []) await onRun(run);
}

/** The last N events of a sequence of runs, copied out of their frames. */
class LastRuns {
  #runs: { readonly run: Run; from: number; readonly events: Buffer }[] = [];
  #count = 0;
  #bytes = 0;

  readonly #countMax: number;
  readonly #selectors: SelectorSet;

  constructor(countMax: number, selectors: SelectorSet) {
    this.#countMax = countMax;
    this.#selectors = selectors;
  }

  add(run: Run): void {
    const own = sliceFrame(run.frame, run.from, run.to);
    const events = Buffer.from(own.events);
    this.#runs.push({ run: { ...run, frame: { ...own, events }, from: 0, to: run.to - run.from }, from: 0, events });
    this.#count += run.to - run.from;
    this.#bytes += events.length;
    while (this.#count > this.#countMax) this.#shorten();
    if (this.#bytes > LAST_BYTES_MAX) {
      throw new BackplaneError(
        'resource_exhausted',
        `last: the last ${this.#countMax} events must be at most ${LAST_BYTES_MAX} bytes together, they are more: ` +
          'ask for fewer, or for a window with since',
        { field: 'last' },
      );
    }
  }

  *take(): Generator<ReplayedRun> {
    for (const { run, from } of this.#runs) {
      yield new ReplayedRun(run.node, run.frame, from, run.to, run.end, this.#selectors);
    }
  }

  /** Drops the oldest events: a whole run, or the beginning of one. */
  #shorten(): void {
    const oldest = this.#runs[0]!;
    const excess = this.#count - this.#countMax;
    const length = oldest.run.to - oldest.from;
    if (length > excess) {
      oldest.from += excess;
      this.#count -= excess;
      return;
    }
    this.#runs.shift();
    this.#count -= length;
    this.#bytes -= oldest.events.length;
  }
}
