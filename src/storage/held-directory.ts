/**
 * A directory that must stay where it is. If somebody removes, renames or replaces it, writes and syncs to its files
 * still succeed, but they go to files that nobody will find again.
 */
import fs from 'node:fs';

export class HeldDirectory {
  /** Kept open, so that the system gives its inode number to no other directory. */
  readonly #fd: number;
  readonly #file: OpenFile | undefined;
  #closed = false;

  /** Throws the system's error, for example ENOENT. */
  constructor(readonly path: string) {
    this.#fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    this.#file = openFile(this.#fd);
  }

  /** Whether the path still leads to this directory. */
  get inPlace(): boolean {
    return this.#closed || leadsTo(this.path, this.#file);
  }

  /** The message for people when it is not in place. */
  get removedMessage(): string {
    return `directory ${this.path} was removed, renamed or replaced while in use: nothing more is kept in it; restart`;
  }

  /** Idempotent. */
  close(): void {
    if (!this.#closed) fs.closeSync(this.#fd);
    this.#closed = true;
  }
}

/** What tells a file from all others, as long as it is open. */
export interface OpenFile {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Undefined when the descriptor is of no file. */
export function openFile(fd: number): OpenFile | undefined {
  try {
    const { dev, ino } = fs.fstatSync(fd, { bigint: true });
    return { dev, ino };
  } catch {
    return undefined;
  }
}

/** Whether the path names the very file that is open. */
export function leadsTo(path: string, file: OpenFile | undefined): boolean {
  try {
    const named = fs.statSync(path, { bigint: true });
    return named.dev === file?.dev && named.ino === file.ino;
  } catch {
    return false;
  }
}
