/**
 * Follows a stream of the log in order: by a consumer and, while that is silent, by asking the stream's leader. Before each
 * consumer it is asked whether the stream is the one that was, and whether it still has what was read: where machines lost
 * the end of it, the tail goes back, and tells that once what is left was read again.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../../errors.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { OrderedReader, type ReaderListener, type ReaderTimes, StreamGone } from '../../nats/ordered-reader.js';
import { ReadWaits } from '../../nats/read-waits.js';
import { checkHeard, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import { LeaderReader } from './leader-read.js';
import { lostFrom, type Marks } from './marks.js';

export interface StreamTailOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly times: Partial<ReaderTimes> | undefined;
  /** Whether brokers write ticks into it, so that silence alone is a dead consumer. */
  readonly hasTicks: boolean;
  /** What is to be read next, and what was read before it. */
  readonly place: () => { readonly next: number; readonly marks: Marks };
  /** Throws where the stream is not the one that was: then nothing can go on. */
  readonly check: (info: StreamInfo) => void;
  /** Asked when a consumer begins: whether it leaves bodies out. See change(). */
  readonly headersOnly?: () => boolean;
  /** Whether something is expected, besides what readUpTo() waits for. */
  readonly isAwaited?: () => boolean;
  /**
   * Takes the next message, after which place() is behind it. It may be one that was told already: see toldTo.
   * @param isLeaders the leader gave it, with its body in any case
   */
  readonly take: (message: StoredMessage, isLeaders: boolean) => void;
  /**
   * A consumer is about to begin. Resolves when place() is where the stream can be read from.
   * @param lost the stream has lost what was read of it from this sequence on; undefined: nothing of it
   */
  readonly goBack: (info: StreamInfo, lost: number | undefined) => Promise<void>;
  /** The stream has lost all from a sequence on: what was told of it is void, other messages come in its place. */
  readonly rewound: (sequence: number) => void;
  /** Why nothing is read, in a sentence; undefined once it is again. */
  readonly onTrouble?: (reason: string | undefined) => void;
  /** What is waited for does not come any more. */
  readonly failed?: (cause: BackplaneError) => void;
  /** The stream is gone, or another one: nothing will be read again. */
  readonly lost: (cause: BackplaneError) => void;
}

export class StreamTail {
  /** Why nothing is read, in a sentence; undefined while it is read. */
  trouble: string | undefined;
  /** What is below it was told; while the tail goes back also what the stream has lost of it. */
  toldTo = 1;
  /** Where the stream goes on with other messages, until that is told. */
  #rewoundTo: number | undefined;
  #isGoingBack = false;
  #rewinds = 0;
  /** What is read before anybody is told of anything. */
  #openTo = 0;
  readonly #options: StreamTailOptions;
  readonly #waits = new ReadWaits(() => this.trouble);
  #reader: OrderedReader | undefined;
  #leader: LeaderReader | undefined;

  constructor(options: StreamTailOptions) {
    this.#options = options;
  }

  /** All below it can be delivered. */
  get deliverable(): number {
    return Math.max(this.toldTo, this.#options.place().next);
  }

  /**
   * How often the tail went back; undefined while it does, until all that is left was read again and that was told. Until
   * then nothing else that is known of the stream is of one moment.
   */
  get rewinds(): number | undefined {
    return this.#isGoingBack || this.#rewoundTo !== undefined ? undefined : this.#rewinds;
  }

  /** Resolves when all up to a sequence was read, which was told then. Rejects where NATS is away for too long. */
  async open(last: number): Promise<void> {
    const { link, stream, hasTicks, place, times, isAwaited = () => false } = this.#options;
    this.toldTo = last + 1;
    this.#leader = new LeaderReader({
      ...{ link, stream, place, hasTicks },
      isAwaited: () => !this.#waits.isEmpty || isAwaited(),
      take: (message) => this.#take(message, true),
      failed: (cause) => this.restart(cause.message),
    });
    this.#reader = new OrderedReader(link, stream, this.#listener(), times);
    this.#openTo = last;
    // Servers that were cut off may have less in the end than the first leader said.
    while (place().next <= this.#openTo) {
      const end = this.#openTo;
      await this.readUpTo(end).catch((cause) => {
        if (this.#openTo === end) throw cause;
      });
    }
    this.#openTo = 0;
  }

  /** Resolves once a sequence was read; rejects with unavailable at a deadline of performance.now(). */
  readUpTo(sequence: number, deadlineMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#options.place().next > sequence) return Promise.resolve();
    const read = this.#waits.until(sequence, deadlineMs);
    this.#leader?.look();
    return read;
  }

  /** Throws this consumer away, and makes a new one. */
  restart(reason: string): void {
    this.#reader?.restart(reason);
  }

