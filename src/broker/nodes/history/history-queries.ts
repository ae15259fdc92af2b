/**
 * The history queries of one node, running and waiting. A node runs a bounded
 * number at once, and one client never has all places. A query, also a cancelled
 * one, keeps its place until the node reports its end, because the node works on
 * it until then. A query whose answer is not read loses its place to a waiting one.
 */
import { BackplaneError } from '../../../errors.js';
import {
  HISTORY_CANCEL_MS,
  HISTORY_PLACE_CHECK_MS,
  HISTORY_PLACE_MS,
  HISTORY_QUERIES_PER_AGENT_MAX,
  HISTORY_QUERIES_PER_CLIENT_MAX,
  HISTORY_TURN_MS,
} from '../../../limits.js';
import { decodeHistoryMessage } from '../../../wire/grpc/rpc.js';
import type { ControlResponse, HistoryEnd__Output } from '../../../wire/messages.js';
import { checkHistoryEnd } from '../node-checks.js';
import { HistoryAnswer, type HistoryOutcome } from './history-answer.js';
import { type HistoryRequest, historyQueryOf } from './history-request.js';
import { unreadAnswers } from './unread-answers.js';

/** Takes one query's answer: for who asked in this broker, or for another broker. */
export interface AnswerTaker {
  readonly outcome: HistoryOutcome | undefined;
  /** The query was sent to the node. */
  begin(): void;
  /** One frame. Throws failed_precondition when the node sends more than its credit. */
  receive(bytes: Buffer): void;
  finish(end: HistoryEnd__Output): void;
  fail(message: string): void;
  /** Ends the answer so that another query gets its place. */
  displace(): void;
  /** Milliseconds for which what has come was not taken. */
  unreadMs(nowMs: number): number;
}

/** What the taker of an answer says to the node. */
export interface QueryControls {
  grant(bytes: number): void;
  /** Called once, when the answer is settled and the node need send nothing more. */
  release(): void;
}

interface Running {
  readonly client: string;
  readonly answer: AnswerTaker;
}

interface Waiting {
  readonly request: HistoryRequest;
  readonly answer: AnswerTaker;
  readonly timer: NodeJS.Timeout;
}

export class HistoryQueries {
  readonly #running = new Map<number, Running>();
  /** In the order in which they were asked. */
  readonly #waiting = new Map<number, Waiting>();
  /** Cancelled queries that the node has not ended yet, with the timer that limits how long it may take. */
  readonly #cancelled = new Map<number, NodeJS.Timeout>();
  #lastId = 0;
  #closed: string | undefined;
  #check: NodeJS.Timeout | undefined;

  readonly #node: string;
  readonly #send: (message: ControlResponse) => void;
  /** Called when the node has not ended a cancelled query within `cancelMs`. */
  readonly #onSilence: (message: string) => void;
  readonly #cancelMs: number;
  readonly #placeMs: number;

  constructor(
    node: string,
    send: (message: ControlResponse) => void,
    onSilence: (message: string) => void,
    cancelMs = HISTORY_CANCEL_MS,
    placeMs = HISTORY_PLACE_MS,
  ) {
    this.#node = node;
    this.#send = send;
    this.#onSilence = onSilence;
    this.#cancelMs = cancelMs;
    this.#placeMs = placeMs;
  }

