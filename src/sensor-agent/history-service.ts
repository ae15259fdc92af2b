/** The history queries under way on this node: their credit, their end, their cancellation. */
import { asBackplaneError, BackplaneError } from '../errors.js';
import { CreditBalance } from '../flow/credit.js';
import type { TokenBucket } from '../flow/token-bucket.js';
import {
  DATA_MESSAGE_OVERHEAD_BYTES,
  HISTORY_CPU_SHARE,
  HISTORY_CREDIT_BYTES,
  HISTORY_QUERIES_PER_AGENT_MAX,
} from '../limits.js';
import type { Predicate } from '../subscriptions/predicate.js';
import { encodeHistoryFrame, type HistoryFrame } from '../wire/history-frame.js';
import {
  type HistoryAnswer,
  type HistoryOutlet,
  HistoryQuery,
  type HistoryWindow,
  type Recording,
} from './history-query.js';

export interface HistoryReply {
  /** What the connection takes at this moment, of all queries together. */
  readonly room: CreditBalance;
  frame(queryId: number, frameBytes: Buffer): void;
  end(queryId: number, answer: HistoryAnswer): void;
  fail(queryId: number, error: BackplaneError): void;
}

interface Running {
  readonly abort: AbortController;
  readonly credit: Credit;
}

export class HistoryService {
  #running = new Map<number, Running>();

  constructor(
    private readonly recording: Recording,
    private readonly reply: HistoryReply,
    private readonly budget: TokenBucket,
    /** Told what each step of a query took, in milliseconds. */
    private readonly took: (ms: number) => void,
  ) {}

  start(queryId: number, predicate: Predicate, window: HistoryWindow, creditBytes: number): void {
    if (this.#running.has(queryId) || this.#running.size >= HISTORY_QUERIES_PER_AGENT_MAX) {
      const reason = `at most ${HISTORY_QUERIES_PER_AGENT_MAX} history queries run on a node at once; try again`;
      this.reply.fail(queryId, new BackplaneError('resource_exhausted', reason));
      return;
    }
    const abort = new AbortController();
    const creditMax = Math.min(creditBytes, HISTORY_CREDIT_BYTES);
    const { room } = this.reply;
    const credit = new Credit(creditMax, this.budget, room, (frameBytes) => this.reply.frame(queryId, frameBytes));
    this.#running.set(queryId, { abort, credit });
    const query = new HistoryQuery(
      this.recording,
      predicate,
      window,
      credit,
      abort.signal,
      HISTORY_CPU_SHARE,
      this.took,
    );
    query
      .run()
      .then((answer) => this.#running.has(queryId) && this.reply.end(queryId, answer))
      .catch((cause) => this.#running.has(queryId) && this.reply.fail(queryId, asBackplaneError(cause)))
      .finally(() => this.#running.delete(queryId));
  }

  credit(queryId: number, bytes: number): void {
    this.#running.get(queryId)?.credit.grant(bytes);
  }

  cancel(queryId: number): void {
    this.#running.get(queryId)?.abort.abort();
    this.#running.delete(queryId);
  }

  cancelAll(): void {
    for (const queryId of [...this.#running.keys()]) this.cancel(queryId);
  }
}

/** Frames go out one by one while there is credit; a query goes on when all of its frames are out. */
class Credit implements HistoryOutlet {
  #waiting: Buffer[] = [];
  #balance: CreditBalance;

  constructor(
    bytes: number,
    private readonly budget: TokenBucket,
    private readonly room: CreditBalance,
    private readonly write: (frameBytes: Buffer) => void,
  ) {
    this.#balance = new CreditBalance(bytes);
  }

  /** What waits here is bounded by what one step of a query yields. */
  send(frame: HistoryFrame): void {
    this.#waiting.push(encodeHistoryFrame(frame));
    this.#flush();
  }

  grant(bytes: number): void {
    this.#balance.add(bytes);
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#balance.positive(signal);
      await this.budget.positive(signal);
      await this.room.positive(signal);
      if (signal.aborted) return;
      this.#flush();
    }
  }

  #flush(): void {
    while (this.#balance.available > 0 && this.budget.level > 0 && this.room.available > 0) {
      const frameBytes = this.#waiting.shift();
      if (!frameBytes) return;
      this.#balance.take(frameBytes.length);
      this.budget.take(frameBytes.length + DATA_MESSAGE_OVERHEAD_BYTES);
      this.write(frameBytes);
    }
  }
}
