/**
 * A bounded number of connections for one port. When all places are taken, a new connection replaces the one that has
 * been idle longest: otherwise a peer that opens silent connections could keep everybody else out. Connections in use
 * are kept, and never replaced.
 */

/** A socket, or a session over one. */
interface Connection {
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export class ConnectionPlaces<T extends Connection> {
  /** Longest idle first. */
  readonly #idle = new Set<T>();
  readonly #kept = new Set<T>();

  readonly #connectionsMax: number;

  constructor(connectionsMax: number) {
    this.#connectionsMax = connectionsMax;
  }

  get size(): number {
    return this.#idle.size + this.#kept.size;
  }

  /**
   * Adds a new connection. If all places are taken, the longest idle one is closed for it, or the new one itself if all
   * are kept.
   */
  add(connection: T): void {
    if (this.size >= this.#connectionsMax) {
      const [longestIdle = connection] = this.#idle;
      this.#remove(longestIdle);
      longestIdle.destroy();
      if (longestIdle === connection) return;
    }
    this.#idle.add(connection);
    connection.once('close', () => this.#remove(connection));
  }

  /** The connection sent something: among the idle ones it is now closed last. */
  heard(connection: T): void {
    if (this.#idle.delete(connection)) this.#idle.add(connection);
  }

  keep(connection: T): void {
    if (this.#idle.delete(connection)) this.#kept.add(connection);
  }

  isKept(connection: T): boolean {
    return this.#kept.has(connection);
  }

  /** The connection is no longer in use. */
  release(connection: T): void {
    if (this.#kept.delete(connection)) this.#idle.add(connection);
  }

  #remove(connection: T): void {
    this.#idle.delete(connection);
    this.#kept.delete(connection);
  }
}

/** Bounds the bytes of answers that nobody takes: anybody may ask, by many connections and requests at once. */
export class WaitingAnswers<Answer> {
  /** In the order in which they were given. */
  readonly #bytes = new Map<Answer, number>();
  #sum = 0;
  readonly #bytesMax: number;
  readonly #end: (answer: Answer) => void;

  /** @param end ends the connection that an answer is for */
  constructor(bytesMax: number, end: (answer: Answer) => void) {
    this.#bytesMax = bytesMax;
    this.#end = end;
  }

  /** Ends connections, beginning with the one whose answer waits for longest, until there is room. */
  add(answer: Answer, bytes: number): void {
    this.#bytes.set(answer, bytes);
    this.#sum += bytes;
    for (const longest of this.#bytes.keys()) {
      if (this.#sum <= this.#bytesMax || longest === answer) return;
      this.taken(longest);
      this.#end(longest);
    }
  }

  /** The transport has taken it, or the connection has ended. */
  taken(answer: Answer): void {
    this.#sum -= this.#bytes.get(answer) ?? 0;
    this.#bytes.delete(answer);
  }
}