  /** The answer fails when the node disconnects, or when no place becomes free within HISTORY_TURN_MS. */
  query(request: HistoryRequest): HistoryAnswer {
    const { creditBytes, grow } = request;
    return this.ask(request, ({ grant, release }) => {
      return new HistoryAnswer(this.#node, creditBytes, grant, release, undefined, grow);
    });
  }

  /** Likewise, for any taker of the answer. */
  ask<T extends AnswerTaker>(request: HistoryRequest, takerOf: (controls: QueryControls) => T): T {
    const id = ++this.#lastId;
    const answer = takerOf({
      grant: (bytes) => this.#send({ historyCredit: { queryId: id, bytes } }),
      release: () => this.#release(id),
    });
    if (this.#closed !== undefined) answer.fail(this.#closed);
    else if (this.#hasPlace(request.client)) this.#start(id, request, answer);
    else this.#queue(id, request, answer);
    return answer;
  }

  /** One message of the history stream. Throws when the node breaks the protocol. */
  receive(message: Buffer): void {
    const received = decodeHistoryMessage(message);
    // Frames of a settled query may still arrive; receive() of its answer drops them.
    const answer = this.#running.get(received.queryId)?.answer;
    if (answer === undefined) {
      if (received.queryId > this.#lastId) {
        throw new BackplaneError('invalid_argument', `history query ${received.queryId} was never asked`);
      }
      return;
    }
    if ('frameBytes' in received) answer.receive(received.frameBytes);
    else {
      checkHistoryEnd(received.end);
      this.#running.delete(received.queryId);
      clearTimeout(this.#cancelled.get(received.queryId));
      this.#cancelled.delete(received.queryId);
      answer.finish(received.end);
      this.#next();
    }
  }

  close(reason: string): void {
    this.#closed = reason;
    for (const timer of this.#cancelled.values()) clearTimeout(timer);
    clearInterval(this.#check);
    for (const { answer } of [...this.#waiting.values(), ...this.#running.values()]) answer.fail(reason);
  }

  #start(id: number, request: HistoryRequest, answer: AnswerTaker): void {
    this.#running.set(id, { client: request.client, answer });
    answer.begin();
    this.#send({ historyQuery: historyQueryOf(id, request) });
  }

  #queue(id: number, request: HistoryRequest, answer: AnswerTaker): void {
    const message = `busy: of the history queries that run on this node none ended within ${HISTORY_TURN_MS / 1000} s`;
    const timer = setTimeout(() => answer.fail(message), HISTORY_TURN_MS);
    this.#waiting.set(id, { request, answer, timer });
    this.#check ??= setInterval(() => this.#displace(), Math.min(this.#placeMs, HISTORY_PLACE_CHECK_MS));
    this.#check.unref();
  }

  /** Called when the answer is settled: leaves the queue, or cancels the query on the node. */
  #release(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) {
      clearTimeout(waiting.timer);
      this.#waiting.delete(id);
      return;
    }
    if (!this.#running.has(id) || this.#closed !== undefined) return;
    this.#send({ historyCancel: { queryId: id } });
    const message = `history query ${id} has not ended within ${this.#cancelMs} ms of its cancellation`;
    this.#cancelled.set(
      id,
      setTimeout(() => this.#onSilence(message), this.#cancelMs),
    );
  }

  /** Starts waiting queries while places are free; the query whose client has the fewest places starts first. */
  #next(): void {
    while (this.#closed === undefined) {
      let first: [number, Waiting] | undefined;
      for (const entry of this.#waiting) {
        const { client } = entry[1].request;
        if (!this.#hasPlace(client)) continue;
        if (first === undefined || this.#placesOf(client) < this.#placesOf(first[1].request.client)) first = entry;
      }
      if (first === undefined) return;
      const [id, { request, answer, timer }] = first;
      clearTimeout(timer);
      this.#waiting.delete(id);
      this.#start(id, request, answer);
    }
  }

  #hasPlace(client: string): boolean {
    const { size } = this.#running;
    return size < HISTORY_QUERIES_PER_AGENT_MAX && this.#placesOf(client) < HISTORY_QUERIES_PER_CLIENT_MAX;
  }

  #placesOf(client: string): number {
    let places = 0;
    for (const running of this.#running.values()) if (running.client === client) places++;
    return places;
  }

  /** Displaces the answers that were unread for longest, at most one for each waiting query. */
  #displace(): void {
    if (this.#waiting.size === 0) {
      clearInterval(this.#check);
      this.#check = undefined;
      return;
    }
    const answers = Array.from(this.#running.values(), ({ answer }) => answer);
    // Cancelled queries free their places anyway, so that many fewer have to be displaced.
    const wanted = Math.max(0, this.#waiting.size - this.#cancelled.size);
    for (const answer of unreadAnswers(answers, this.#placeMs).slice(0, wanted)) answer.displace();
  }
}
