/**
 * Follows a partition's stream with one consumer, in order, and never stops for good: silence, a lost connection and every
 * doubt make a new consumer from where this one stood. Before each it is asked whether the stream is the one that was, and
 * whether it still has what was read: where machines lost the end of it, the tail goes back.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../../errors.js';
import { Signal } from '../../../flow/signal.js';
import { LOG_STREAM_LOOKS, LOG_TAIL_BATCH, LOG_TAIL_BYTES_MAX, LOG_TAIL_RETRY_MS_MAX } from '../../../limits.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { streamInfo } from '../../nats/stream-form.js';
import { CoveredPositions } from '../covered-positions.js';
import type { LogItem } from '../partition-log.js';
import { readCheckpointPart, type Standing } from './checkpoint.js';
import { lostFrom } from './marks.js';
import type { PartitionFold } from './partition-fold.js';
import { StreamPull } from './stream-pull.js';

export interface TailTimes {
  /** Silence after which a consumer is taken for dead. */
  readonly silenceMs: number;
  /** Before a new consumer where the one before brought nothing. */
  readonly retryMs: number;
}

export interface TailOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly fold: PartitionFold;
  /** Throws where the stream is not the one that was: then nothing can go on. */
  readonly check: (info: StreamInfo) => void;
  /** Told of frames and of what is missing, in order; not of what was told before. */
  readonly tell: (item: LogItem) => void;
  /** The stream has lost all from a sequence on: what was told of it is void, other messages come in its place. */
  readonly rewound: (sequence: number) => void;
  /** The stream is gone, or another one. */
  readonly lost: (cause: BackplaneError) => void;
  readonly times: TailTimes;
}

interface Waiting {
  readonly sequence: number;
  readonly settle: (cause?: BackplaneError) => void;
}

/** A request for messages ends by itself after this, and is made again. */
const REQUEST_MS = 20_000;
const RETRY_GROWTH = 1.5;

export class PartitionTail {
  /** Why nothing is read, in a sentence; undefined while it is read. */
  trouble: string | undefined;
  /** What is below it was told. */
  #toldTo = 1;
  /** Where the stream goes on with other messages, until that is told. */
  #rewoundTo: number | undefined;
  readonly #options: TailOptions;
  readonly #ending = new AbortController();
  readonly #again = new Signal();
  readonly #waiting = new Set<Waiting>();
  #fail: ((cause: Error) => void) | undefined;
  #running: Promise<void> = Promise.resolve();
  #notFound = 0;

  constructor(options: TailOptions) {
    this.#options = options;
    options.link.onReconnect(() => {
      // What was asked for on the lost connection never comes.
      this.restart('the connection to NATS was lost');
      this.#again.notify();
    });
  }

  /** All below it can be delivered. */
  get deliverable(): number {
    return Math.max(this.#toldTo, this.#options.fold.next);
  }

  /** Resolves when it has read all that the stream has now. Rejects where it is not what it must be, or NATS is away. */
  async open(): Promise<void> {
    const info = await this.#look();
    await this.#restore(info.state.last_seq + 1, info.state.first_seq);
    this.#toldTo = info.state.last_seq + 1;
    this.#running = this.#run();
    await this.readUpTo(info.state.last_seq);
  }

  /** Resolves once a sequence was read; rejects with unavailable at a deadline of performance.now(). */
  readUpTo(sequence: number, deadlineMs?: number): Promise<void> {
    if (this.#options.fold.next > sequence) return Promise.resolve();
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const waiting: Waiting = {
        sequence,
        settle: (cause) => {
          clearTimeout(timer);
          this.#waiting.delete(waiting);
          if (cause === undefined) resolve();
          else reject(cause);
        },
      };
      this.#waiting.add(waiting);
      if (deadlineMs === undefined) return;
      const why = () => new BackplaneError('unavailable', this.trouble ?? 'NATS does not tell what it has stored');
      timer = setTimeout(() => waiting.settle(why()), Math.max(0, deadlineMs - performance.now()));
    });
  }

