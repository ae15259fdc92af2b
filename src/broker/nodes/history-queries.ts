/**
 * The history queries that run on one node, by their ids, and those that wait
 * for their turn: a node runs only so many at once. A query has its place until
 * the node has said how it ended, also one that was cancelled. One that is not
 * read gives its place to those that wait, and no client has all places.
 */
import { BackplaneError } from '../../errors.js';
import {
  HISTORY_CANCEL_MS,
  HISTORY_PLACE_CHECK_MS,
  HISTORY_PLACE_MS,
  HISTORY_QUERIES_PER_AGENT_MAX,
  HISTORY_QUERIES_PER_CLIENT_MAX,
  HISTORY_TURN_MS,
} from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { decodeHistoryMessage } from '../../wire/grpc/rpc.js';
import { type ControlResponse, nsToTimestamp, positionToMessage, WALL_NS_MAX } from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import { HistoryAnswer } from './history-answer.js';
import { checkHistoryEnd } from './node-checks.js';

export interface HistoryRequest {
  /** Who asks: places are shared out between clients. */
  readonly client: string;
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

interface Running {
  readonly client: string;
  readonly answer: HistoryAnswer;
}

interface Waiting {
  readonly request: HistoryRequest;
  readonly answer: HistoryAnswer;
  readonly timer: NodeJS.Timeout;
}

export class HistoryQueries {
  private readonly running = new Map<number, Running>();
  /** In order of asking. */
  private readonly waiting = new Map<number, Waiting>();
  /** Cancelled, and not ended by the node yet. */
  private readonly cancelled = new Map<number, NodeJS.Timeout>();
  private lastId = 0;
  private closed: string | undefined;
  private check: NodeJS.Timeout | undefined;

  constructor(
    private readonly node: string,
    private readonly send: (message: ControlResponse) => void,
    /** Called when the node has not ended a cancelled query in time. */
    private readonly onSilence: (message: string) => void,
    private readonly cancelMs = HISTORY_CANCEL_MS,
    private readonly placeMs = HISTORY_PLACE_MS,
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
    else if (this.hasPlace(request.client)) this.start(id, request, answer);
    else this.queue(id, request, answer);
    return answer;
  }

  /** One message of the history stream. Throws when the node breaks the protocol. */
  receive(message: Buffer): void {
    const received = decodeHistoryMessage(message);
    // What a cancelled query had already sent is passed over.
    const answer = this.running.get(received.queryId)?.answer;
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
    clearInterval(this.check);
    for (const { answer } of [...this.waiting.values(), ...this.running.values()]) answer.fail(reason);
  }

  private start(id: number, request: HistoryRequest, answer: HistoryAnswer): void {
    this.running.set(id, { client: request.client, answer });
    answer.begin();
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
    const message = `busy: of the history queries that run on this node none ended within ${HISTORY_TURN_MS / 1000} s`;
    const timer = setTimeout(() => answer.fail(message), HISTORY_TURN_MS);
    this.waiting.set(id, { request, answer, timer });
    this.check ??= setInterval(() => this.displace(), Math.min(this.placeMs, HISTORY_PLACE_CHECK_MS));
    this.check.unref();
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

  /** Of those that may start, the one goes first whose client has the fewest places. */
  private next(): void {
    while (this.closed === undefined) {
      let first: [number, Waiting] | undefined;
      for (const entry of this.waiting) {
        const { client } = entry[1].request;
        if (!this.hasPlace(client)) continue;
        if (first === undefined || this.placesOf(client) < this.placesOf(first[1].request.client)) first = entry;
      }
      if (first === undefined) return;
      const [id, { request, answer, timer }] = first;
      clearTimeout(timer);
      this.waiting.delete(id);
      this.start(id, request, answer);
    }
  }

  private hasPlace(client: string): boolean {
    const { size } = this.running;
    return size < HISTORY_QUERIES_PER_AGENT_MAX && this.placesOf(client) < HISTORY_QUERIES_PER_CLIENT_MAX;
  }

  private placesOf(client: string): number {
    let places = 0;
    for (const running of this.running.values()) if (running.client === client) places++;
    return places;
  }

  /** While somebody waits: those that were not read for longest give up their places, as many as wait. */
  private displace(): void {
    if (this.waiting.size === 0) {
      clearInterval(this.check);
      this.check = undefined;
      return;
    }
    const nowMs = Date.now();
    const unread = [...this.running.values()]
      .filter(({ answer }) => answer.outcome === undefined && answer.unreadMs(nowMs) >= this.placeMs)
      .sort((a, b) => b.answer.unreadMs(nowMs) - a.answer.unreadMs(nowMs));
    // Those that were cancelled give up theirs by themselves.
    const wanted = Math.max(0, this.waiting.size - this.cancelled.size);
    for (const { answer } of unread.slice(0, wanted)) answer.displace();
  }
}

/** The clock of a node may be so far off that by it a window is before 1970, or later than times can be said. */
function inRange(wallNs: bigint): bigint {
  if (wallNs < 0n) return 0n;
  return wallNs > WALL_NS_MAX ? WALL_NS_MAX : wallNs;
}
