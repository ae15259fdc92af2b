/**
 * The history queries that run on one node, by their ids, and those that wait
 * for their turn: a node runs only so many at once.
 */
import { BackplaneError } from '../../errors.js';
import { HISTORY_QUERIES_PER_AGENT_MAX, HISTORY_TURN_MS } from '../../limits.js';
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
  readonly start: () => void;
  readonly giveUp: (message: string) => void;
}

export class HistoryDesk {
  private readonly running = new Map<number, HistoryAnswer>();
  private waiting: Waiting[] = [];
  private lastId = 0;
  private closed: string | undefined;

  constructor(
    private readonly node: string,
    private readonly send: (message: ControlResponse) => void,
  ) {}

  /** The answer fails by itself when the node goes, or when its turn does not come in time. */
  query(request: HistoryRequest): HistoryAnswer {
    const id = ++this.lastId;
    const answer = new HistoryAnswer(
      this.node,
      request.creditBytes,
      (bytes) => this.send({ historyCredit: { queryId: id, bytes } }),
      () => this.release(id, answer),
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
      answer.finish(received.end);
    }
  }

  close(reason: string): void {
    this.closed = reason;
    const { waiting } = this;
    this.waiting = [];
    for (const { giveUp } of waiting) giveUp(reason);
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
    this.waiting.push({
      start: () => {
        clearTimeout(timer);
        if (answer.outcome === undefined) this.start(id, request, answer);
        else this.next();
      },
      giveUp: (reason) => {
        clearTimeout(timer);
        answer.fail(reason);
      },
    });
  }

  private release(id: number, answer: HistoryAnswer): void {
    if (!this.running.delete(id)) return;
    if (this.closed !== undefined) return;
    // A node that has said how it ended needs no cancel; for one that has not, it is harmless.
    if (answer.outcome?.kind === 'failed') this.send({ historyCancel: { queryId: id } });
    this.next();
  }

  private next(): void {
    this.waiting.shift()?.start();
  }
}

/** The clock of a node may be so far off that by it a window is before 1970, or later than times can be said. */
function inRange(wallNs: bigint): bigint {
  if (wallNs < 0n) return 0n;
  return wallNs > WALL_NS_MAX ? WALL_NS_MAX : wallNs;
}
