/**
 * A file of settings that is read again when it changes. What cannot be read or is not valid changes nothing: the last
 * good content stays in force, and the reason is told once.
 */
import { type BigIntStats, statSync } from 'node:fs';
import { asBackplaneError, BackplaneError } from '../errors.js';
import { readBoundedFile, readFailure } from './bounded-file.js';
import { systemErrorCode } from './file-ops.js';

export interface WatchedFileOptions<T> {
  readonly path: string;
  readonly bytesMax: number;
  /** Throws BackplaneError for what is not valid. */
  readonly parse: (text: string) => T;
  /** What stands for a file that is not there; undefined: there must be one. */
  readonly absent?: T;
  /** Resolves when the change is on record, and only then it counts whole. */
  readonly onChange: (path: string) => Promise<void>;
  /** What counts of a change that cannot be put on record; without it nothing does. */
  readonly lessened?: (before: T, after: T) => T;
  readonly onApplied: (value: T) => void;
  readonly warn: (message: string) => void;
}

export class WatchedFile<T> {
  readonly path: string;
  #value: T;
  /** The last content that is on record. */
  #recorded: T;
  /** What the file looked like when it was last read, whether it was valid or not. */
  #seen: string;
  #told = '';
  #looking: Promise<void> | undefined;

  readonly #options: WatchedFileOptions<T>;

  /** @throws BackplaneError invalid_argument: the first content must be good. */
  constructor(options: WatchedFileOptions<T>) {
    this.#options = options;
    this.path = options.path;
    this.#seen = this.#look();
    this.#value = this.#read();
    this.#recorded = this.#value;
  }

  /** The last good content. */
  get value(): T {
    return this.#value;
  }

  get exists(): boolean {
    return statSync(this.path, { throwIfNoEntry: false }) !== undefined;
  }

  /** Call this about once a second. Resolves when what changed is in force, or is told to be no good. */
  look(): Promise<void> {
    if (this.#looking === undefined && this.#look() === this.#seen) return Promise.resolve();
    return this.reload();
  }

  /** Reads the file again, whether it has changed or not. */
  reload(): Promise<void> {
    const run = () => this.#apply();
    const next = this.#looking === undefined ? run() : this.#looking.then(run);
    const looking = next.finally(() => {
      if (this.#looking === looking) this.#looking = undefined;
    });
    this.#looking = looking;
    return looking;
  }

  async #apply(): Promise<void> {
    const seen = this.#look();
    try {
      const value = this.#read();
      await this.#record(value);
      this.#value = value;
      this.#recorded = value;
      this.#seen = seen;
      this.#told = '';
      this.#options.onApplied(value);
    } catch (cause) {
      // A change that could not be put on record is tried again; a bad file only when it is another one.
      const error = asBackplaneError(cause);
      if (error.code === 'invalid_argument') this.#seen = seen;
      if (this.#told === error.message) return;
      this.#told = error.message;
      const { lessened, warn } = this.#options;
      const isLessened = error.code !== 'invalid_argument' && lessened !== undefined;
      const rest = isLessened
        ? 'of what was read of it only what takes away counts'
        : 'what was read of it before stays in force';
      warn(`${error.message}; ${rest}`);
    }
  }

  async #record(value: T): Promise<void> {
    const { onChange, lessened, onApplied } = this.#options;
    try {
      await onChange(this.path);
    } catch (cause) {
      if (lessened !== undefined) {
        this.#value = lessened(this.#recorded, value);
        onApplied(this.#value);
      }
      throw cause;
    }
  }

  #read(): T {
    const { path, bytesMax, parse, absent } = this.#options;
    let text: string;
    try {
      text = readBoundedFile(path, bytesMax).toString('utf8');
    } catch (cause) {
      if (absent !== undefined && systemErrorCode(cause) === 'ENOENT') return absent;
      throw new BackplaneError('invalid_argument', `${path} cannot be read: ${readFailure(cause)}`);
    }
    try {
      return parse(text);
    } catch (cause) {
      throw new BackplaneError('invalid_argument', `${path}: ${asBackplaneError(cause).message}`);
    }
  }

  /** Links are followed: mounted secrets are replaced by changing a link. */
  #look(): string {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs }: BigIntStats = statSync(this.path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    } catch (cause) {
      return systemErrorCode(cause) ?? String(cause);
    }
  }
}
