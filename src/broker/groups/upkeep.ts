/**
 * Keeps the places of groups: those of members that have nothing open move on as time passes, and those whose offsets the
 * log may soon forget are written down as positions of nodes.
 */
import type { Logger } from 'pino';
import { GROUP_UPKEEPS_PER_LOG } from '../../limits.js';
import type { LogStore } from '../log/log-store.js';
import type { LiveGroup } from './live-group.js';

const INTERVAL_MS = 10_000;
/** Cursors that nobody has committed for so long: a slice without events stands still. */
const ADVANCE_AFTER_MS = 60_000;

export class Upkeep {
  readonly #timer: NodeJS.Timeout;
  /** Bytes that the logs took since places were looked at. */
  #bytes = 0;
  #running = false;
  #again = false;
  #closed = false;

  readonly #store: LogStore;
  readonly #groups: () => readonly LiveGroup[];
  readonly #logger: Logger;

  /** Call it before anything is appended to the logs. */
  constructor(store: LogStore, groups: () => readonly LiveGroup[], logger: Logger) {
    this.#store = store;
    this.#groups = groups;
    this.#logger = logger;
    this.#timer = setInterval(() => this.#start(), INTERVAL_MS).unref();
    for (const log of store.all()) log.onGrown((bytes) => this.#grown(bytes));
    store.guard((partition, before) => this.#mayForget(partition, before));
    // Before what grew old while no broker ran is forgotten.
    setImmediate(() => this.#start());
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  /** The more the logs take, the sooner they forget. */
  #grown(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < this.#store.bytesMax / GROUP_UPKEEPS_PER_LOG) return;
    this.#bytes = 0;
    this.#start();
  }

  /** Places that lie before the offset are written down first. */
  #mayForget(partition: number, before: number): boolean {
    if (this.#closed) return true;
    if (this.#running) return false;
    if (!this.#groups().some((live) => live.places.isOpenBefore(partition, before))) return true;
    this.#start();
    return false;
  }

  #start(): void {
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      const fading = this.#store.fading();
      for (const live of this.#groups()) {
        try {
          await live.advance(Date.now() - ADVANCE_AFTER_MS);
          await live.places.park(fading);
        } catch (cause) {
          this.#logger.warn(`cursors of group ${live.group.name} cannot be kept up to date: ${cause}`);
        }
      }
    }
    this.#running = false;
  }
}
