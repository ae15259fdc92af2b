/**
 * The history queries that run on one node, by their ids, and those that wait
 * for their turn: a node runs only so many at once. A query has its place until
 * the node has said how it ended, also one that was cancelled.
 */
import { BackplaneError } from '../../errors.js';
import { HISTORY_CANCEL_MS, HISTORY_QUERIES_PER_AGENT_MAX, HISTORY_TURN_MS } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { type ControlResponse, nsToTimestamp, positionToMessage, WALL_NS_MAX } from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import { decodeHistoryMessage } from '../../wire/rpc.js';
import { HistoryAnswer } from './history-answer.js';
import { checkHistoryEnd } from './node-checks.js';

export interface HistoryRequest {
  readonly predicate: PredicateSpec;
  /** Wall nanoseconds by the node's clock, inclusive. */
  readonly sinceNs?: bigint | undefined;
  /** Exclusive. */
  readonly untilNs?: bigint | undefined;
  readonly after?: Position | undefined;
  /** Inclusive. */
  readonly upTo?: Position | undefined;
  /** 0: all. */
  readonly last: number;
  readonly creditBytes: number;
  /** Only events within one of these; they ascend. */
  readonly within?: readonly Stretch[] | undefined;
}

/** Positions in (from, to]. */
export interface Stretch {
  readonly from: Position;
  readonly to: Position;
}

interface Waiting {
  readonly request: HistoryRequest;
  readonly answer: HistoryAnswer;
  readonly timer: NodeJS.Timeout;
}

export class HistoryDesk {
  private readonly running = new Map<number, HistoryAnswer>();
  /** In order of asking. */
  private readonly waiting = new Map<number, Waiting>();
  /** Cancelled, and not ended by the node yet. */
  private readonly cancelled = new Map<number, NodeJS.Timeout>();
  private lastId = 0;
  private closed: string | undefined;

  constructor(
    private readonly node: string,
    private readonly send: (message: ControlResponse) => void,
    /** Called when the node has not ended a cancelled query in time. */
    private readonly onSilence: (message: string) => void,
    private readonly cancelMs = HISTORY_CANCEL_MS,
  ) {}

  /** The answer fails by itself when the node goes, or when its turn does not come in time. */
  query(request: HistoryRequest): HistoryAnswer {
    const id = ++this.lastId;
    const answer = new HistoryAnswer(
      this.node,
      request.creditBytes,
      (bytes) => this.send({ historyCredit: { queryId: id, bytes } }),
      () => this.release(id),
    );
    if (this.closed !== undefined) answer.fail(this.closed);
    else if (this.running.size < HISTORY_QUERIES_PER_AGENT_MAX) this.start(id, request, answer);
    else this.queue(id, request, answer);
    return answer;
  }

  /** One message of the history stream. Throws when the node breaks the protocol. */
  receive(message: Buffer): void {
    const received = decodeHistoryMessage(message);
    // What a cancelled query had already sent is passed over.
    const answer = this.running.get(received.queryId);
    if (answer === undefined) {
      if (received.queryId > this.lastId) {
        throw new BackplaneError('invalid_argument', `history query ${received.queryId} was never asked`);
      }
      return;
    }
    if ('frameBytes' in received) answer.receive(received.frameBytes);
    else {
      checkHistoryEnd(received.end);
      this.running.delete(received.queryId);
      clearTimeout(this.cancelled.get(received.queryId));
      this.cancelled.delete(received.queryId);
      answer.finish(received.end);
      this.next();
    }
  }

  close(reason: string): void {
    this.closed = reason;
    for (const timer of this.cancelled.values()) clearTimeout(timer);
    for (const { answer } of [...this.waiting.values()]) answer.fail(reason);
    for (const answer of [...this.running.values()]) answer.fail(reason);
  }

  private start(id: number, request: HistoryRequest, answer: HistoryAnswer): void {
    this.running.set(id, answer);
    const { predicate, sinceNs, untilNs, after, upTo } = request;
    this.send({
      historyQuery: {
        queryId: id,
        predicate: {
          ...predicate,
          id: predicate.id.toString(),
          topics: [...predicate.topics],
          fields: [...predicate.fields],
        },
        since: sinceNs === undefined ? null : nsToTimestamp(inRange(sinceNs)),
        until: untilNs === undefined ? null : nsToTimestamp(inRange(untilNs)),
        after: after === undefined ? null : positionToMessage(after),
        upTo: upTo === undefined ? null : positionToMessage(upTo),
        last: request.last,
        creditBytes: request.creditBytes,
        within: (request.within ?? []).map((stretch) => {
          return { from: positionToMessage(stretch.from), to: positionToMessage(stretch.to) };
        }),
      },
    });
  }

  private queue(id: number, request: HistoryRequest, answer: HistoryAnswer): void {
    const message = `busy: ${HISTORY_QUERIES_PER_AGENT_MAX} history queries run on this node, none ended in time`;
    const timer = setTimeout(() => answer.fail(message), HISTORY_TURN_MS);
    this.waiting.set(id, { request, answer, timer });
  }

  /** Nothing more is wanted of the answer. */
  private release(id: number): void {
    const waiting = this.waiting.get(id);
    if (waiting !== undefined) {
      clearTimeout(waiting.timer);
      this.waiting.delete(id);
      return;
    }
    if (!this.running.has(id) || this.closed !== undefined) return;
    this.send({ historyCancel: { queryId: id } });
    const message = `history query ${id} has not ended within ${this.cancelMs} ms of its cancellation`;
    this.cancelled.set(
      id,
      setTimeout(() => this.onSilence(message), this.cancelMs),
    );
  }

  private next(): void {
    for (const [id, { request, answer, timer }] of this.waiting) {
      if (this.closed !== undefined || this.running.size >= HISTORY_QUERIES_PER_AGENT_MAX) return;
      clearTimeout(timer);
      this.waiting.delete(id);
      this.start(id, request, answer);
    }
  }
}

/** The clock of a node may be so far off that by it a window is before 1970, or later than times can be said. */
function inRange(wallNs: bigint): bigint {
  if (wallNs < 0n) return 0n;
  return wallNs > WALL_NS_MAX ? WALL_NS_MAX : wallNs;
}
