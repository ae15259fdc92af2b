/**
 * Follows a partition's stream in order. Before each consumer it is asked whether the stream is the one that was, and
 * whether it still has what was read: where machines lost the end of it, the tail goes back.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../../errors.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { OrderedReader, type ReaderListener, type ReaderTimes, StreamGone } from '../../nats/ordered-reader.js';
import { ReadWaits } from '../../nats/read-waits.js';
import { storedMessage, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import { CoveredPositions } from '../covered-positions.js';
import type { LogItem } from '../partition-log.js';
import { type CheckpointPlace, readCheckpointPart, type Standing } from './checkpoint.js';
import { LeaderReader } from './leader-read.js';
import { lostFrom } from './marks.js';
import type { FoldListener, PartitionFold } from './partition-fold.js';

export interface TailOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly fold: PartitionFold;
  /** Throws where the stream is not the one that was: then nothing can go on. */
  readonly check: (info: StreamInfo) => void;
  /** Whether somebody reads frames: else only their headers are read. See change(). */
  readonly withBodies: () => boolean;
  /** Told of each frame, also again of those before. */
  readonly stored: (message: StoredMessage) => void;
  /** Told of each tick, where bodies are read. */
  readonly ticked: (message: StoredMessage) => void;
  /** Told of frames, with bodies, and of what is missing, in order; not of what was told before. */
  readonly tell: (item: LogItem) => void;
  /** The stream has lost all from a sequence on: what was told of it is void, other messages come in its place. */
  readonly rewound: (sequence: number) => void;
  /** The stream is gone, or another one. */
  readonly lost: (cause: BackplaneError) => void;
  readonly times: Partial<ReaderTimes> | undefined;
}

