/**
 * Reads a stream behind its tail, by a consumer of the wanted subjects that is asked for one batch at a time. What the reader
 * must not miss is known without the consumer: the tail knows the last message of each topic. A replica that lags behind can
 * therefore not pass for the end of the log.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { LOG_CATCH_UP_BATCH, LOG_CATCH_UP_BYTES_MAX, NATS_REQUEST_MS } from '../../../limits.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { type StoredMessage, StreamPull } from '../../nats/stream-pull.js';
import type { LogItem } from '../partition-log.js';
import { markOf } from '../tail/marks.js';
import type { CatchUpTurns, TurnHolder } from './catch-up-turns.js';
import type { Missing } from './partition-fold.js';

/** What a reader has to know of its log. */
export interface ReadLog<T> {
  readonly link: NatsLink;
  readonly stream: string;
  /** The wanted subjects. */
  readonly filters: readonly string[];
  readonly turns: CatchUpTurns;
  readonly deliverable: () => number;
  /** Asked of the server where `fresh`. */
  readonly firstOffset: (fresh: boolean) => Promise<number>;
  /** Sequence of the last message that is wanted; 0 where there is none. */
  readonly lastWanted: () => number;
  readonly missing: () => readonly Missing[];
  /** The mark of the message at a sequence, as the tail has read it; undefined where it is not known. */
  readonly markOf: (sequence: number) => number | undefined;
  /** See StreamTail.rewinds. */
  readonly rewinds: () => number | undefined;
  readonly read: (message: StoredMessage) => T;
}

type Loss = Exclude<LogItem, { kind: 'frame' }>;

/** Batches that bring nothing although there is something: then the consumer is made anew. */
const EMPTY_MAX = 3;
const EMPTY_MS = 50;
/** While a log goes back nothing is read of it; whoever asks comes again. */
const GOING_BACK_MS = 50;

export class CatchUpReader<T> implements TurnHolder {
  offset: number;
  mark: number | undefined;
  /** See TurnHolder. */
  busy = false;
  readonly #log: ReadLog<T>;
  /** Read ahead, the next one first. */
  #batch: StoredMessage[] = [];
  #pull: StreamPull | undefined;
  #ended: ((cause?: Error) => void) | undefined;
  #closed = false;
  /** What was read ahead is of the log as it was then. */
  #rewinds: number | undefined;

  constructor(log: ReadLog<T>, from: number) {
    this.#log = log;
    this.offset = from;
    this.#rewinds = log.rewinds();
  }

  /** Undefined at the end, which `offset` is then; or where there is nothing at this moment. */
  async next(): Promise<T | Loss | undefined> {
    const { deliverable, firstOffset } = this.#log;
    if (!this.#isOfOneLog()) {
      await sleep(GOING_BACK_MS);
      return undefined;
    }
    const end = deliverable();
    if (this.#closed || this.offset >= end) return undefined;
    const first = await firstOffset(this.#batch.length === 0 && this.#pull === undefined);
    if (this.offset < first) return this.#evicted(first);
    const missing = this.#missingFrom();
    const wanted = this.#log.lastWanted();
    if (missing === undefined && wanted < this.offset) {
      this.offset = end;
      return undefined;
    }
    if (this.#batch.length === 0 && wanted >= this.offset) await this.#read();
    if (this.#closed || !this.#isOfOneLog()) return undefined;
    const message = this.#batch[0];
    if (missing !== undefined && missing.from < (message?.sequence ?? end)) return this.#damage(missing);
    if (message === undefined || message.sequence >= end) return undefined;
    return this.#take(message);
  }

  close(): void {
    this.#closed = true;
    this.giveUp();
    this.#ended?.();
    this.#log.turns.release(this);
  }

  /** See TurnHolder: what was read ahead is read again. */
  giveUp(): void {
    this.#endPull();
    this.#batch = [];
  }

  /** False where the log goes back, or has since it was asked last: then what was read ahead is forgotten. */
  #isOfOneLog(): boolean {
    const before = this.#rewinds;
    this.#rewinds = this.#log.rewinds();
    if (this.#rewinds !== before) this.giveUp();
    return before !== undefined && this.#rewinds === before;
  }

  async #take(message: StoredMessage): Promise<T | Loss | undefined> {
    // What a slow reader had before it may be gone by now: the consumer then begins behind it without a word.
    const first = await this.#log.firstOffset(message.sequence > this.offset);
    if (!this.#isOfOneLog()) return undefined;
    if (this.offset < first) return this.#evicted(first);
    if (this.#batch[0] === message) this.#batch.shift();
    this.offset = message.sequence + 1;
    this.mark = markOf(message.subject, message.timeNs);
    return this.#log.read(message);
  }

  #evicted(first: number): Loss {
    const item = { kind: 'evicted', offsetFrom: this.offset, offsetTo: first } as const;
    this.#skipTo(first);
    return item;
  }

  #damage({ from, to, message }: Missing): Loss {
    const item = { kind: 'damage', offsetFrom: Math.max(from, this.offset), offsetTo: to, message } as const;
    this.#skipTo(to);
    return item;
  }

  #skipTo(offset: number): void {
    this.offset = offset;
    this.mark = undefined;
    this.#batch = this.#batch.filter(({ sequence }) => sequence >= offset);
  }

  #missingFrom(): Missing | undefined {
    return this.#log.missing().find(({ to }) => to > this.offset);
  }

  /** Reads the next batch. Rejects with unavailable where NATS does not give it. */
  async #read(): Promise<void> {
    const { turns, stream } = this.#log;
    await turns.take(this);
    this.busy = true;
    try {
      for (let empty = 1; this.#batch.length === 0 && !this.#closed && empty <= EMPTY_MAX; empty++) {
        try {
          this.#pull ??= await this.#open();
          await this.#ask(this.#pull);
          if (this.#batch.length > 0) return;
        } catch (cause) {
          const why = (cause as Error).message;
          if (empty === EMPTY_MAX) throw new BackplaneError('unavailable', `${stream} cannot be read: ${why}`);
        }
        this.#endPull();
        await sleep(empty * EMPTY_MS);
      }
    } finally {
      this.busy = false;
      turns.rest();
    }
  }

  #open(): Promise<StreamPull> {
    const { link, stream, filters } = this.#log;
    return StreamPull.open(
      link,
      { stream, from: this.offset, filters },
      {
        message: (message) => {
          const { sequence, subject, timeNs } = message;
          const known = this.#log.markOf(sequence);
          if (known !== undefined && known !== markOf(subject, timeNs))
            throw new Error(`its server has another message at ${sequence}`);
          // A copy: what was read from the connection belongs to many messages.
          if (sequence >= this.offset) this.#batch.push({ ...message, data: Buffer.from(message.data) });
        },
        ended: () => this.#ended?.(),
        failed: (cause) => {
          this.#pull = undefined;
          this.#ended?.(cause);
        },
      },
    );
  }

  /** Resolves when a batch has come, or a part of it. */
  async #ask(pull: StreamPull): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#ended = (cause) => (cause === undefined ? resolve() : reject(cause));
        timer = setTimeout(() => reject(new Error('nothing came')), 2 * NATS_REQUEST_MS);
        pull.ask(LOG_CATCH_UP_BATCH, LOG_CATCH_UP_BYTES_MAX, undefined);
      });
    } finally {
      clearTimeout(timer);
      this.#ended = undefined;
    }
  }

  #endPull(): void {
    this.#pull?.close();
    this.#pull = undefined;
  }
}
