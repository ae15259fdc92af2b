/**
 * Groups in the shared state. Changes of one group follow each other, and what is asked for within a few milliseconds
 * is written together: each of them still succeeds or fails by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { GROUP_COMMIT_LINGER_MS, GROUPS_PARKED_BYTES_MAX, RETRY_AFTER_MS } from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import type { SharedState, StateValue } from '../cluster/shared-state.js';
import {
  GROUP_PREFIX,
  type GroupRecord,
  groupKey,
  groupRecord,
  groupValue,
  PARKED_PREFIX,
  type ParkedCursor,
  parkedCursors,
  parkedKey,
  parkedValue,
} from './group-record.js';

/** Other brokers may change the same group, for so long that it is their load and not chance. */
const CONTENTION_MS_MAX = 10_000;
/** Before a change is tried again, so that brokers do not meet again; more with each try. */
const CONTENTION_PAUSE_MS = 5;
const CONTENTION_PAUSE_MS_MAX = 200;

/** Two brokers seldom write down places of one slice. */
const PARK_TRIES_MAX = 8;

export type ParkedChange = (parked: readonly ParkedCursor[], tries: number) => readonly ParkedCursor[];

interface Change {
  readonly change: (record: GroupRecord) => GroupRecord;
  readonly resolve: (record: GroupRecord) => void;
  readonly reject: (cause: unknown) => void;
}

export class GroupStore {
  readonly #state: SharedState;
  readonly #parkedState: SharedState;
  readonly #waiting = new Map<string, Change[]>();
  /** Records are asked for far more often than they change. */
  readonly #records = new WeakMap<StateValue, GroupRecord>();

  /** By key, the bytes of what is parked, or is about to be. */
  readonly #parkedBytes = new Map<string, number>();
  readonly #parkedBytesMax: number;

