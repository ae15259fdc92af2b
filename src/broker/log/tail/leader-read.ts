/**
 * Reads a stream without a consumer: its leader is asked for one message after the other. A consumer lives on one server.
 * Where that one dies another can be made only once the servers have a leader of all again, which takes seconds, while the
 * stream's own leader may never have stopped.
 */
import type { MsgHdrs } from 'nats';
import { LEADER_READ_AFTER_MS, LEADER_READ_BATCH, LEADER_READ_LATE_MS } from '../../../limits.js';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { storedMessage } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import { type Marks, markAt } from './marks.js';

export interface LeaderReadOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** What is to be read next, and what was read before it. */
  readonly place: () => { readonly next: number; readonly marks: Marks };
  /** Whether somebody waits for what comes next: then a silent consumer is not waited for. */
  readonly isAwaited: () => boolean;
  /** Whether the stream has ticks, so that silence alone is a dead consumer; else see missed(). */
  readonly hasTicks: boolean;
  /** Takes the next message. What it throws is told to failed(). */
  readonly take: (message: StoredMessage) => void;
  readonly failed: (cause: Error) => void;
}

/** Asks a stream's leader for as long as its consumer is silent. */
export class LeaderReader {
  readonly #options: LeaderReadOptions;
  readonly #timer: NodeJS.Timeout;
  /** When a consumer brought something last. */
  #heardMs = performance.now();
  #isAsking = false;
  /** The consumer did not bring what there was. */
  #hasMissed = false;
  /** Grows where what was read is looked at anew, and while that lasts nothing may be taken. */
  #beginnings = 0;
  #isBeginning = false;

  constructor(options: LeaderReadOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), LEADER_READ_AFTER_MS / 2).unref();
  }

  /** The consumer has brought something. */
  heard(): void {
    this.#heardMs = performance.now();
    this.#hasMissed = false;
  }

  /** Whether the stream was found to have something that the consumer has not brought. */
  missed(hasMissed: boolean): void {
    this.#hasMissed = hasMissed;
  }

  get isBeginning(): boolean {
    return this.#isBeginning;
  }

  /** A consumer begins: while that lasts nothing of the leader is taken. */
  async beginning(begin: () => Promise<void>): Promise<void> {
    this.#beginnings++;
    this.#isBeginning = true;
    try {
      await begin();
    } finally {
      this.#isBeginning = false;
    }
  }

  /** Asks the leader where that is due. */
  look(): void {
    if (this.#isAsking || !this.#isDue()) return;
    this.#isAsking = true;
    this.#ask(this.#heardMs)
      .catch((cause: Error) => this.#options.failed(cause))
      .finally(() => {
        this.#isAsking = false;
      });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #isDue(): boolean {
    const silentMs = performance.now() - this.#heardMs;
    if (this.#hasMissed || this.#options.isAwaited()) return silentMs > LEADER_READ_AFTER_MS;
    return this.#options.hasTicks && silentMs > LEADER_READ_LATE_MS;
  }

  /** Reads on until there is no more, or the consumer says something. */
  async #ask(heardMs: number): Promise<void> {
    const { link, stream, place, take } = this.#options;
    for (let count = 1; this.#heardMs === heardMs && !this.#isBeginning; count = LEADER_READ_BATCH) {
      const { next, marks } = place();
      const beginnings = this.#beginnings;
      const messages = await readFromLeader(link, stream, next, marks, count);
      if (this.#isBeginning || beginnings !== this.#beginnings) return;
      // Those that the consumer brought meanwhile are passed over.
      for (const message of messages) take(message);
      if (place().next === next) return;
    }
  }
}

/**
 * So many messages from a sequence on, or those before the first that is not there. None where the stream is not the one
 * that was read before, or cannot be asked.
 */
async function readFromLeader(
  link: NatsLink,
  stream: string,
  from: number,
  marks: Marks,
  count: number,
): Promise<readonly StoredMessage[]> {
  try {
    const asked = Array.from({ length: count }, (_, at) => storedMessage(link.manager, stream, { seq: from + at }));
    const found = await Promise.all(asked);
    if (found[0] === null) return [];
    // Looked at afterwards: a stream that lost its end before it gave these messages has lost this one, too.
    const known = marks.of(from - 1);
    if (known !== undefined && known !== (await markAt(link, stream, from - 1))) return [];
    const messages: StoredMessage[] = [];
    for (const message of found) {
      if (message === null) break;
      const { subject, seq: sequence, data, timestamp } = message;
      // It is empty where a message has none.
      const headers: MsgHdrs | undefined = message.header;
      messages.push({ subject, sequence, data, bytes: data.length, timeNs: timeNsOf(timestamp), headers });
    }
    return messages;
  } catch {
    return [];
  }
}
