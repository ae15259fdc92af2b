/**
 * Watches whether the broker's directories and token file are still in place for the next start. Missing ones are not
 * restored, because somebody may have removed them on purpose: `/readyz` and `status` say what is missing until it is
 * back or the broker restarts.
 */
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import { HeldDirectory } from '../storage/held-directory.js';

export class DataWatch {
  /** What is missing, in a sentence; undefined when nothing is. */
  trouble: string | undefined;
  readonly #directories: readonly HeldDirectory[];

  readonly #tokenFile: string | undefined;
  readonly #logger: Logger;

  /** @param directories outermost first  @param tokenFile undefined when calls need no token */
  constructor(directories: readonly string[], tokenFile: string | undefined, logger: Logger) {
    this.#tokenFile = tokenFile;
    this.#logger = logger;
    this.#directories = directories.map((path) => new HeldDirectory(path));
  }

  /** Call this about once a second. */
  look(): void {
    const found = this.#missing();
    if (found === this.trouble) return;
    this.trouble = found;
    if (found === undefined) this.#logger.info('the data directory is whole again');
    else this.#logger.error(found);
  }

  close(): void {
    for (const directory of this.#directories) directory.close();
  }

  #missing(): string | undefined {
    const directory = this.#directories.find(({ inPlace }) => !inPlace);
    if (directory) return directory.removedMessage;
    const tokenFile = this.#tokenFile;
    if (tokenFile === undefined || existsSync(tokenFile)) return undefined;
    return `token file ${tokenFile} was removed: new commands and agents find no token; restart, and a new one is made`;
  }
}
