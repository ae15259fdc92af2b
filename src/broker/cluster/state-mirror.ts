/** Keeps a part of the shared state the same as what a broker holds in memory: only what differs is written. */
import { everyOne } from '../../flow/every-step.js';
import type { SharedState, StateValue } from './shared-state.js';

export class StateMirror {
  readonly #state: SharedState;
  /** Values as they were written last, as JSON. */
  readonly #written = new Map<string, string>();

  /** @param prefixes of the keys that this broker alone writes */
  constructor(state: SharedState, prefixes: readonly string[]) {
    this.#state = state;
    for (const prefix of prefixes) {
      for (const { key, value } of state.entries(prefix)) this.#written.set(key, JSON.stringify(value));
    }
  }

  /** Resolves when the state has exactly these entries; rejects when any write failed. Call it again only then. */
  async write(entries: Iterable<readonly [key: string, value: StateValue]>): Promise<void> {
    const surplus = new Set(this.#written.keys());
    const writes: Promise<void>[] = [];
    for (const [key, value] of entries) {
      surplus.delete(key);
      const text = JSON.stringify(value);
      if (this.#written.get(key) !== text) writes.push(this.#put(key, value, text));
    }
    for (const key of surplus) writes.push(this.#delete(key));
    await everyOne(writes);
  }

  async #put(key: string, value: StateValue, text: string): Promise<void> {
    await this.#state.put(key, value);
    this.#written.set(key, text);
  }

  async #delete(key: string): Promise<void> {
    await this.#state.delete(key);
    this.#written.delete(key);
  }
}
