/**
 * A directory that must stay where it is. Whoever removes it, renames it or puts another in its place takes the files
 * away from under their user, to whom writes and syncs go on succeeding: they only reach what nobody will find again.
 */
import fs from 'node:fs';

export class HeldDirectory {
  /** Kept open, so that its number is not given to another one. */
  readonly #fd: number;
  #closed = false;

  /** Throws the system's error, for example ENOENT. */
  constructor(readonly path: string) {
    this.#fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  }

  /** Whether its path leads to it. */
  get inPlace(): boolean {
    return this.#closed || leadsTo(this.path, this.#fd);
  }

  /** What to tell people when it is not. */
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
