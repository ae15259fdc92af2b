/** Keeps a part of the shared state the same as what a broker holds in memory: only what differs is written. */
import { everyOne } from '../../flow/every-step.js';
import type { SharedState, StateValue } from './shared-state.js';

export class StateMirror {
  readonly #state: SharedState;
  /** Values as they were written last, as JSON, and the revision of that. */
  readonly #written = new Map<string, { readonly text: string; readonly revision: number }>();

  /** @param prefixes of the keys that this broker alone writes */
  constructor(state: SharedState, prefixes: readonly string[]) {
    this.#state = state;
    for (const prefix of prefixes) {
      for (const { key, value, revision } of state.entries(prefix)) {
        this.#written.set(key, { text: JSON.stringify(value), revision });
      }
    }
  }

  /** Resolves when the state has exactly these entries; rejects when any write failed. Call it again only then. */
  async write(entries: Iterable<readonly [key: string, value: StateValue]>): Promise<void> {
    const surplus = new Set(this.#written.keys());
    const writes: Promise<void>[] = [];
    for (const [key, value] of entries) {
      surplus.delete(key);
      const text = JSON.stringify(value);
      const written = this.#written.get(key);
      // A state that went back in time has another revision, or none.
      const isWritten = written?.text === text && written.revision === this.#state.get(key)?.revision;
      if (!isWritten) writes.push(this.#put(key, value, text));
    }
    for (const key of surplus) writes.push(this.#delete(key));
    await everyOne(writes);
  }

  async #put(key: string, value: StateValue, text: string): Promise<void> {
    const revision = await this.#state.put(key, value);
    this.#written.set(key, { text, revision });
  }

  async #delete(key: string): Promise<void> {
    await this.#state.delete(key);
    this.#written.delete(key);
  }
}
