/** The last N events of several merged streams: of each part only what may still be among them. Runs in browsers. */

interface Part<Item> {
  readonly cluster: string;
  readonly item: Item;
  from: number;
  readonly to: number;
}

export class LastEvents<Item> {
  readonly #most: number;
  #parts: Part<Item>[] = [];
  #events = 0;
  /** Parts before it were dropped. */
  #first = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#events;
  }

  /** Events [from, to) of an item, in order behind all before. */
  add(cluster: string, item: Item, from: number, to: number): void {
    this.#parts.push({ cluster, item, from, to });
    this.#events += to - from;
    while (this.#events > this.#most) {
      const part = this.#parts[this.#first]!;
      const dropped = Math.min(part.to - part.from, this.#events - this.#most);
      part.from += dropped;
      this.#events -= dropped;
      if (part.from === part.to) this.#first += 1;
    }
    // Each event is moved at most once for each that comes.
    if (this.#first * 2 <= this.#parts.length) return;
    this.#parts = this.#parts.slice(this.#first);
    this.#first = 0;
  }

  /** All that is held, and forgets it. */
  take(): readonly Readonly<Part<Item>>[] {
    const held = this.#parts.slice(this.#first);
    this.#parts = [];
    this.#first = 0;
    this.#events = 0;
    return held;
  }
}
