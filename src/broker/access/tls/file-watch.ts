/**
 * Notices when files have other contents: written in place, replaced by a rename, or behind a symbolic link that leads
 * elsewhere now, which is how Kubernetes changes a mounted secret. Looking at what the paths lead to sees all of these
 * alike; the system's own notices are of one directory each, and are not given on every file system.
 */
import { statSync } from 'node:fs';

export class FileWatch {
  readonly #paths: readonly string[];
  readonly #onChange: () => void;
  #known: string;
  /** What the last look saw, while it differs from what is known. */
  #seen: string | undefined;

  /** `onChange` is called by look(). */
  constructor(paths: readonly string[], onChange: () => void) {
    this.#paths = paths;
    this.#onChange = onChange;
    this.#known = this.#state();
  }

  /** A change counts once it was seen twice, as certificate and key are seldom replaced at the same moment. */
  look(): void {
    const state = this.#state();
    if (state === this.#known) {
      this.#seen = undefined;
      return;
    }
    if (state !== this.#seen) {
      this.#seen = state;
      return;
    }
    this.#known = state;
    this.#seen = undefined;
    this.#onChange();
  }

  #state(): string {
    return this.#paths.map(fileState).join('\n');
  }
}

function fileState(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code ?? 'unknown';
  }
}