  /** @param parkedState for parked cursors, which are long and seldom change: commits do not write them again */
  constructor(state: SharedState, parkedState: SharedState, parkedBytesMax = GROUPS_PARKED_BYTES_MAX) {
    this.#state = state;
    this.#parkedState = parkedState;
    this.#parkedBytesMax = parkedBytesMax;
    parkedState.watch(PARKED_PREFIX, ({ key, value }) => this.#countParked(key, value));
  }

  /** Seconds since 1970, by one clock for all brokers: epochs begin with them. */
  get seconds(): number {
    return Math.floor(this.#state.timeMs() / 1000);
  }

  get(name: string): GroupRecord | undefined {
    const entry = this.#state.get(groupKey(name));
    return entry && this.#parsed(entry.value);
  }

  /** Throws unavailable where there is a group of that name that only brokers of another version can read. */
  checkReadable(name: string): void {
    const cause = this.unreadable(name);
    if (cause !== undefined) throw cause;
  }

  /** What checkReadable() throws. */
  unreadable(name: string): BackplaneError | undefined {
    if (!this.#state.isUnreadable(groupKey(name))) return undefined;
    const message = `a broker of another version wrote the group ${name}, and this one cannot read it: ask another broker`;
    return new BackplaneError('unavailable', message);
  }

  all(): GroupRecord[] {
    return this.#state.entries(GROUP_PREFIX).map(({ value }) => this.#parsed(value));
  }

  /**
   * Calls `listener` with the groups that there are, and from then on with each that changed, by whichever broker, in the
   * order of the changes; without a record it was deleted. Returns what ends it.
   */
  watch(listener: (name: string, record: GroupRecord | undefined) => void): () => void {
    return this.#state.watch(GROUP_PREFIX, ({ key, value }) => {
      listener(key.slice(GROUP_PREFIX.length), value && this.#parsed(value));
    });
  }

  /** Rejects with failed_precondition when there is one of that name. */
  async create(record: GroupRecord): Promise<void> {
    await this.#written(() => this.#state.put(groupKey(record.name), groupValue(record), 0));
  }

  /**
   * Resolves with the changed record once it is durable. What `change` throws leaves the group as it was. Rejects with
   * not_found when there is no such group.
   */
  update(name: string, change: Change['change']): Promise<GroupRecord> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(name);
      const own = { change, resolve, reject };
      if (waiting !== undefined) {
        waiting.push(own);
        return;
      }
      const changes = [own];
      this.#waiting.set(name, changes);
      void this.#writeAll(name, changes);
    });
  }

  async delete(name: string): Promise<void> {
    await this.#written(() => this.#state.delete(groupKey(name)));
    await this.unpark(name);
  }

  /** The places that were written down of a slice, the newest first. */
  parked(name: string, slice: number): readonly ParkedCursor[] {
    const key = parkedKey(name, slice);
    // An earlier version wrote them where groups are.
    const entry = this.#parkedState.get(key) ?? this.#state.get(key);
    return entry === undefined ? [] : parkedCursors(entry.value);
  }

  /**
   * Changes what is written down, by slice, together. Does nothing for a group that was deleted, nor for a slice for which
   * all groups together have no room: it is then as one with too many nodes.
   * @param changes from what is written down to what shall be, the newest first and at least one; called again with the
   * number of the try where another broker wrote meanwhile
   */
  async park(name: string, changes: ReadonlyMap<number, ParkedChange>): Promise<void> {
    if (this.get(name) === undefined) return;
    await this.#written(() => Promise.all(Array.from(changes, ([slice, change]) => this.#park(name, slice, change))));
  }

  async #park(name: string, slice: number, change: ParkedChange): Promise<void> {
    const key = parkedKey(name, slice);
    for (let tries = 1; ; tries++) {
      const before = this.#parkedState.get(key);
      const value = parkedValue(change(this.parked(name, slice), tries));
      if (!this.#hasRoom(key, value)) return;
      this.#countParked(key, value);
      try {
        await this.#parkedState.put(key, value, before?.revision ?? 0);
        return;
      } catch (cause) {
        this.#countParked(key, before?.value);
        if (asBackplaneError(cause).code !== 'failed_precondition' || tries >= PARK_TRIES_MAX) throw cause;
      }
    }
  }

  #countParked(key: string, value: StateValue | undefined): void {
    if (value === undefined) this.#parkedBytes.delete(key);
    else this.#parkedBytes.set(key, parkedBytes(value));
  }

  #hasRoom(key: string, value: StateValue): boolean {
    const [before = 0, after] = [this.#parkedBytes.get(key), parkedBytes(value)];
    if (after <= before) return true;
    const all = this.#parkedBytes.values();
    return [...all].reduce((sum, bytes) => sum + bytes, after - before) <= this.#parkedBytesMax;
  }

  /** Forgets the parked cursors of a group. */
  async unpark(name: string): Promise<void> {
    for (const state of new Set([this.#parkedState, this.#state])) {
      const keys = state.entries(`${PARKED_PREFIX}${name}.`).map(({ key }) => key);
      const own = keys.filter((key) => /^\d+$/.test(key.slice(PARKED_PREFIX.length + name.length + 1)));
      await this.#written(() => Promise.all(own.map((key) => state.delete(key))));
    }
  }

  /** Writes what gathers in `changes`, and then what gathered meanwhile. */
  async #writeAll(name: string, changes: Change[]): Promise<void> {
    for (let batch = changes; ; batch = this.#waiting.get(name) ?? []) {
      await sleep(GROUP_COMMIT_LINGER_MS);
      const now = batch.splice(0);
      await this.#write(name, now);
      if (batch.length > 0) continue;
      this.#waiting.delete(name);
      return;
    }
  }

  async #write(name: string, changes: readonly Change[]): Promise<void> {
    const untilMs = performance.now() + CONTENTION_MS_MAX;
    for (let tries = 1; ; tries++) {
      const entry = this.#state.get(groupKey(name));
      if (entry === undefined) {
        for (const { reject } of changes) reject(new BackplaneError('not_found', `there is no group ${name}`));
        return;
      }
      const before = this.#parsed(entry.value);
      let record = before;
      const done: Change[] = [];
      const refused: (() => void)[] = [];
      for (const each of changes) {
        try {
          record = each.change(record);
          done.push(each);
        } catch (cause) {
          refused.push(() => each.reject(cause));
        }
      }
      try {
        if (record !== before) {
          await this.#written(() => this.#state.put(groupKey(name), groupValue(record), entry.revision));
        }
      } catch (cause) {
        const isOvertaken = asBackplaneError(cause).code === 'failed_precondition';
        if (isOvertaken && performance.now() < untilMs) {
          const ms = Math.min(CONTENTION_PAUSE_MS * 2 ** tries, CONTENTION_PAUSE_MS_MAX);
          await sleep(Math.random() * ms);
          continue;
        }
        for (const { reject } of changes) reject(isOvertaken ? contended(name) : cause);
        return;
      }
      for (const reject of refused) reject();
      for (const { resolve } of done) resolve(record);
      return;
    }
  }

  #parsed(value: StateValue): GroupRecord {
    const known = this.#records.get(value);
    if (known !== undefined) return known;
    const record = groupRecord(value);
    this.#records.set(value, record);
    return record;
  }

  /** A disk that takes nothing is said in a sentence, and the group is as it was. */
  async #written<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (cause) {
      const code = systemErrorCode(cause);
      if (cause instanceof BackplaneError || code === undefined) throw cause;
      const message = `${this.#state.place} cannot be written (${code}): nothing was changed`;
      throw new BackplaneError('unavailable', message);
    }
  }
}

function parkedBytes(value: StateValue): number {
  return parkedCursors(value).reduce((sum, { cursor, nodes }) => sum + cursor.length + nodes.length, 0);
}

function contended(name: string): BackplaneError {
  const message = `group ${name} is changed by other brokers all the time: it was not changed`;
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}
