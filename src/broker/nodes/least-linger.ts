/**
 * How long nodes gather live events at least: each sends a frame or more in that time, and a log takes only so many a second.
 * So it grows with the nodes that are connected, to all brokers of a log. A node whose settings say more keeps to those.
 */
import { LEAST_LINGER_MS_MAX, LINGER_MS_LEAST_DEFAULT } from '../../limits.js';
import type { NodeRegistry } from './node-registry.js';

/** The nodes are told again when it has changed by more than this share. */
const TOLERANCE = 0.25;

export class LeastLinger {
  #toldMs = 0;
  /** By node, the session that has heard of it. */
  readonly #told = new Map<string, string>();

  readonly #registry: NodeRegistry;
  readonly #framesPerSecond: number;

  /** @param framesPerSecond what the log takes */
  constructor(registry: NodeRegistry, framesPerSecond: number) {
    this.#registry = registry;
    this.#framesPerSecond = framesPerSecond;
    registry.listen((node) => this.#review(node));
  }

  get ms(): number {
    const ms = Math.ceil((this.#registry.connectedEverywhere / this.#framesPerSecond) * 1000);
    // Less than any node gathers by its own settings need not be said.
    return ms < LINGER_MS_LEAST_DEFAULT ? 0 : Math.min(LEAST_LINGER_MS_MAX, ms);
  }

  #review(node: string): void {
    const { ms } = this;
    if (Math.abs(ms - this.#toldMs) > TOLERANCE * this.#toldMs) {
      this.#toldMs = ms;
      this.#told.clear();
      for (const each of this.#registry.connected((name) => this.#registry.session(name) !== undefined)) {
        this.#tell(each);
      }
    } else if (ms > 0) this.#tell(node);
  }

  #tell(node: string): void {
    const session = this.#registry.session(node);
    if (session === undefined) this.#told.delete(node);
    else if (this.#told.get(node) !== session.id) {
      this.#told.set(node, session.id);
      session.send({ leastLinger: { lingerMs: this.#toldMs } });
    }
  }
}
