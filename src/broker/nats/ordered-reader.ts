/**
 * All messages of a stream in their order, for as long as the broker runs. A consumer is never mended: whenever anything
 * about it is in doubt (a message out of its order, silence, a lost connection, a consumer that is gone), it is thrown
 * away, and a new one begins where the listener says. A consumer can be dead without any sign of it, so the stream has to
 * have a message now and then: brokers write ticks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamInfo } from '@nats-io/jetstream';
import type { Status } from 'nats';
import { BackplaneError } from '../../errors.js';
import {
  LEADER_ASK_MS,
  READER_BATCH,
  READER_BYTES_MAX,
  READER_LEADER_MS,
  READER_LOOKS,
  READER_RETRY_MS_MAX,
  READER_RETRY_MS_MIN,
  TICK_SILENCE_MS,
} from '../../limits.js';
import type { NatsLink } from './nats-link.js';
import { goneText } from './stream-form.js';
import { leaderOfAllBack, leaderThere, streamInfo } from './stream-leader.js';
import { type StoredMessage, StreamPull } from './stream-pull.js';

export interface ReaderListener {
  /**
   * A consumer begins; the stream is as its leader says. Returns the sequence to begin with, at least 1. What it throws is
   * told as trouble, and tried again later. It is not called again before it has ended.
   */
  begin(stream: StreamInfo): number | Promise<number>;
  /** Asked when a consumer begins: whether it leaves bodies out. See change(). */
  readonly headersOnly?: () => boolean;
  /** What it throws ends this consumer; a new one begins. */
  message(message: StoredMessage): void;
  /**
   * Asked after each message, of a stream that is read from its beginning each time: whether this consumer has brought all
   * that there was. Until then it has not worked, and one that ends is as one that cannot be made.
   */
  isWhole?(): boolean;
  /** The consumer has ended; until another one has begun nothing is read. */
  ended?(): void;
  /**
   * Of a stream without ticks: whether all of it was read, so that there was nothing to hear. Else silence is a dead
   * consumer.
   */
  hasRead?(stream: StreamInfo): boolean;
  /** Why nothing is being read, in a sentence; undefined once it is again. */
  trouble(reason: string | undefined): void;
  /** There is no such stream any more, or begin() threw StreamGone, and why: nothing will be read again. */
  gone(reason: string): void;
}

/** A stream that is not the one that was. */
export class StreamGone extends Error {}

export interface ReaderTimes {
  readonly silenceMs: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  readonly leaderMs: number;
}

const TIMES: ReaderTimes = {
  silenceMs: TICK_SILENCE_MS,
  retryMsMin: READER_RETRY_MS_MIN,
  retryMsMax: READER_RETRY_MS_MAX,
  leaderMs: READER_LEADER_MS,
};
type Statuses = AsyncIterable<Status> & { stop(): void };

/** Who asks for nothing is told nothing. */
const NOBODY = { message: () => undefined, ended: () => undefined, failed: () => undefined };

/** A request ends by itself after this, and is renewed. */
const REQUEST_MS = 30_000;

export class OrderedReader {
  readonly #link: NatsLink;
  readonly #stream: string;
  readonly #listener: ReaderListener;
  readonly #times: ReaderTimes;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  #fail: (cause: Error) => void = () => undefined;
  /** How often in a row the stream was not found. */
  #missing = 0;
  /** Its leader did not answer when it was looked at last. */
  #isUnseen = false;
  #troubled = false;
  /** The next consumer is wanted, and no failure. */
  #changed = false;

  constructor(link: NatsLink, stream: string, listener: ReaderListener, times: Partial<ReaderTimes> = {}) {
    this.#link = link;
    this.#stream = stream;
    this.#listener = listener;
    this.#times = { ...TIMES, ...times };
    this.#running = this.#run();
  }

  /** Throws this consumer away, and begins anew: something is wrong with it. */
  restart(reason: string): void {
    this.#fail(new Error(reason));
  }

