/**
 * Shared state of a single broker: a JSON file that is replaced as a whole. Changes that are asked for while a write is
 * under way, or in the same turn of the loop, are written together. Nothing else waits for the disk.
 *
 * File := { "version": 2, "revision": number, "entries": [key, revision, value][] }
 */
import path from 'node:path';
import * as z from 'zod';
import { BackplaneError } from '../../../errors.js';
import { STATE_BYTES_MAX } from '../../../limits.js';
import { readBoundedFile } from '../../../storage/bounded-file.js';
import { type FileOps, nodeFileOps, replaceSmallFile, systemErrorCode } from '../../../storage/file-ops.js';
import type { SharedState, StateChange, StateEntry, StateValue } from '../shared-state.js';
import { putAside } from './put-aside.js';

export interface StateFileOptions {
  readonly dir: string;
  /** File name without `.json`. */
  readonly name: string;
  /** Throws when an entry is not what a broker writes; the whole file is then put aside. */
  readonly check: (key: string, value: unknown) => void;
  /** Entries of a file of version 1, parsed; throws when it is not what a broker wrote. */
  readonly upgrade: (file: unknown) => readonly (readonly [key: string, value: StateValue])[];
  /** What it means that the file could not be read, for the end of a sentence. */
  readonly consequence: string;
  readonly warn: (message: string) => void;
  /** Other file operations, for tests. */
  readonly files?: FileOps;
}

interface Stored extends StateEntry {
  /** As in the file, so that a change of one entry does not format all of them. */
  readonly text: string;
}

interface Operation {
  readonly key: string;
  readonly value: StateValue | undefined;
  readonly expected: number | undefined;
  readonly resolve: (revision: number) => void;
  readonly reject: (cause: unknown) => void;
}

interface Watcher {
  readonly prefix: string;
  readonly listener: (change: StateChange) => void;
}

const whole = z.number().int().positive();
const schema = z.object({
  version: z.literal(2),
  revision: whole,
  entries: z.array(z.tuple([z.string(), whole, z.record(z.string(), z.unknown())])),
});

export class StateFile implements SharedState {
  readonly place: string;
  readonly epoch = 1;
  #revision = 0;
  #entries = new Map<string, Stored>();
  #waiting: Operation[] = [];
  #writing: Promise<void> | undefined;
  readonly #files: FileOps;
  readonly #watchers = new Set<Watcher>();

  /** Starts empty where there is no file, and where it is damaged: it is then put aside, and `warn` is called. */
  constructor(options: StateFileOptions) {
    this.place = path.join(options.dir, `${options.name}.json`);
    this.#files = options.files ?? nodeFileOps;
    try {
      this.#load(options);
    } catch (cause) {
      this.#revision = 0;
      this.#entries.clear();
      const code = systemErrorCode(cause);
      if (code === 'ENOENT') return;
      const damage = `${this.place} is damaged (${code ?? 'not what a broker writes'})`;
      options.warn(`${damage}: ${putAside(this.place)}. ${options.consequence}`);
    }
  }

  timeMs(): number {
    return Date.now();
  }

  get(key: string): StateEntry | undefined {
    return this.#entries.get(key);
  }

  /** A file with such an entry is put aside. */
  isUnreadable(): boolean {
    return false;
  }

  entries(prefix: string): StateEntry[] {
    const found = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix));
    return found.sort((a, b) => a.revision - b.revision);
  }

  put(key: string, value: StateValue, expected?: number): Promise<number> {
    return this.#change(key, value, expected);
  }

  delete(key: string, expected?: number): Promise<number> {
    return this.#change(key, undefined, expected);
  }

  watch(prefix: string, listener: (change: StateChange) => void): () => void {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    for (const entry of this.entries(prefix)) listener(entry);
    return () => this.#watchers.delete(watcher);
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  #load({ check, upgrade }: StateFileOptions): void {
    const file: unknown = JSON.parse(readBoundedFile(this.place, STATE_BYTES_MAX).toString('utf8'));
    if (z.object({ version: z.literal(1) }).safeParse(file).success) {
      for (const [key, value] of upgrade(file)) this.#entries.set(key, stored(key, ++this.#revision, value));
      return;
    }
    const { revision, entries } = schema.parse(file);
    this.#revision = revision;
    for (const [key, entryRevision, value] of entries) {
      check(key, value);
      this.#entries.set(key, stored(key, entryRevision, value));
    }
  }

  #change(key: string, value: StateValue | undefined, expected: number | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, value, expected, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    // What is asked for in the same turn is written together.
    await undefined;
    while (this.#waiting.length > 0) await this.#write();
    this.#writing = undefined;
  }

  async #write(): Promise<void> {
    const operations = this.#waiting;
    this.#waiting = [];
    const next = new Map(this.#entries);
    let revision = this.#revision;
    const changes: StateChange[] = [];
    const done: (() => void)[] = [];
    for (const { key, value, expected, resolve, reject } of operations) {
      const before = next.get(key);
      if (expected !== undefined && expected !== (before?.revision ?? 0)) {
        done.push(() => reject(changedMeanwhile(key)));
        continue;
      }
      if (value !== undefined || before !== undefined) {
        revision++;
        if (value === undefined) next.delete(key);
        else next.set(key, stored(key, revision, value));
        changes.push({ key, value, revision });
      }
      const own = revision;
      done.push(() => resolve(own));
    }
    try {
      if (changes.length > 0) await this.#replace(revision, next);
    } catch (cause) {
      for (const { reject } of operations) reject(cause);
      return;
    }
    this.#revision = revision;
    this.#entries = next;
    for (const change of changes) {
      for (const { prefix, listener } of this.#watchers) if (change.key.startsWith(prefix)) listener(change);
    }
    for (const settle of done) settle();
  }

  async #replace(revision: number, entries: ReadonlyMap<string, Stored>): Promise<void> {
    const texts = Array.from(entries.values(), ({ text }) => text);
    const file = `{"version":2,"revision":${revision},"entries":[${texts.join(',\n')}]}\n`;
    const bytes = Buffer.byteLength(file);
    if (bytes > STATE_BYTES_MAX) {
      // What is longer could not be read at the next start, and all of it would be lost.
      const message = `${this.place} must be at most ${STATE_BYTES_MAX} bytes, would be ${bytes}`;
      throw new BackplaneError('resource_exhausted', `${message}: forget nodes that are gone, or share filters`);
    }
    await replaceSmallFile(this.#files, this.place, Buffer.from(file));
  }
}

function stored(key: string, revision: number, value: StateValue): Stored {
  return { key, revision, value, text: JSON.stringify([key, revision, value]) };
}

function changedMeanwhile(key: string): BackplaneError {
  return new BackplaneError('failed_precondition', `${key} was changed by somebody else meanwhile: try again`);
}
