/**
 * Appends frames to a partition's stream, one at a time of a node and topic: each wants to be the next message of its
 * subject. Where an acknowledgement is lost, or something else is there, what the subject has last decides: a frame that
 * is covered is acknowledged, one that comes next is sent again, any other ends its session.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { BytePool } from '../../../flow/byte-pool.js';
import { Lanes } from '../../../flow/one-at-a-time.js';
import {
  APPEND_HEADER_BYTES_MAX,
  APPEND_MS_MAX,
  APPEND_PENDING_BYTES_MAX,
  APPEND_RETRY_MS_MIN,
  APPEND_WINDOW_BYTES_MAX,
  LEADER_ASK_MS,
  NODES_PER_PARTITION_MAX,
} from '../../../limits.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { type Position, positionText } from '../../../wire/position.js';
import { sentHeaders } from '../../nats/header-text.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { failureOf } from '../../nats/publish-error.js';
import { leaderThere, storedMessage } from '../../nats/stream-leader.js';
import { follows } from '../chain.js';
import { type Cover, coverText, readCover } from './frame-headers.js';

/** What all partitions' appends have under way together. */
export class AppendBounds {
  readonly window = new BytePool(APPEND_WINDOW_BYTES_MAX);
  #pendingBytes = 0;

  /** Throws resource_exhausted where too much waits already. */
  pending(bytes: number): () => void {
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > APPEND_PENDING_BYTES_MAX) {
      const waiting = `${this.#pendingBytes} bytes of frames wait for NATS`;
      throw new BackplaneError('resource_exhausted', `${waiting}, the bound is ${APPEND_PENDING_BYTES_MAX}`);
    }
    this.#pendingBytes += bytes;
    return () => {
      this.#pendingBytes -= bytes;
    };
  }
}

export interface AppenderOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly bounds: AppendBounds;
  /** Resolves once this broker has read up to a sequence, rejects with unavailable where that takes too long. */
  readonly readUpTo: (sequence: number, deadlineMs: number) => Promise<void>;
  /** Up to where the subject's frames reach, by all that this broker has read of the stream. */
  readonly coveredTo: (subject: string) => Position | undefined;
  /** Whether the stream still has the end of what this broker has read of it; rejects with unavailable. */
  readonly isKept: () => Promise<boolean>;
}

/** The last message of a subject, as far as this broker knows. */
interface KnownMessage {
  readonly sequence: number;
  /** Up to where it reaches; undefined where somebody else appended it. */
  readonly coveredTo: Position | undefined;
}

/** The same, as its leader has it. */
interface LastMessage {
  readonly sequence: number;
  /** Undefined where it cannot be read: then the chain rule at reading decides. */
  readonly cover: Cover | undefined;
}

interface Sent {
  readonly frame: Frame;
  readonly bytes: Buffer;
}

interface Appended {
  readonly sequence: number;
  /** By then it has to be read back. */
  readonly deadlineMs: number;
}

/** Six topics. */
const SUBJECTS_MAX = 6 * NODES_PER_PARTITION_MAX;
/** What the server says in 10071: 2.10 keeps the number of a message that retention took. */
const WRONG_SEQUENCE = /wrong last sequence: (\d+)/;

export class Appender {
  readonly #options: AppenderOptions;
  readonly #lanes = new Lanes();
  /** By subject, the frame that is appended and was not read back yet: see sent(). */
  readonly #sent = new Map<string, Sent>();
  /** The last message of subjects, where it is known. The one that was used longest ago is first. */
  readonly #last = new Map<string, KnownMessage>();
  readonly #ending = new AbortController();
  #leader: Promise<void> | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
    // As many frames as there are may wait.
    setMaxListeners(0, this.#ending.signal);
  }

