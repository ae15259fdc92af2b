/**
 * A state that is being read from its stream's beginning. Whoever changes an entry meanwhile replaces its message, perhaps
 * before it was read: the entry then seems to be missing until the later message comes. So what there was at the beginning
 * is read, then what came until then, and of entries that are still missing the leader is asked where they are, and it is
 * read until there.
 */

import type { NatsLink } from '../../nats/nats-link.js';
import { goneText } from '../../nats/stream-form.js';
import { storedMessage, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { Slot, StateContents } from './state-contents.js';
import { subjectOfKey } from './state-subject.js';

/** Entries that the leader is asked for at once. */
const LOOKS_AT_ONCE = 32;

export interface SnapshotOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly prefix: string;
  /** As it was known before. */
  readonly before: StateContents;
  readonly contents: StateContents;
  /** Last sequence of the stream when its reading began. */
  readonly lastSequence: number;
  /** Called once, when all of it was read. */
  readonly onRead: () => void;
  readonly onFailure: (reason: string) => void;
}

export class StateSnapshot {
  readonly contents: StateContents;
  /** Read up to here. */
  #until: number;
  #phase: 'first' | 'second' | 'asking' | 'read' | 'abandoned' = 'first';
  readonly #options: SnapshotOptions;

  constructor(options: SnapshotOptions) {
    this.#options = options;
    this.contents = options.contents;
    this.#until = options.lastSequence;
  }

  /** Call once before any message. */
  begin(): void {
    this.#goOn();
  }

  take(message: StoredMessage): Slot | undefined {
    const slot = this.contents.take(message);
    this.#goOn();
    return slot;
  }

  /** Another one takes its place. */
  abandon(): void {
    this.#phase = 'abandoned';
  }

  #goOn(): void {
    if (this.contents.sequence < this.#until) return;
    if (this.#phase === 'first') this.#ask(() => this.#lookAgain());
    else if (this.#phase === 'second') this.#ask(() => this.#lookForMissing());
  }

  #ask(ask: () => Promise<void>): void {
    this.#phase = 'asking';
    ask().catch((cause: Error) => {
      // The one in its place has nothing to do with it.
      if (this.#phase === 'asking') this.#options.onFailure(cause.message);
    });
  }

  async #lookAgain(): Promise<void> {
    const { link, stream } = this.#options;
    const info = await streamInfo(link.manager, stream);
    if (info === undefined) throw new Error(goneText(stream));
    if (this.#phase !== 'asking') return;
    this.#until = info.state.last_seq;
    this.#phase = 'second';
    this.#goOn();
  }

  async #lookForMissing(): Promise<void> {
    const { before, onRead } = this.#options;
    const missing = [...before.slots.values()].filter((slot) => !slot.deleted && !this.contents.slots.has(slot.key));
    let until = 0;
    for (let at = 0; at < missing.length && this.#phase === 'asking'; at += LOOKS_AT_ONCE) {
      const found = await Promise.all(missing.slice(at, at + LOOKS_AT_ONCE).map((slot) => this.#sequenceOf(slot)));
      until = Math.max(until, ...found);
    }
    if (this.#phase !== 'asking') return;
    if (until === 0) {
      this.#phase = 'read';
      onRead();
      return;
    }
    this.#until = until;
    this.#phase = 'second';
    this.#goOn();
  }

  /**
   * Of an entry's message, which is on its way; 0 where there is none, or it has come meanwhile.
   * @param before what the leader said when it was asked before
   */
  async #sequenceOf(slot: Slot, before = 0): Promise<number> {
    const { link, stream, prefix } = this.#options;
    const last = await storedMessage(link.manager, stream, { last_by_subj: subjectOfKey(prefix, slot.key) });
    const { slots, sequence } = this.contents;
    if (last === null || slots.has(slot.key)) return 0;
    if (last.seq > sequence) return last.seq;
    if (last.seq === before) throw new Error(`its leader has ${slot.key}, which was not in what was read`);
    // It may have been replaced since the leader said so, and before it was read.
    return this.#sequenceOf(slot, last.seq);
  }
}
