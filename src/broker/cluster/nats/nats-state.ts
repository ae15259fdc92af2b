/**
 * Shared state of many brokers: a stream in which each key is a subject and each change a message. A change is made at
 * the sequence of the one before it, so that of two writers one is refused, and counts here once this broker has read it
 * back in the stream's order. Each new consumer reads all of it from the beginning: only so can be seen that a stream
 * has lost changes that it had told, as a power cut can make it.
 */
import { randomInt } from 'node:crypto';
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../../errors.js';
import { ForAll, Lanes } from '../../../flow/one-at-a-time.js';
import {
  STATE_DELETION_KEPT_MS,
  STATE_DELETIONS_FORGOTTEN_MAX,
  STATE_ENTRY_BYTES_MAX,
  STATE_KEY_BYTES_MAX,
  STATE_WRITE_MS,
  STATE_WRITES_MAX,
  TICK_MS,
} from '../../../limits.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { OrderedReader, type ReaderListener, type ReaderTimes, StreamGone } from '../../nats/ordered-reader.js';
import { checkHeard, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { SharedState, StateChange, StateEntry, StateValue } from '../shared-state.js';
import { GuardedPublish, type LastMessage } from './guarded-publish.js';
import { isUnreadable, regression, type Slot, StateContents } from './state-contents.js';
import { StateSnapshot } from './state-snapshot.js';
import { subjectOfKey, tickSubject } from './state-subject.js';

export interface NatsStateOptions {
  readonly link: NatsLink;
  readonly stream: string;
  /** All subjects of the stream begin with it and a dot. */
  readonly prefix: string;
  /** This broker's name. */
  readonly broker: string;
  /** Throws for an entry that no broker writes; it is passed over then. */
  readonly check: (key: string, value: unknown) => void;
  /** Told once for each stretch of time in which the state is not read, and at its end. */
  readonly onTrouble: (reason: string | undefined) => void;
  /** The stream lost changes that it had told: what was believed since is over, and how that was seen. */
  readonly onRegression: (reason: string) => void;
  /** The stream is gone, or is another than it was. */
  readonly onGone: (reason: string) => void;
  /** A watcher has thrown, which is a defect: all others were told. */
  readonly onDefect: (cause: unknown) => void;
  /** Other times than the usual, for tests. */
  readonly times?: Partial<ReaderTimes & { readonly tickMs: number; readonly writeMs: number }>;
}

interface Watcher {
  readonly prefix: string;
  readonly listener: (change: StateChange) => void;
}

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly giveUp: () => void;
}

export class NatsState implements SharedState {
  readonly place: string;
  /** Why the state is not being read, in a sentence. */
  trouble: string | undefined;
  /** Grows when the stream went back in time: what was decided in an earlier one is decided anew. */
  epoch = 1;
  #contents: StateContents;
  /** A consumer is reading, and has read all that there was: else the stream may have become another one. */
  #isCurrent = false;
  /** What a new consumer has read so far. */
  #snapshot: StateSnapshot | undefined;
  #created: string | undefined;
  readonly #changes = new Map<string, GuardedPublish>();
  /** Changes of one key follow each other in the order of the calls. */
  readonly #lanes = new Lanes();
  readonly #catchUps = new ForAll(() => this.#catchUp());
  #waiters: Waiter[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #options: NatsStateOptions;
  #reader: OrderedReader | undefined;
  readonly #timers: NodeJS.Timeout[] = [];

  private constructor(options: NatsStateOptions) {
    this.#options = options;
    this.place = `the stream ${options.stream}`;
    this.#contents = this.#nothing();
  }

  /** Resolves when all that is there has been read. Rejects with unavailable when that does not happen in time. */
  static async open(options: NatsStateOptions): Promise<NatsState> {
    const state = new NatsState(options);
    try {
      await state.#start();
      return state;
    } catch (cause) {
      await state.close();
      throw cause;
    }
  }

  /** By the servers' clock, as of the last message: every broker writes a tick a second. */
  timeMs(): number {
    return this.#contents.newestMs;
  }

  get(key: string): StateEntry | undefined {
    const slot = this.#contents.slots.get(key);
    return slot && entryOf(slot);
  }