  /** See PartitionLog.append. */
  async append(subject: string, frame: Frame, bytes: Buffer): Promise<number> {
    const { link, bounds, readUpTo } = this.#options;
    checkSize(frame, bytes, link.publishing.info?.max_payload);
    const release = bounds.pending(bytes.length);
    const sent = { frame, bytes };
    try {
      const { sequence, deadlineMs } = await this.#lanes.run(subject, () => {
        this.#sent.set(subject, sent);
        return this.#append(subject, frame, bytes);
      });
      await readUpTo(sequence, deadlineMs);
      return sequence;
    } finally {
      if (this.#sent.get(subject) === sent) this.#sent.delete(subject);
      release();
    }
  }

  /**
   * What a body of a subject is that was read, where this broker appends the same bytes: then it is decoded already.
   * Undefined where it does not.
   */
  sent(subject: string, body: Uint8Array): Frame | undefined {
    const sent = this.#sent.get(subject);
    return sent?.bytes.equals(body) ? sent.frame : undefined;
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#lanes.settled();
  }

  /** Another broker, or this one, has appended to the subject. */
  seen(subject: string, sequence: number): void {
    const known = this.#last.get(subject);
    if (known !== undefined && sequence > known.sequence) this.#last.set(subject, { sequence, coveredTo: undefined });
  }

  /** The stream has lost its end: nothing that was known of it holds. */
  forget(): void {
    this.#last.clear();
  }

  close(): void {
    this.#ending.abort();
  }

  /** Resolves once the frame is stored; the next one of its subject may then follow it. */
  async #append(subject: string, frame: Frame, bytes: Buffer): Promise<Appended> {
    const deadlineMs = performance.now() + APPEND_MS_MAX;
    // What the subject has last is mostly all that has to be known.
    let waitMs = 0;
    for (;;) {
      try {
        return { sequence: await this.#try(subject, frame, bytes), deadlineMs };
      } catch (cause) {
        if (this.#ending.signal.aborted) throw new BackplaneError('cancelled', 'the log is closed');
        if (cause instanceof BackplaneError && cause.code !== 'unavailable') throw cause;
        const failure = failureOf(cause);
        const { message } = cause as Error;
        if (failure === 'full') {
          const untilMended = 'a server that ran out of disk takes nothing until it is restarted';
          throw new BackplaneError('resource_exhausted', `NATS has no room for frames: ${message}; ${untilMended}`);
        }
        if (failure === 'refused' || performance.now() + waitMs > deadlineMs) {
          throw new BackplaneError('unavailable', `NATS takes no frames: ${message}`);
        }
      }
      if (waitMs > 0) await this.#pause(waitMs, deadlineMs);
      waitMs = Math.min(Math.max(APPEND_RETRY_MS_MIN, 2 * waitMs), LEADER_ASK_MS);
    }
  }

  /** Resolves with the sequence of the frame, or of the one that covers it. */
  async #try(subject: string, frame: Frame, bytes: Buffer): Promise<number> {
    const known = this.#last.get(subject);
    // It was stored, and not read back in time: then it is held, and comes again.
    if (known?.coveredTo && follows(frame, known.coveredTo) === 'duplicate') return known.sequence;
    let expected = known?.sequence;
    if (expected === undefined) {
      const last = await this.#lastOf(subject);
      const followed = follows(frame, last?.cover?.coveredTo);
      if (followed === 'duplicate') return last!.sequence;
      if (followed === 'overlap' || (followed === 'hole' && !(await this.#isDamage(subject, frame)))) {
        throw notNext(subject, frame, last!.cover!);
      }
      expected = last?.sequence ?? 0;
    }
    const sequence = await this.#publish(subject, frame, bytes, expected).catch(async (cause: Error) => {
      this.#last.delete(subject);
      const [, number] = WRONG_SEQUENCE.exec(cause.message) ?? [];
      if (number === undefined || expected !== 0 || (await this.#lastOf(subject)) !== undefined) throw cause;
      // The subject is empty, and the server wants the number of a message that is gone.
      return this.#publish(subject, frame, bytes, Number(number));
    });
    this.#know(subject, { sequence, coveredTo: frame.coveredTo });
    return sequence;
  }

  /**
   * Whether what is missing before a frame was lost out of the middle of the stream, which this broker had read and which
   * goes on: it cannot come again. Where the stream has lost its end, the node sends both again.
   */
  async #isDamage(subject: string, frame: Frame): Promise<boolean> {
    const isNext = () => {
      const covered = this.#options.coveredTo(subject);
      return covered !== undefined && follows(frame, covered) === 'next';
    };
    // While it is asked the log may go back: what it has then is kept, and lacks what this frame follows.
    return isNext() && (await this.#options.isKept()) && isNext();
  }

  async #publish(subject: string, frame: Frame, bytes: Buffer, lastSubjectSequence: number): Promise<number> {
    const { link, bounds, stream } = this.#options;
    // While there is no connection the client would keep every try, and send them all.
    if (!link.connected) throw new Error('there is no connection');
    const { length } = bytes;
    const release = bounds.window.tryTake(length) ?? (await bounds.window.take(length, this.#ending.signal));
    if (release === undefined) throw new BackplaneError('cancelled', 'the log is closed');
    try {
      return await link.publisher.publish(stream, subject, bytes, sentHeaders(coverText(frame, lastSubjectSequence)));
    } finally {
      release();
    }
  }

  /** Asked of the leader: others may not have it yet. Undefined where the subject has none. */
  async #lastOf(subject: string): Promise<LastMessage | undefined> {
    const { link, stream } = this.#options;
    const found = await storedMessage(link.manager, stream, { last_by_subj: subject });
    if (found === null) return undefined;
    try {
      return { sequence: found.seq, cover: readCover(found.header) };
    } catch {
      return { sequence: found.seq, cover: undefined };
    }
  }

  /** Ends as soon as the stream's leader answers, for which all frames that wait ask together. */
  async #pause(waitMs: number, deadlineMs: number): Promise<void> {
    const { link, stream } = this.#options;
    const { signal } = this.#ending;
    this.#leader ??= leaderThere(link.manager, stream, signal).finally(() => {
      this.#leader = undefined;
    });
    const over = new AbortController();
    const late = sleep(Math.max(0, deadlineMs - performance.now()), undefined, { signal: over.signal, ref: false });
    await Promise.race([this.#leader, late.catch(() => undefined)]);
    over.abort();
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }

  #know(subject: string, last: KnownMessage): void {
    this.#last.delete(subject);
    this.#last.set(subject, last);
    if (this.#last.size <= SUBJECTS_MAX) return;
    for (const oldest of this.#last.keys()) {
      this.#last.delete(oldest);
      return;
    }
  }
}

/**
 * The server's bound is on body and headers together. The frame must fit wherever in its stream it is appended.
 * @param payloadBytesMax undefined while there is no connection
 */
function checkSize(frame: Frame, { length }: Buffer, payloadBytesMax = Number.POSITIVE_INFINITY): void {
  // Nearly all frames are far below it.
  if (length + APPEND_HEADER_BYTES_MAX <= payloadBytesMax) return;
  const bytesMax = payloadBytesMax - coverText(frame, Number.MAX_SAFE_INTEGER).length;
  if (length <= bytesMax) return;
  throw new BackplaneError('too_large', `frame: NATS takes at most ${bytesMax} bytes, got ${length}`);
}

/**
 * A frame before which something is missing was sent after one that NATS has lost. Were it stored, that one could not come
 * again: its node has to send both.
 */
function notNext(subject: string, { coveredFrom }: Frame, { coveredTo }: Cover): BackplaneError {
  const covered = positionText(coveredTo);
  return new BackplaneError(
    'failed_precondition',
    `frame: covered_from must be ${covered}, up to where ${subject} is covered, got ${positionText(coveredFrom)}`,
  );
}
