/**
 * One message on its way into a stream, at a place of its subject. An answer may be lost, come late, or come from a leader
 * that is none any more, so what the leader has is looked at until it is certain whether this message or another came
 * first. The message carries an id by which it is found again; it is sent with the sequence that it must follow, so that
 * sending it twice stores it once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredMsg } from '@nats-io/jetstream';
import { BackplaneError } from '../../../errors.js';
import { STATE_RETRY_MS } from '../../../limits.js';
import type { ReceivedHeaders } from '../../nats/header-text.js';
import { headers, nuid } from '../../nats/nats-library.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { failureOf } from '../../nats/publish-error.js';
import { storedMessage } from '../../nats/stream-leader.js';

/** The header with the id: whoever sent the message recognises it by that. */
const MESSAGE_ID = 'Backplane-Id';
/**
 * The header with the ids of the messages before it of its subject, the latest first: where a message replaces the one
 * before, these say that it had been stored.
 */
const BEFORE = 'Backplane-Before';
const BEFORE_MAX = 8;
/** NATS's own: for a deletion in a KV; and it is stored only behind this message of its subject, in this stream. */
const OPERATION = 'KV-Operation';
const EXPECTED_LAST = 'Nats-Expected-Last-Subject-Sequence';
const EXPECTED_STREAM = 'Nats-Expected-Stream';

export type Outcome =
  | Stored
  /** Nothing was stored: the subject's last message is another than was said; undefined: it has none. */
  | { readonly kind: 'overtaken'; readonly last: LastMessage | undefined };

export interface Stored {
  readonly kind: 'stored';
  /** Where it is. Where it was replaced since, some place before the message that did. */
  readonly sequence: number;
  /** Who has read so far has read it, or what replaced it. */
  readonly readTo: number;
}

export interface MessageHead {
  /** Of the message, and of those before it, the latest first; empty where somebody else than a broker wrote it. */
  readonly ids: readonly string[];
  readonly deleted: boolean;
}

export interface LastMessage extends MessageHead {
  readonly sequence: number;
}

/** What a broker said of a message besides its content. */
export function readHead(headers: ReceivedHeaders | undefined): MessageHead {
  const id = headers?.get(MESSAGE_ID) ?? '';
  const before = (headers?.get(BEFORE) ?? '').split(' ', BEFORE_MAX);
  return { ids: [id, ...before].filter((each) => each !== ''), deleted: headers?.has(OPERATION) ?? false };
}

export interface Guarded {
  readonly stream: string;
  readonly subject: string;
  readonly payload: string;
  /** Deletes what the subject has. */
  readonly deletes?: boolean;
}

export class GuardedPublish {
  readonly id = nuid.next();
  #found: Stored | undefined;
  /** What went wrong last, for the message when time is up. */
  trouble = 'nothing was heard of it';

  readonly #link: NatsLink;
  readonly #message: Guarded;
  readonly #deadline: AbortSignal;

  constructor(link: NatsLink, message: Guarded, deadline: AbortSignal) {
    this.#link = link;
    this.#message = message;
    this.#deadline = deadline;
  }

  /** A reader of the stream came to a message of its subject. */
  passed({ ids }: MessageHead, sequence: number): void {
    this.#found ??= this.#storedAs(ids, sequence);
  }

  /**
   * Sends it until it is certain what came of it. Rejects with unavailable when the deadline ends that: it may then be
   * stored, or be stored yet. Rejects with resource_exhausted for what the stream will never take.
   * @param after sequence of the subject's last message; 0 when there is none
   * @param before the ids of that message
   */
  async run(after: number, before: readonly string[] = []): Promise<Outcome> {
    while (!this.#deadline.aborted) {
      const outcome = (await this.#send(after, before)) ?? (await this.#look(after));
      if (outcome !== undefined) return outcome;
      await this.pause();
    }
    throw this.undecided();
  }

  /** What the leader has now. Undefined where it has what it had, or cannot say. */
  async #look(after: number): Promise<Outcome | undefined> {
    if (this.#found !== undefined) return this.#found;
    const { stream, subject } = this.#message;
    if (this.#link.asking.info === undefined) return undefined;
    let found: StoredMsg | null;
    try {
      // Of the leader: followers answer direct gets, as of whenever.
      found = await storedMessage(this.#link.manager, stream, { last_by_subj: subject });
    } catch (cause) {
      this.trouble = (cause as Error).message;
      return undefined;
    }
    const last = found === null ? undefined : lastOf(found);
    const stored = this.#found ?? (last && this.#storedAs(last.ids, last.sequence));
    if (stored !== undefined) return stored;
    return (last?.sequence ?? 0) === after ? undefined : { kind: 'overtaken', last };
  }

  /** Rejects when the deadline is over. */
  async pause(): Promise<void> {
    await sleep(STATE_RETRY_MS);
    if (this.#deadline.aborted) throw this.undecided();
  }

  undecided(): BackplaneError {
    const what = `the stream ${this.#message.stream} did not confirm it in time, it may or may not be done`;
    return new BackplaneError('unavailable', `${what}: ${this.trouble}`);
  }

  async #send(after: number, before: readonly string[]): Promise<Outcome | undefined> {
    // The client would keep it, and send it at some later time.
    if (this.#link.publishing.info === undefined) {
      this.trouble = 'there is no connection to NATS';
      return undefined;
    }
    const { stream, subject, payload, deletes = false } = this.#message;
    const head = headers();
    head.set(MESSAGE_ID, this.id);
    if (before.length > 0) head.set(BEFORE, before.slice(0, BEFORE_MAX).join(' '));
    if (deletes) head.set(OPERATION, 'DEL');
    head.set(EXPECTED_LAST, String(after));
    head.set(EXPECTED_STREAM, stream);
    try {
      const sequence = await this.#link.publisher.publish(stream, subject, Buffer.from(payload), head);
      return { kind: 'stored', sequence, readTo: sequence };
    } catch (cause) {
      this.trouble = (cause as Error).message;
      if (failureOf(cause) !== 'refused') return undefined;
      throw new BackplaneError('resource_exhausted', `the stream ${stream} refuses it: ${this.trouble}`);
    }
  }

  #storedAs(ids: readonly string[], sequence: number): Stored | undefined {
    const at = ids.indexOf(this.id);
    if (at < 0) return undefined;
    // Nobody may take another's change for this one.
    return { kind: 'stored', sequence: at === 0 ? sequence : sequence - 1, readTo: sequence };
  }
}

function lastOf({ seq, header }: StoredMsg): LastMessage {
  return { ...readHead(header), sequence: seq };
}