  /** Likewise, as another consumer is wanted from now on: this one gives no message any more. */
  change(): void {
    this.#changed = true;
    this.restart('another consumer is wanted');
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.restart('closed');
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    let failures = 0;
    while (!signal.aborted) {
      const cause = await this.#read(() => {
        failures = 0;
        this.#tell(undefined);
      });
      this.#listener.ended?.();
      if (signal.aborted) return;
      if (cause instanceof StreamGone) {
        this.#listener.gone(cause.message);
        return;
      }
      if (this.#changed) {
        this.#changed = false;
        continue;
      }
      // Nor is what begin() asks answered, or not by one whose word counts.
      if (cause instanceof BackplaneError && cause.code === 'unavailable') this.#isUnseen = true;
      failures++;
      // One that had worked is replaced at once; what goes on failing is told.
      if (failures === 1) continue;
      this.#tell(`${this.#stream} is not read: ${cause.message}`);
      await this.#pause(this.#delayMs(failures - 2));
    }
  }

  /** One consumer. Resolves with why it ended. */
  async #read(onHeard: () => void): Promise<Error> {
    let pull: StreamPull | undefined;
    let fail: (cause: Error) => void = () => undefined;
    const failed = new Promise<Error>((resolve) => {
      fail = (cause) => {
        pull?.close();
        resolve(cause);
      };
    });
    this.#fail = fail;
    // Not before it could say something.
    let heardMs = Number.POSITIVE_INFINITY;
    let isOver = false;
    const { silenceMs } = this.#times;
    const silent = async () => {
      heardMs = Number.POSITIVE_INFINITY;
      // Of a stream without ticks it is asked whether there was anything to hear.
      const isDone = this.#listener.hasRead?.(await this.#look()) ?? false;
      if (!isDone) throw new Error(`nothing came for ${silenceMs} ms`);
      if (isOver) return;
      onHeard();
      heardMs = performance.now();
    };
    const watch = setInterval(() => {
      if (performance.now() - heardMs > silenceMs) silent().catch(fail);
    }, silenceMs / 4).unref();
    const endLooks = this.#lookWhereItIsLed(
      () => pull,
      () => fail(new Error(`${this.#stream} is led by another server than it is read of`)),
    );
    const statuses = this.#link.reading.status() as Statuses;
    // What was on its way to a connection that is lost never arrives.
    void onStatus(statuses, ['disconnect', 'staleConnection'], () => this.restart('the connection to NATS was lost'));
    try {
      const from = await this.#listener.begin(await this.#look());
      const ask = () => pull?.ask(READER_BATCH, READER_BYTES_MAX, REQUEST_MS);
      const headersOnly = this.#listener.headersOnly?.() ?? false;
      pull = await StreamPull.open(
        this.#link,
        { stream: this.#stream, from, headersOnly },
        {
          message: (message) => {
            heardMs = performance.now();
            this.#listener.message(message);
            if (this.#listener.isWhole?.() ?? true) onHeard();
            // The next request is there before this one is spent.
            if (pull !== undefined && pull.outstanding <= READER_BATCH) ask();
          },
          ended: ask,
          failed: fail,
        },
      );
      heardMs = performance.now();
      ask();
      return await failed;
    } catch (cause) {
      return cause as Error;
    } finally {
      this.#fail = () => undefined;
      isOver = true;
      clearInterval(watch);
      endLooks();
      statuses.stop();
      pull?.close();
    }
  }

  /** Calls back where the consumer is not where the stream is led any more, until what it returns is called. */
  #lookWhereItIsLed(consumer: () => StreamPull | undefined, onMoved: () => void): () => void {
    let looks = false;
    const look = async (pull: StreamPull) => {
      looks = true;
      // Where NATS does not say it is asked again.
      if (await this.#hasMoved(pull).catch(() => false)) onMoved();
      looks = false;
    };
    const timer = setInterval(() => {
      const pull = consumer();
      if (pull !== undefined && !looks) void look(pull);
    }, this.#times.leaderMs).unref();
    return () => clearInterval(timer);
  }

  /** Whether the stream is led elsewhere by now, and can be read there: until it can be, it is read where it is. */
  async #hasMoved(pull: StreamPull): Promise<boolean> {
    if (await pull.isLed()) return false;
    const there = await StreamPull.open(this.#link, { stream: this.#stream, from: 1 }, NOBODY);
    there.close();
    return true;
  }

  /** Ends earlier when a connection that was lost is there again, or a leader who makes consumers, or the stream's own. */
  async #pause(delayMs: number): Promise<void> {
    const ending = new AbortController();
    const end = () => ending.abort();
    this.#ending.signal.addEventListener('abort', end, { once: true });
    const { reading, asking, manager } = this.#link;
    const watched = [reading, asking].map((connection) => connection.status() as Statuses);
    for (const statuses of watched) void onStatus(statuses, ['reconnect'], end);
    // Not all readers at the same moment.
    const endSoon = () => setTimeout(end, Math.random() * LEADER_ASK_MS);
    void leaderOfAllBack(manager, ending.signal).then(endSoon);
    if (this.#isUnseen) void leaderThere(manager, this.#stream, ending.signal).then(endSoon);
    await sleep(delayMs, undefined, { signal: ending.signal, ref: false }).catch(() => undefined);
    end();
    for (const statuses of watched) statuses.stop();
    this.#ending.signal.removeEventListener('abort', end);
  }

  /** The stream as its leader has it. */
  async #look(): Promise<StreamInfo> {
    this.#isUnseen = true;
    // Requests would wait for their time to be over.
    if (this.#link.asking.info === undefined) throw new Error('there is no connection to NATS');
    const info = await streamInfo(this.#link.manager, this.#stream);
    this.#isUnseen = false;
    if (info !== undefined) {
      this.#missing = 0;
      return info;
    }
    this.#missing++;
    const message = goneText(this.#stream);
    throw this.#missing < READER_LOOKS ? new Error(message) : new StreamGone(message);
  }

  #tell(trouble: string | undefined): void {
    if (trouble === undefined && !this.#troubled) return;
    this.#troubled = trouble !== undefined;
    this.#listener.trouble(trouble);
  }

  /** Many brokers lose the same server at once. */
  #delayMs(retries: number): number {
    const { retryMsMin, retryMsMax } = this.#times;
    return Math.min(retryMsMax, retryMsMin * 2 ** Math.min(retries, 16)) * (0.5 + Math.random() / 2);
  }
}

async function onStatus(statuses: Statuses, types: readonly Status['type'][], act: () => void): Promise<void> {
  for await (const { type } of statuses) if (types.includes(type)) act();
}
