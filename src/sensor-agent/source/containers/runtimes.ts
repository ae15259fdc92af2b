/**
 * The container runtimes of this machine: found by their sockets, again and again as they may be started later than the
 * agent, and asked together. One that fails says so once, and is asked again with the next container.
 */
import { asBackplaneError } from '../../../errors.js';
import type { RecordedContainer } from '../../recorder/recording.js';
import { NoSuchService, type Runtime } from './runtime.js';
import { findSocket, openRuntime, type RuntimePlace } from './runtime-places.js';

/** What is longer, or has other characters, is in no cgroup, and would be kept and recorded for nothing. */
const ID = /^[0-9A-Za-z-]{1,64}$/;

export interface RuntimeLog {
  info(message: string): void;
  warn(message: string): void;
}

interface Found {
  readonly path: string;
  readonly version: string;
  /** Undefined while it is opened, and where it turned out to be none that names containers. */
  runtime: Runtime | undefined;
  useless: boolean;
  /** What it said last, so that the same is not logged again. */
  trouble: string;
}

export interface Answer {
  readonly found: readonly RecordedContainer[];
  /** Every runtime has answered: what is not found is known to none. */
  readonly whole: boolean;
}

export class Runtimes {
  readonly #found = new Map<RuntimePlace, Found>();

  readonly #places: readonly RuntimePlace[];
  readonly #log: RuntimeLog;

  constructor(places: readonly RuntimePlace[], log: RuntimeLog) {
    this.#places = places;
    this.#log = log;
  }

  /** Whether there is any that can be asked. */
  get present(): boolean {
    return [...this.#found.values()].some(({ useless }) => !useless);
  }

  /** Of those. */
  get sockets(): readonly string[] {
    return [...this.#found.values()].flatMap(({ path, useless }) => (useless ? [] : [path]));
  }

  /** Looks for their sockets; true: there is one that was not there before. */
  look(): boolean {
    let isNew = false;
    for (const place of this.#places) {
      const socket = findSocket(place);
      const known = this.#found.get(place);
      if (known && known.version === socket?.version) continue;
      known?.runtime?.close();
      this.#found.delete(place);
      if (!socket) continue;
      this.#found.set(place, { ...socket, runtime: undefined, useless: false, trouble: '' });
      isNew = true;
    }
    return isNew;
  }

  /** What they know of these containers, or of all. Never rejects. */
  async ask(ids: readonly string[] | undefined): Promise<Answer> {
    const asked = [...this.#found].filter(([, { useless }]) => !useless);
    const answers = await Promise.all(asked.map(([place, found]) => this.#askOne(place, found, ids)));
    const whole = answers.every((answer) => answer !== undefined);
    return { found: answers.flatMap((answer) => answer ?? []), whole };
  }

  close(): void {
    for (const { runtime } of this.#found.values()) runtime?.close();
    this.#found.clear();
  }

  async #askOne(place: RuntimePlace, found: Found, ids: readonly string[] | undefined) {
    try {
      found.runtime ??= await openRuntime(place, found.path);
      const { runtime } = found;
      const known = await (ids === undefined ? runtime.list() : runtime.find(ids));
      if (found.trouble !== '') this.#log.info(`${found.path} names containers again`);
      found.trouble = '';
      return known.filter(({ id }) => ID.test(id));
    } catch (cause) {
      this.#failed(found, cause);
      return cause instanceof NoSuchService ? [] : undefined;
    }
  }

  #failed(found: Found, cause: unknown): void {
    const { message } = asBackplaneError(cause);
    if (cause instanceof NoSuchService) {
      found.useless = true;
      found.runtime?.close();
      this.#log.info(`${found.path} cannot name containers: ${message}`);
    } else if (message !== found.trouble) {
      found.trouble = message;
      this.#log.warn(`${found.path} does not name containers: ${message}`);
    }
  }
}
