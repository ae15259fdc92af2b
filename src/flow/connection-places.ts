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

  /**
   * Adds a new connection. If all places are taken, the longest idle one is closed for it, or the new one itself if all
   * are kept.
   */
  add(connection: T): void {
    if (this.#idle.size + this.#kept.size >= this.#connectionsMax) {
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
