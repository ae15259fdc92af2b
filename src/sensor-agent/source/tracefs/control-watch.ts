/**
 * Learns of writes to an instance's control files as they happen (inotify), so
 * that a change that is undone between two looks is noticed too. Where the
 * kernel does not report writes, only the looks find changes.
 */
import { type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';

/** Files whose writes change nothing that is recorded. */
const HARMLESS = new Set(['trace_marker', 'trace_marker_raw', 'error_log', 'buffer_percent']);

export class ControlWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  #written = new Set<string>();
  /** Writes of this agent that are not reported yet, by file; and those from before the last look. */
  #own = new Map<string, number>();
  #ownBefore = new Map<string, number>();
  /** Whether the kernel reports writes here. */
  serves = false;

  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Watches these folders of the instance from now on, and no others. */
  watch(folders: readonly string[]): void {
    for (const [folder, watcher] of this.#watchers) {
      if (folders.includes(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) if (!this.#watchers.has(folder)) this.#add(folder);
  }

  /** Called before this agent writes a file. */
  owns(file: string): void {
    this.#own.set(file, (this.#own.get(file) ?? 0) + 1);
  }

  get heard(): boolean {
    return this.#written.size > 0;
  }

  /** Files that others have written since the last call. */
  take(): string[] {
    const written = [...this.#written];
    this.#written = new Set();
    // The kernel may report two writes in a row as one, so a write not reported between two looks never will be.
    this.#ownBefore = this.#own;
    this.#own = new Map();
    return written;
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #add(folder: string): void {
    try {
      const watcher = watch(join(this.#path, folder), { persistent: false });
      watcher.on('change', (kind, name) => this.#hear(kind, join(folder, String(name))));
      watcher.on('error', () => watcher.close());
      this.#watchers.set(folder, watcher);
    } catch {
      // There is no inotify here, or no watch is left.
    }
  }

  /** A `rename` is the instance's end, which a look finds. */
  #hear(kind: string, file: string): void {
    if (kind !== 'change' || HARMLESS.has(file)) return;
    this.serves = true;
    for (const own of [this.#ownBefore, this.#own]) {
      const count = own.get(file) ?? 0;
      if (count === 0) continue;
      own.set(file, count - 1);
      return;
    }
    this.#written.add(file);
  }
}
