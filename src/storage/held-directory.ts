/**
 * A directory that must stay where it is. If somebody removes, renames or replaces it, writes and syncs to its files
 * still succeed, but they go to files that nobody will find again.
 */
import fs from 'node:fs';

export class HeldDirectory {
  /** Kept open, so that the system gives its inode number to no other directory. */
  readonly #fd: number;
  #closed = false;

  /** Throws the system's error, for example ENOENT. */
  constructor(readonly path: string) {
    this.#fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  }

  /** Whether the path still leads to this directory. */
  get inPlace(): boolean {
    return this.#closed || leadsTo(this.path, this.#fd);
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

/** Whether the path names the very file that is open. */
export function leadsTo(path: string, fd: number): boolean {
  try {
    const named = fs.statSync(path, { bigint: true });
    const open = fs.fstatSync(fd, { bigint: true });
    return named.dev === open.dev && named.ino === open.ino;
  } catch {
    return false;
  }
}
