/**
 * A byte on disk that outlives the agent: raised while the recording has a hole
 * that is not stated in it. The byte is written beforehand and then overwritten
 * in place, so that a full disk has room for it.
 */
import { type FileOps, readSmallFile, writeAll } from '../../storage/file-ops.js';

const RAISED = Buffer.from('!');
const LOWERED = Buffer.from('.');

export class HoleFlag {
  /** Whether an earlier agent ended before it could state what is missing. */
  readonly leftRaised: boolean;
  readonly #fd: number | undefined;
  #raised: boolean;

  readonly #files: FileOps;

  /** If the file cannot be opened, the flag is not kept. */
  constructor(files: FileOps, path: string) {
    this.#files = files;
    const left = readSmallFile(files, path, 1);
    this.leftRaised = left?.equals(RAISED) ?? false;
    this.#raised = this.leftRaised;
    this.#fd = this.#open(path, left === undefined);
  }

  raise(): void {
    if (!this.#raised) this.#write(RAISED);
    this.#raised = true;
  }

  lower(): void {
    if (this.#raised) this.#write(LOWERED);
    this.#raised = false;
  }

  close(): void {
    if (this.#fd !== undefined) this.#files.close(this.#fd);
  }

  #open(path: string, isNew: boolean): number | undefined {
    try {
      const fd = this.#files.open(path, isNew ? 'w+' : 'r+');
      if (isNew) writeAll(this.#files, fd, [LOWERED], 1, 0);
      return fd;
    } catch {
      return undefined;
    }
  }

  #write(byte: Buffer): void {
    try {
      if (this.#fd !== undefined) writeAll(this.#files, this.#fd, [byte], 1, 0);
    } catch {
      // The disk fails as well as being full: a kill now leaves the hole unstated, as it would without the flag.
    }
  }
}
