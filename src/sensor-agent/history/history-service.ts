/**
 * Runs the history queries that a broker asks of this node. They are queued,
 * and a bounded number run at once. Each ends with exactly one end, cancelled
 * ones too; a query that is cancelled before its turn has done no work at all.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { CreditBalance } from '../../flow/credit.js';
import type { TokenBucket } from '../../flow/token-bucket.js';
import {
  DATA_MESSAGE_OVERHEAD_BYTES,
  HISTORY_BESIDE_BYTES,
  HISTORY_CREDIT_BYTES,
  HISTORY_FRAME_BYTES,
  HISTORY_FRAME_BYTES_MIN,
  HISTORY_PROGRESS_MS,
  HISTORY_QUERIES_AT_ONCE_MIN,
  HISTORY_QUERIES_PER_AGENT_MAX,
  HISTORY_QUERIES_QUEUED_MAX,
  HISTORY_QUERY_BYTES,
  HISTORY_QUEUE_BYTES_MAX,
  HISTORY_REVIEW_MS,
} from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { emptyHistoryFrame, encodeHistoryFrame, type HistoryFrame } from '../../wire/frame/history-frame.js';
import type { Position } from '../../wire/position.js';
import { type AskedPredicate, HistoryQuery, type Recording } from './history-query.js';
import type { HistoryTurns } from './history-turns.js';
import type { HistoryResult, HistoryWindow } from './history-window.js';
import type { HistoryOutlet } from './reader-wait.js';

export interface HistoryReply {
  /** Bytes that the connection takes at this moment, of all queries together. */
  readonly room: CreditBalance;
  frame(queryId: number, frameBytes: Buffer): void;
  end(queryId: number, answer: HistoryResult): void;
  fail(queryId: number, error: BackplaneError): void;
}

/** A request as the broker sent it. */
export interface HistoryTask {
  /** At least one. */
  readonly predicates: readonly PredicateSpec[];
  /** Without `upTo`: up to what is recorded when its turn comes. */
  readonly window: Omit<HistoryWindow, 'upTo'> & { readonly upTo: Position | undefined };
}

/** A request compiled and bounded, when its turn has come. */
export interface PreparedRequest {
  readonly predicates: readonly AskedPredicate[];
  readonly window: HistoryWindow;
}

interface Query {
  readonly request: HistoryTask;
  /** Approximate bytes that it takes in the queue. */
  readonly bytes: number;
  readonly abort: AbortController;
  readonly credit: Credit;
  /** When it last said that it waits, monotonic. */
  saidMs: number;
}

/** How many queries run at once in an agent that may take so much memory. */
export function queriesAtOnce(residentBytesMax: number): number {
  const fit = Math.floor((residentBytesMax - HISTORY_BESIDE_BYTES) / HISTORY_QUERY_BYTES);
  return Math.max(HISTORY_QUERIES_AT_ONCE_MIN, Math.min(HISTORY_QUERIES_PER_AGENT_MAX, fit));
}

export class HistoryService {
  readonly #waiting = new Map<number, Query>();
  #waitingBytes = 0;
  readonly #running = new Map<number, Query>();
  readonly #turns: HistoryTurns;
  /** While queries wait. */
  #review: NodeJS.Timeout | undefined;
  #closed = false;

  /** Queries that run at once, beside those that wait for their readers. */
  readonly #atOnce: number;
  readonly #recording: Recording;
  readonly #reply: HistoryReply;
  readonly #budget: TokenBucket;
  /** Throws for a request that cannot be answered. */
  readonly #prepare: (request: HistoryTask) => PreparedRequest;

  constructor(
    recording: Recording,
    reply: HistoryReply,
    budget: TokenBucket,
    prepare: (request: HistoryTask) => PreparedRequest,
    turns: HistoryTurns,
    /** What the agent may take in all. */
    residentBytesMax = Number.POSITIVE_INFINITY,
  ) {
    this.#recording = recording;
    this.#reply = reply;
    this.#budget = budget;
    this.#prepare = prepare;
    this.#turns = turns;
    this.#atOnce = queriesAtOnce(residentBytesMax);
  }

  /** Queries that have not ended. */
  get size(): number {
    return this.#waiting.size + this.#running.size;
  }