  /** Throws this consumer away, and makes a new one. */
  restart(reason: string): void {
    this.#fail?.(new Error(reason));
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#again.notify();
    this.restart('closed');
    for (const waiting of this.#waiting) waiting.settle(new BackplaneError('cancelled', 'the log is closed'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    let waitMs = 0;
    while (!signal.aborted) {
      const before = this.#options.fold.next;
      try {
        await this.#follow();
      } catch (cause) {
        if (signal.aborted) return;
        if (cause instanceof BackplaneError && cause.code === 'failed_precondition') {
          for (const waiting of this.#waiting) waiting.settle(cause);
          this.#options.lost(cause);
          return;
        }
        this.trouble = `${this.#options.stream} is not read: ${(cause as Error).message}`;
      }
      // One that has worked is replaced at once, and by and by where that does not help.
      const { retryMs } = this.#options.times;
      waitMs =
        this.#options.fold.next > before
          ? 0
          : Math.min(LOG_TAIL_RETRY_MS_MAX, Math.max(retryMs, waitMs * RETRY_GROWTH));
      // Many brokers lose the same server at once.
      if (waitMs > 0) await this.#again.wait(signal, waitMs * (0.75 + Math.random() / 2));
    }
  }

  /** One consumer, until it fails. */
  async #follow(): Promise<void> {
    const { link, stream, fold } = this.#options;
    const info = await this.#look();
    await this.#goBack(info);
    let failed = (_cause: Error): void => undefined;
    const failure = new Promise<never>((_resolve, reject) => {
      failed = reject;
    });
    failure.catch(() => undefined);
    this.#fail = failed;
    let heardMs = performance.now();
    const ask = () => pull.ask(LOG_TAIL_BATCH, LOG_TAIL_BYTES_MAX, REQUEST_MS);
    const pull: StreamPull = await StreamPull.open(
      link,
      { stream, from: fold.next },
      {
        message: (message) => {
          heardMs = performance.now();
          this.trouble = undefined;
          this.#tellRewound(message.sequence);
          fold.take(message, (item) => this.#tell(item));
          this.#settle();
          this.#tellRewound(fold.next);
        },
        ended: () => ask(),
        failed,
      },
    );
    const { silenceMs } = this.#options.times;
    const watch = setInterval(() => {
      if (performance.now() - heardMs > silenceMs) failed(new Error(`nothing came for ${silenceMs} ms`));
    }, silenceMs / 4).unref();
    try {
      ask();
      await failure;
    } finally {
      clearInterval(watch);
      this.#fail = undefined;
      pull.close();
    }
  }

  #tell(item: LogItem): void {
    const offset = item.kind === 'frame' ? item.offset : item.offsetFrom;
    if (offset < this.#toldTo) return;
    this.#options.tell(item);
  }

  #settle(): void {
    const { next } = this.#options.fold;
    this.#toldTo = Math.max(this.#toldTo, next);
    for (const waiting of this.#waiting) if (waiting.sequence < next) waiting.settle();
  }

  /** Rejects with failed_precondition where the stream is gone or not the one that was. */
  async #look(): Promise<StreamInfo> {
    const { link, stream, check } = this.#options;
    const info = await streamInfo(link.manager, stream);
    this.#notFound = info === undefined ? this.#notFound + 1 : 0;
    if (info !== undefined) {
      check(info);
      return info;
    }
    const gone = `stream ${stream} is gone. It is not made again: what it held is lost, unless it is restored`;
    throw new BackplaneError(this.#notFound < LOG_STREAM_LOOKS ? 'unavailable' : 'failed_precondition', gone);
  }

  /** Where the stream does not have (any more) what was read, forgets it and reads from before it. */
  async #goBack(info: StreamInfo): Promise<void> {
    const { link, fold } = this.#options;
    const end = await lostFrom(link, info, fold.marks, fold.next);
    if (end === undefined) return;
    this.trouble = `${this.#options.stream} has lost what it had from ${end} on`;
    fold.cut(end);
    await this.#restore(end, info.state.first_seq);
    this.#toldTo = end;
    for (const waiting of this.#waiting) waiting.settle(new BackplaneError('unavailable', this.trouble));
    this.#rewoundTo = end;
    this.#tellRewound(fold.next);
  }

  /** Once what is left was read again, so that it is known how far it reaches. */
  #tellRewound(next: number): void {
    const end = this.#rewoundTo;
    if (end === undefined || next < end) return;
    this.#rewoundTo = undefined;
    this.#options.rewound(end);
  }

  /** What holds before a sequence or earlier, from the newest checkpoint that can be read. */
  async #restore(sequence: number, first: number): Promise<void> {
    const { fold } = this.#options;
    const standing = await this.standingAt(sequence);
    fold.restart(standing ?? { before: Math.max(1, first), covered: new CoveredPositions(), lastOf: new Map() });
  }

  /** What the newest checkpoint up to a sequence says; undefined where there is none. */
  async standingAt(sequence: number): Promise<Standing | undefined> {
    const { link, stream, fold } = this.#options;
    const place = fold.checkpoints.upTo(sequence);
    if (place === undefined) return undefined;
    const standing = { covered: new CoveredPositions(), lastOf: new Map<string, number>() };
    for (const seq of place.sequences) {
      const part = await link.manager.streams.getMessage(stream, { seq });
      // Retention was faster.
      if (part === null) return undefined;
      readCheckpointPart(part, standing);
    }
    return { before: place.before, ...standing };
  }
}