export class PartitionTail {
  /** Why nothing is read, in a sentence; undefined while it is read. */
  trouble: string | undefined;
  /** What is below it was told. */
  #toldTo = 1;
  /** Where the stream goes on with other messages, until that is told. */
  #rewoundTo: number | undefined;
  readonly #options: TailOptions;
  readonly #waits = new ReadWaits(() => this.trouble);
  /** How the consumer's messages are taken. */
  #folding: FoldListener;
  #reader: OrderedReader | undefined;
  #leader: LeaderReader | undefined;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#folding = {
      withBodies: false,
      stored: options.stored,
      ticked: options.ticked,
      tell: (item) => this.#tell(item),
    };
  }

  /** All below it can be delivered. */
  get deliverable(): number {
    return Math.max(this.#toldTo, this.#options.fold.next);
  }

  /** Resolves when it has read all that the stream has. Rejects where it is not what it must be, or NATS is away. */
  async open({ first_seq: first, last_seq: last }: StreamInfo['state']): Promise<void> {
    const { link, stream, fold, withBodies, times } = this.#options;
    fold.restart(await this.#standingBefore(last + 1, first));
    this.#toldTo = last + 1;
    this.#leader = new LeaderReader({
      ...{ link, stream, place: () => fold, hasTicks: true, isAwaited: () => !this.#waits.isEmpty },
      take: (message) => this.#take(message, { ...this.#folding, withBodies: withBodies() }),
      failed: (cause) => this.restart(cause.message),
    });
    this.#reader = new OrderedReader(link, stream, this.#listener(), times);
    await this.readUpTo(last);
  }

  /** Resolves once a sequence was read; rejects with unavailable at a deadline of performance.now(). */
  readUpTo(sequence: number, deadlineMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#options.fold.next > sequence) return Promise.resolve();
    const read = this.#waits.until(sequence, deadlineMs);
    this.#leader?.look();
    return read;
  }

  /** Throws this consumer away, and makes a new one. */
  restart(reason: string): void {
    this.#reader?.restart(reason);
  }

  /**
   * Whether the stream still has the end of what was read of it; where it does not, the tail goes back. Rejects with
   * unavailable where NATS does not say.
   */
  async isKept(): Promise<boolean> {
    const { link, stream, fold } = this.#options;
    const info = await streamInfo(link.manager, stream);
    if (info !== undefined && (await lostFrom(link, info, fold.marks, fold.next)) === undefined) return true;
    // A new consumer looks itself, and is not disturbed in it.
    if (this.#leader?.isBeginning === false) this.restart('its leader does not have what was read');
    return false;
  }

  async close(): Promise<void> {
    this.#leader?.close();
    this.#waits.refuse(new BackplaneError('cancelled', 'the log is closed'));
    await this.#reader?.close();
  }

  /** Who reads frames is asked anew: no frame without its body comes any more. */
  change(): void {
    this.#reader?.change();
  }

  #listener(): ReaderListener {
    return {
      headersOnly: () => {
        this.#folding = { ...this.#folding, withBodies: this.#options.withBodies() };
        return !this.#folding.withBodies;
      },
      begin: (info: StreamInfo) => this.#begin(info),
      message: (message: StoredMessage) => {
        this.#leader!.heard();
        this.#take(message, this.#folding);
      },
      trouble: (reason: string | undefined) => {
        this.trouble = reason;
      },
      gone: (reason: string) => {
        const cause = new BackplaneError('failed_precondition', reason);
        this.trouble = reason;
        this.#waits.refuse(cause);
        this.#options.lost(cause);
      },
    };
  }

  async #begin(info: StreamInfo): Promise<number> {
    try {
      this.#options.check(info);
    } catch (cause) {
      throw new StreamGone((cause as Error).message);
    }
    await this.#leader!.beginning(() => this.#goBack(info));
    return this.#options.fold.next;
  }

  #take(message: StoredMessage, folding: FoldListener): void {
    const { fold } = this.#options;
    this.#tellRewound(message.sequence);
    fold.take(message, folding);
    this.#toldTo = Math.max(this.#toldTo, fold.next);
    this.#waits.settle(fold.next);
    this.#tellRewound(fold.next);
  }

  #tell(item: LogItem): void {
    const offset = item.kind === 'frame' ? item.offset : item.offsetFrom;
    if (offset < this.#toldTo) return;
    this.#options.tell(item);
  }

  /** Where the stream does not have (any more) what was read, forgets it and reads from before it. */
  async #goBack(info: StreamInfo): Promise<void> {
    const { link, fold } = this.#options;
    const end = await lostFrom(link, info, fold.marks, fold.next);
    if (end === undefined) return;
    this.trouble = `${this.#options.stream} has lost what it had from ${end} on`;
    fold.checkpoints.cut(end);
    const standing = await this.#standingBefore(end, info.state.first_seq);
    // In one step: what is known of messages and how far nodes reach must not be of two logs.
    fold.cut(end);
    fold.restart(standing);
    this.#toldTo = end;
    this.#waits.refuse(new BackplaneError('unavailable', this.trouble));
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
  async #standingBefore(sequence: number, first: number): Promise<Standing> {
    const standing = await this.standingAt(sequence);
    return standing ?? { before: Math.max(1, first), covered: new CoveredPositions(), lastOf: new Map() };
  }

  /**
   * What the newest checkpoint up to a sequence says that can be read; undefined where there is none. Rejects with
   * unavailable where NATS does not answer.
   */
  async standingAt(sequence: number): Promise<Standing | undefined> {
    const { checkpoints } = this.#options.fold;
    for (let place = checkpoints.upTo(sequence); place !== undefined; place = checkpoints.upTo(place.before - 1)) {
      const standing = await this.#read(place);
      if (standing !== undefined) return standing;
    }
    return undefined;
  }

  /** Undefined where a part of it is gone, or is damaged. */
  async #read({ before, sequences }: CheckpointPlace): Promise<Standing | undefined> {
    const { link, stream } = this.#options;
    const standing = { covered: new CoveredPositions(), lastOf: new Map<string, number>() };
    for (const seq of sequences) {
      const part = await storedMessage(link.manager, stream, { seq });
      if (part === null || !readCheckpointPart(part, standing)) return undefined;
    }
    return { before, ...standing };
  }
}
