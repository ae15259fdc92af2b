/**
 * The connections of one port, a bounded number of them. One that comes when all places are taken gets the place of the
 * one that has been idle for longest: otherwise a peer that opens connections and says nothing would keep everybody
 * else out. Those that are kept, as something is going on over them, never give theirs up.
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

  constructor(private readonly connectionsMax: number) {}

  /** A new connection: another one is closed for it where that is necessary, or itself where all others are kept. */
  add(connection: T): void {
    if (this.#idle.size + this.#kept.size >= this.connectionsMax) {
      const [longestIdle = connection] = this.#idle;
      this.#remove(longestIdle);
      longestIdle.destroy();
      if (longestIdle === connection) return;
    }
    this.#idle.add(connection);
    connection.once('close', () => this.#remove(connection));
  }

  /** Something was heard: of those that are idle it is the last to go. */
  heard(connection: T): void {
    if (this.#idle.delete(connection)) this.#idle.add(connection);
  }

  keep(connection: T): void {
    if (this.#idle.delete(connection)) this.#kept.add(connection);
  }

  /** Nothing is going on over it any more. */
  release(connection: T): void {
    if (this.#kept.delete(connection)) this.#idle.add(connection);
  }

  #remove(connection: T): void {
    this.#idle.delete(connection);
    this.#kept.delete(connection);
  }
}
