/** Shared states of several brokers without a server: each reads one order of changes, whenever a test has it do so. */
import type { SharedState, StateChange, StateValue } from '../../../src/broker/cluster/shared-state.js';
import { BackplaneError } from '../../../src/errors.js';

/** One order of changes, as a stream has it. */
export class SharedStream {
  readonly changes: StateChange[] = [];
  readonly views = new Set<StreamView>();

  append(key: string, value: StateValue | undefined): number {
    const revision = this.changes.length + 1;
    this.changes.push({ key, value, revision });
    return revision;
  }

  revisionOf(key: string): number {
    const last = this.changes.findLast((change) => change.key === key);
    return last?.value === undefined ? 0 : last.revision;
  }
}

/** A stream as one broker has read it so far. Its own changes count when they are read back. */
export class StreamView implements SharedState {
  readonly place = 'a stream';
  readonly epoch = 1;
  #read = 0;
  readonly #entries = new Map<string, StateChange>();
  readonly #watchers: [prefix: string, listener: (change: StateChange) => void][] = [];
  #waiters: [revision: number, resolve: () => void][] = [];

  constructor(readonly stream: SharedStream) {
    stream.views.add(this);
  }

  /** Reads so many more changes. */
  read(count: number): void {
    for (; count > 0 && this.#read < this.stream.changes.length; count--) {
      const change = this.stream.changes[this.#read++]!;
      this.#entries.set(change.key, change);
      for (const [prefix, listener] of this.#watchers) if (change.key.startsWith(prefix)) listener(change);
    }
    const ready = this.#waiters.filter(([revision]) => revision <= this.#read);
    this.#waiters = this.#waiters.filter(([revision]) => revision > this.#read);
    for (const [, resolve] of ready) resolve();
  }

  timeMs(): number {
    return Date.now();
  }

  get(key: string) {
    const { value, revision } = this.#entries.get(key) ?? {};
    return value === undefined ? undefined : { key, value, revision: revision! };
  }

  isUnreadable(): boolean {
    return false;
  }

  entries(prefix: string) {
    return [...this.#entries.keys()].filter((key) => key.startsWith(prefix)).flatMap((key) => this.get(key) ?? []);
  }

  put(key: string, value: StateValue, expected?: number): Promise<number> {
    return this.#change(key, value, expected);
  }

  delete(key: string, expected?: number): Promise<number> {
    return this.#change(key, undefined, expected);
  }

  watch(prefix: string, listener: (change: StateChange) => void) {
    this.#watchers.push([prefix, listener]);
    for (const entry of this.entries(prefix)) listener(entry);
    return () => undefined;
  }

  async #change(key: string, value: StateValue | undefined, expected?: number): Promise<number> {
    const last = this.stream.revisionOf(key);
    if (expected !== undefined && expected !== last) {
      await this.#reached(last);
      throw new BackplaneError('failed_precondition', `${key} was changed`);
    }
    const revision = this.stream.append(key, value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
    await this.#reached(revision);
    return revision;
  }

  #reached(revision: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#read >= revision) resolve();
      else this.#waiters.push([revision, resolve]);
    });
  }
}