  /** Queries that run and do not wait for their readers. */
  get working(): number {
    let working = 0;
    for (const { credit } of this.#running.values()) if (!credit.waits) working += 1;
    return working;
  }

  /** Throws invalid_argument for the id of a query that has not ended, as the two answers could not be told apart. */
  start(queryId: number, request: HistoryTask, creditBytes: number): void {
    if (this.#waiting.has(queryId) || this.#running.has(queryId)) {
      throw new BackplaneError('invalid_argument', `history_query.query_id ${queryId} has not ended yet`);
    }
    const bytes = requestBytes(request);
    if (this.#waiting.size >= HISTORY_QUERIES_QUEUED_MAX || this.#waitingBytes + bytes > HISTORY_QUEUE_BYTES_MAX) {
      const bound = `at most ${HISTORY_QUERIES_QUEUED_MAX} history queries and ${HISTORY_QUEUE_BYTES_MAX} bytes of them`;
      const error = new BackplaneError('resource_exhausted', `${bound} wait for their turn on a node; try again`);
      this.#reply.fail(queryId, error);
      return;
    }
    const abort = new AbortController();
    const creditMax = Math.min(creditBytes, HISTORY_CREDIT_BYTES);
    const { room } = this.#reply;
    const credit = new Credit(creditMax, this.#budget, room, (frameBytes) => this.#reply.frame(queryId, frameBytes));
    this.#waiting.set(queryId, { request, bytes, abort, credit, saidMs: performance.now() });
    this.#waitingBytes += bytes;
    this.#runWaiting();
  }

  credit(queryId: number, bytes: number): void {
    (this.#running.get(queryId) ?? this.#waiting.get(queryId))?.credit.grant(bytes);
  }

  /** Cancels a query; its end says so, unless it has ended before. */
  cancel(queryId: number): void {
    this.#running.get(queryId)?.abort.abort();
    if (this.#leaveQueue(queryId))
      this.#reply.fail(queryId, new BackplaneError('cancelled', 'history query cancelled'));
  }

  /** Ends all queries without telling the broker. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#review);
    this.#waiting.clear();
    for (const { abort } of this.#running.values()) abort.abort();
  }

  #leaveQueue(queryId: number): Query | undefined {
    const query = this.#waiting.get(queryId);
    if (!query) return undefined;
    this.#waiting.delete(queryId);
    this.#waitingBytes -= query.bytes;
    return query;
  }

  #runWaiting(): void {
    for (const [queryId, query] of this.#waiting) {
      if (this.#full) break;
      this.#leaveQueue(queryId);
      this.#running.set(queryId, query);
      void this.#run(queryId, query);
    }
    clearInterval(this.#review);
    if (this.#waiting.size > 0) this.#review = setInterval(() => this.#reviewWaiting(), HISTORY_REVIEW_MS).unref();
  }

  get #full(): boolean {
    return this.#running.size >= HISTORY_QUERIES_PER_AGENT_MAX || this.working >= this.#atOnce;
  }

  /** Readers may have stopped reading. Those that wait say so, or they would look like a node that has gone silent. */
  #reviewWaiting(): void {
    const nowMs = performance.now();
    for (const query of this.#waiting.values()) {
      if (nowMs - query.saidMs < HISTORY_PROGRESS_MS) continue;
      query.saidMs = nowMs;
      query.credit.send(emptyHistoryFrame(query.request.predicates[0]!.topics[0]!));
    }
    this.#runWaiting();
  }

  async #run(queryId: number, { request, abort, credit }: Query): Promise<void> {
    const { signal } = abort;
    let tell: () => void;
    try {
      const { predicates, window } = await this.#turns.step(signal, () => this.#prepare(request));
      const query = new HistoryQuery(this.#recording, predicates, window, credit, signal, this.#turns);
      const answer = await query.run();
      tell = () => this.#reply.end(queryId, answer);
    } catch (cause) {
      tell = () => this.#reply.fail(queryId, asBackplaneError(cause));
    }
    this.#running.delete(queryId);
    if (this.#closed) return;
    tell();
    this.#runWaiting();
  }
}

/** Approximate bytes of a request in memory. */
function requestBytes({ predicates, window }: HistoryTask): number {
  const texts = predicates.flatMap(({ filter, topics, fields }) => [filter, ...topics, ...fields]);
  return texts.reduce((sum, text) => sum + text.length * 2 + 32, 512) + (window.within?.length ?? 0) * 256;
}

/** Sends frames one by one while there is credit; a query goes on when all of its frames are out. */
class Credit implements HistoryOutlet {
  #waiting: Buffer[] = [];
  #balance: CreditBalance;
  /** The most that was granted at once. */
  #grantedBytes: number;

  readonly #budget: TokenBucket;
  readonly #room: CreditBalance;
  readonly #write: (frameBytes: Buffer) => void;

  constructor(bytes: number, budget: TokenBucket, room: CreditBalance, write: (frameBytes: Buffer) => void) {
    this.#budget = budget;
    this.#room = room;
    this.#write = write;
    this.#balance = new CreditBalance(bytes);
    this.#grantedBytes = bytes;
  }

  /** Readers that grant little hold many answers at once. */
  get frameBytes(): number {
    return Math.min(HISTORY_FRAME_BYTES, Math.max(HISTORY_FRAME_BYTES_MIN, this.#grantedBytes));
  }

  /** Queues a frame. One step of a query yields a bounded number of frames, so the queue is bounded too. */
  send(frame: HistoryFrame): void {
    this.#waiting.push(encodeHistoryFrame(frame));
    this.#flush();
  }

  /** Whether its reader is to take what was sent before. */
  get waits(): boolean {
    return this.#waiting.length > 0 && this.#balance.available <= 0;
  }

  grant(bytes: number): void {
    this.#grantedBytes = Math.max(this.#grantedBytes, bytes);
    this.#balance.add(bytes);
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#balance.positive(signal);
      await this.#budget.positive(signal);
      await this.#room.positive(signal);
      if (signal.aborted) return;
      this.#flush();
    }
  }

  #flush(): void {
    while (this.#balance.available > 0 && this.#budget.level > 0 && this.#room.available > 0) {
      const frameBytes = this.#waiting.shift();
      if (!frameBytes) return;
      this.#balance.take(frameBytes.length);
      this.#budget.take(frameBytes.length + DATA_MESSAGE_OVERHEAD_BYTES);
      this.#write(frameBytes);
    }
  }
}