  isUnreadable(key: string): boolean {
    const slot = this.#contents.slots.get(key);
    return slot !== undefined && isUnreadable(slot);
  }

  entries(prefix: string): StateEntry[] {
    const found: StateEntry[] = [];
    for (const slot of this.#contents.slots.values()) {
      const entry = slot.key.startsWith(prefix) ? entryOf(slot) : undefined;
      if (entry !== undefined) found.push(entry);
    }
    return found.sort((a, b) => a.revision - b.revision);
  }

  put(key: string, value: StateValue, expected?: number): Promise<number> {
    return this.#queued(key, () => this.#change(key, value, expected));
  }

  delete(key: string, expected?: number): Promise<number> {
    return this.#queued(key, () => this.#change(key, undefined, expected));
  }

  watch(prefix: string, listener: (change: StateChange) => void): () => void {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    for (const entry of this.entries(prefix)) listener(entry);
    return () => this.#watchers.delete(watcher);
  }

  /** Resolves when all has been read that the stream has now. Rejects with unavailable when that does not come in time. */
  caughtUp(): Promise<void> {
    return this.#catchUps.run();
  }

  async #catchUp(): Promise<void> {
    const { link, stream, times } = this.#options;
    const failed = (why: string) => new BackplaneError('unavailable', `${this.place} is not read to its end: ${why}`);
    if (link.asking.info === undefined) throw failed('there is no connection to NATS');
    const deadline = AbortSignal.timeout(times?.writeMs ?? STATE_WRITE_MS);
    const info = await streamInfo(link.manager, stream);
    if (info === undefined) throw failed('the stream is gone');
    checkHeard(info);
    await this.#reached(info.state.last_seq, deadline, () => failed(this.trouble ?? 'nothing came'));
  }

  /** Whether it is being read now, and not anew: what it says may be of before else. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#reader?.close();
    for (const { giveUp } of this.#waiters) giveUp();
  }

  async #start(): Promise<void> {
    const { link, stream, prefix, broker, times } = this.#options;
    const tick = () => {
      if (link.publishing.info !== undefined) link.publishing.publish(tickSubject(prefix, broker));
    };
    const deadline = AbortSignal.timeout(times?.writeMs ?? STATE_WRITE_MS);
    await new Promise<void>((resolve, reject) => {
      const listener = this.#listener(resolve, reject);
      this.#reader = new OrderedReader(link, stream, listener, times);
      deadline.addEventListener('abort', () =>
        reject(new BackplaneError('unavailable', `${this.place} cannot be read: ${this.trouble ?? 'nothing came'}`)),
      );
      tick();
    });
    this.#timers.push(
      setInterval(tick, times?.tickMs ?? TICK_MS).unref(),
      // Brokers that were started together do not all look at once.
      setInterval(() => void this.#forgetDeletions(), STATE_DELETION_KEPT_MS / 10 + randomInt(1000)).unref(),
    );
  }

  #listener(onRead: () => void, onGone: (cause: Error) => void): ReaderListener {
    return {
      begin: (info) => {
        this.#checkStream(info);
        if (info.state.last_seq < this.#contents.sequence) checkHeard(info);
        this.#beginSnapshot(info.state.last_seq, onRead);
        return 1;
      },
      message: (message) => this.#take(message),
      isWhole: () => this.#isCurrent,
      ended: () => {
        this.#isCurrent = false;
        this.#snapshot?.abandon();
      },
      trouble: (reason) => {
        this.trouble = reason;
        this.#options.onTrouble(reason);
      },
      gone: (reason) => {
        this.trouble = reason;
        onGone(new BackplaneError('failed_precondition', reason));
        this.#options.onGone(reason);
      },
    };
  }

  #checkStream({ created, config }: StreamInfo): void {
    this.#created ??= created;
    if (this.#created === created) return;
    const message = `the stream ${config.name} is another than it was: it was made ${created}, the one before ${this.#created}`;
    throw new StreamGone(message);
  }

  #beginSnapshot(lastSequence: number, onRead: () => void): void {
    const { link, stream, prefix } = this.#options;
    this.#snapshot?.abandon();
    const snapshot = new StateSnapshot({
      ...{ link, stream, prefix, before: this.#contents, contents: this.#nothing(), lastSequence },
      onRead: () => {
        this.#believe(snapshot.contents, lastSequence);
        onRead();
      },
      onFailure: (reason) => this.#reader?.restart(reason),
    });
    this.#snapshot = snapshot;
    snapshot.begin();
  }

  #take(message: StoredMessage): void {
    const snapshot = this.#snapshot;
    const slot = snapshot === undefined ? this.#contents.take(message) : snapshot.take(message);
    for (const id of slot?.ids ?? []) this.#changes.get(id)?.passed(slot!, message.sequence);
    if (snapshot !== undefined) return;
    if (slot !== undefined) this.#tell(slot);
    this.#wake();
  }

  /** All of the stream has been read: it is the state from here on. */
  #believe(contents: StateContents, lastSequence: number): void {
    const before = this.#contents;
    this.#snapshot = undefined;
    this.#contents = contents;
    this.#isCurrent = true;
    const lost = before.sequence === 0 ? undefined : regression(before, contents, lastSequence);
    if (lost !== undefined) {
      this.epoch++;
      this.#options.onRegression(`${this.place} went back in time: ${lost}`);
    }
    const gone = [...before.slots.values()].filter((slot) => slot.value !== undefined && !contents.slots.has(slot.key));
    for (const slot of gone) this.#tell({ ...slot, value: undefined, revision: contents.revision });
    const changed = [...contents.slots.values()].filter(({ key, revision, ids }) => {
      const known = before.slots.get(key);
      return known?.revision !== revision || known.ids[0] !== ids[0];
    });
    for (const slot of changed.sort((a, b) => a.revision - b.revision)) this.#tell(slot);
    this.#wake();
  }

  /** Nobody is told twice: whom another one's defect kept from hearing it would never know. */
  #tell({ key, value, revision }: Slot): void {
    for (const { prefix, listener } of this.#watchers) {
      if (!key.startsWith(prefix)) continue;
      try {
        listener({ key, value, revision });
      } catch (cause) {
        this.#options.onDefect(cause);
      }
    }
  }

  #wake(): void {
    const ready = this.#waiters.filter(({ sequence }) => this.#hasRead(sequence));
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }

  #nothing(): StateContents {
    return new StateContents(this.#options.prefix, this.#options.check);
  }

  async #queued(key: string, change: () => Promise<number>): Promise<number> {
    if (this.#changes.size >= STATE_WRITES_MAX) {
      throw new BackplaneError('resource_exhausted', `at most ${STATE_WRITES_MAX} changes of ${this.place} can wait`);
    }
    return this.#lanes.run(key, change);
  }

  async #change(key: string, value: StateValue | undefined, expected: number | undefined): Promise<number> {
    const { link, stream, prefix, times } = this.#options;
    const text = value === undefined ? undefined : JSON.stringify(value);
    const subject = subjectOfKey(prefix, key);
    this.#checkSize(key, subject, text);
    const deadline = AbortSignal.timeout(times?.writeMs ?? STATE_WRITE_MS);
    const attempt = new GuardedPublish(
      link,
      { stream, subject, payload: text ?? '', deletes: text === undefined },
      deadline,
    );
    this.#changes.set(attempt.id, attempt);
    const undecided = () => {
      attempt.trouble = this.trouble ?? 'it was not read back';
      return attempt.undecided();
    };
    const { epoch } = this;
    try {
      let after: number | undefined;
      for (;;) {
        // After a power cut the stream may have what others wrote at the sequences that are known here.
        await this.#reached(0, deadline, undecided);
        const slot = this.#contents.slots.get(key);
        const current = slot?.value === undefined ? 0 : slot.revision;
        if (expected !== undefined && this.isUnreadable(key)) throw unreadable(key);
        if (expected !== undefined && expected !== current) throw changedMeanwhile(key);
        if (value === undefined && current === 0) return this.#contents.revision;
        const outcome = await attempt.run(after ?? slot?.revision ?? 0, slot?.ids);
        if (outcome.kind === 'stored') {
          await this.#reached(outcome.readTo, deadline, undecided);
          this.#checkKept(key, outcome.sequence, epoch);
          return outcome.sequence;
        }
        await this.#reached(outcome.last?.sequence ?? 0, deadline, undecided);
        after = this.#afterOvertaken(key, outcome.last, slot);
        // Else the leader refused what it should have taken: it has just been elected.
        if (after === undefined && this.#contents.slots.get(key) === slot) await attempt.pause();
      }
    } finally {
      this.#changes.delete(attempt.id);
    }
  }

  /**
   * The sequence that the next try must follow, where that is not this broker's entry.
   * @param last what the leader had
   * @param before what was read here before the leader was asked
   */
  #afterOvertaken(key: string, last: LastMessage | undefined, before: Slot | undefined): number | undefined {
    const slot = this.#contents.slots.get(key);
    // Deletions are forgotten at one time in the stream, and at another here.
    if (last === undefined && slot?.deleted) return 0;
    if (last?.deleted && slot === undefined) return last.sequence;
    const [led, read] = [last?.sequence ?? 0, slot?.revision ?? 0];
    // While it is being read from the beginning nothing is known yet.
    if (this.#snapshot !== undefined) return undefined;
    // All up to there was read: who had an earlier one has lost it, who had a later one is another server.
    const isLost = led < Math.min(read, before?.revision ?? 0);
    if (isLost || led > read) this.#reader?.restart(`its leader has ${isLost ? 'an earlier' : 'another'} ${key}`);
    return undefined;
  }

  #hasRead(sequence: number): boolean {
    return this.#isCurrent && this.#contents.sequence >= sequence;
  }

  /** Resolves when the state has been read up to there, and is still being read. Rejects with what `late` makes when it is not in time. */
  async #reached(sequence: number, deadline: AbortSignal, late: () => BackplaneError): Promise<void> {
    if (this.#hasRead(sequence)) return;
    // What is over already tells nobody: a change whose answer came late would wait for ever, and with it those behind it.
    if (deadline.aborted) throw late();
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(late());
      };
      const waiter = { sequence, resolve, giveUp };
      this.#waiters.push(waiter);
      deadline.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** @throws BackplaneError unavailable for a change that was acknowledged and lost since */
  #checkKept(key: string, sequence: number, epoch: number): void {
    const revision = this.#contents.slots.get(key)?.revision ?? 0;
    if (epoch === this.epoch && revision >= sequence) return;
    throw new BackplaneError('unavailable', `${this.place} took the change of ${key} and lost it: it was not made`);
  }

  #checkSize(key: string, subject: string, text: string | undefined): void {
    const keyBytes = subject.length - this.#options.prefix.length;
    if (keyBytes > STATE_KEY_BYTES_MAX) {
      const message = `a key of ${this.place} must be at most ${STATE_KEY_BYTES_MAX} bytes, got ${keyBytes}`;
      throw new BackplaneError('resource_exhausted', message);
    }
    const bytes = Buffer.byteLength(text ?? '');
    if (bytes > STATE_ENTRY_BYTES_MAX) {
      const message = `${key} must be at most ${STATE_ENTRY_BYTES_MAX} bytes, would be ${bytes}`;
      throw new BackplaneError('resource_exhausted', message);
    }
    if (text !== undefined) this.#contents.checkRoom(key, bytes);
  }

  /** What everybody has read as deleted needs no message any more. */
  async #forgetDeletions(): Promise<void> {
    const { link, stream, prefix } = this.#options;
    if (this.#snapshot !== undefined || link.asking.info === undefined) return;
    for (const slot of this.#contents.oldDeletions().slice(0, STATE_DELETIONS_FORGOTTEN_MAX)) {
      // Whoever wrote the key again since has a later sequence, which stays.
      const purge = { filter: subjectOfKey(prefix, slot.key), seq: slot.revision + 1 };
      const purged = await link.manager.streams.purge(stream, purge).catch(() => undefined);
      if (purged !== undefined) this.#contents.forget(slot);
    }
  }
}

function entryOf({ key, value, revision }: Slot): StateEntry | undefined {
  return value === undefined ? undefined : { key, value, revision };
}

function unreadable(key: string): BackplaneError {
  const message = `a broker of another version wrote ${key}, and this one cannot read it: ask another broker`;
  return new BackplaneError('unavailable', message);
}

function changedMeanwhile(key: string): BackplaneError {
  return new BackplaneError('failed_precondition', `${key} was changed by somebody else meanwhile: try again`);
}