  /** Another consumer is wanted from now on: what is left out is asked anew. */
  change(): void {
    this.#reader?.change();
  }

  /**
   * Whether the stream still has the end of what was read of it; where it does not, the tail goes back. Rejects with
   * unavailable where NATS does not say.
   */
  async isKept(): Promise<boolean> {
    const { link, stream, place } = this.#options;
    const info = await streamInfo(link.manager, stream);
    const { marks, next } = place();
    if (info !== undefined && (await lostFrom(link, info, marks, next)) === undefined) return true;
    // A new consumer looks itself, and is not disturbed in it.
    if (this.#leader?.isBeginning === false) this.restart('its leader does not have what was read');
    return false;
  }

  /**
   * For what the stream is said not to have. Throws unavailable while nothing is read of it, and where it has lost something
   * that the next consumer is yet to find out.
   * @param next of place() before the stream's leader was asked
   */
  checkKept({ state }: StreamInfo, next: number): void {
    if (this.trouble === undefined && next <= state.last_seq + 1) return;
    throw new BackplaneError('unavailable', `what stream ${this.#options.stream} has lost is not known yet`);
  }

  async close(): Promise<void> {
    this.#leader?.close();
    this.#fail(new BackplaneError('cancelled', 'the log is closed'));
    await this.#reader?.close();
  }

  #listener(): ReaderListener {
    const { hasTicks, headersOnly = () => false, onTrouble, lost } = this.#options;
    return {
      headersOnly,
      begin: (info) => this.#begin(info),
      message: (message) => {
        this.#leader!.heard();
        this.#take(message, false);
      },
      // Where it has less than was read, the next consumer finds out what it lost.
      hasRead: ({ state }) => !hasTicks && !this.#missed(state.last_seq !== this.#options.place().next - 1),
      trouble: (reason) => {
        this.trouble = reason;
        onTrouble?.(reason);
      },
      gone: (reason) => {
        const cause = new BackplaneError('failed_precondition', reason);
        this.trouble = reason;
        this.#fail(cause);
        lost(cause);
      },
    };
  }

  async #begin(info: StreamInfo): Promise<number> {
    const { check, hasTicks, place } = this.#options;
    try {
      check(info);
    } catch (cause) {
      throw new StreamGone((cause as Error).message);
    }
    await this.#leader!.beginning(() => this.#goBack(info));
    this.#openAt(info.state.last_seq);
    // Perhaps no consumer can be made: then nobody else asks whether there is something to read.
    if (!hasTicks) this.#missed(info.state.last_seq >= place().next);
    return place().next;
  }

  /** Where the stream does not have (any more) what was read, reads it from before that. */
  async #goBack(info: StreamInfo): Promise<void> {
    const { link, stream, place, goBack } = this.#options;
    const { marks, next } = place();
    // What is being read again since it went back was known, too.
    const lost = await lostFrom(link, info, marks, Math.max(next, this.#rewoundTo ?? 0));
    if (lost !== undefined) checkHeard(info);
    this.#isGoingBack = lost !== undefined;
    try {
      await goBack(info, lost);
      if (lost === undefined) return;
      this.#rewoundTo = lost;
    } finally {
      this.#isGoingBack = false;
    }
    this.#openAt(lost - 1);
    this.#fail(new BackplaneError('unavailable', `${stream} has lost what it had from ${lost} on`));
    this.#tellRewound();
  }

  #take(message: StoredMessage, isLeaders: boolean): void {
    const { place, take } = this.#options;
    this.#tellRewound(message.sequence);
    take(message, isLeaders);
    const { next } = place();
    this.toldTo = Math.max(this.toldTo, next);
    this.#waits.settle(next);
    this.#tellRewound();
  }

  /** Once what is left was read again, so that it is known how far it reaches. */
  #tellRewound(next = this.#options.place().next): void {
    const end = this.#rewoundTo;
    if (end === undefined || next < end) return;
    this.#rewoundTo = undefined;
    this.#rewinds++;
    this.toldTo = end;
    this.#options.rewound(end);
  }

  /** While it is opened: the stream has no more than that. */
  #openAt(last: number): void {
    if (last >= this.#openTo) return;
    this.#openTo = last;
    // Else what comes in place of what is not there would count as told.
    this.toldTo = Math.min(this.toldTo, last + 1);
    this.#waits.refuse(new BackplaneError('unavailable', `${this.#options.stream} has less than its leader said`));
  }

  #missed(hasMissed: boolean): boolean {
    this.#leader!.missed(hasMissed);
    return hasMissed;
  }

  #fail(cause: BackplaneError): void {
    this.#options.failed?.(cause);
    this.#waits.refuse(cause);
  }
}
