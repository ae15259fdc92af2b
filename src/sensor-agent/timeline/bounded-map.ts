/** Maps that drop entries when they are full. */

/**
 * A map that drops the entry set longest ago when it is full. lru-cache would
 * not do: it clears arrays as long as its bound whenever its last entry is
 * deleted, and on a quiet machine every connection that closes is the last
 * entry.
 */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    super();
    this.#entriesMax = entriesMax;
  }

  override set(key: K, value: V): this {
    this.delete(key);
    if (this.size >= this.#entriesMax) this.delete(this.keys().next().value!);
    return super.set(key, value);
  }
}

interface Used<V> {
  readonly key: number;
  value: V;
  bytes: number;
  /** Neighbours in order of use. */
  older: Used<V>;
  newer: Used<V>;
}

/**
 * A map that drops the entries used longest ago, bounded in entries and in bytes. Unlike lru-cache it takes no room for
 * entries that it does not have, and a replay, which makes one for each query, needs it to be quick.
 */
export class RecentMap<V> {
  #bytes = 0;
  readonly #entries = new Map<number, Used<V>>();
  /** Neither oldest nor newest: the end of the ring. */
  readonly #ring: Used<V>;

  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #bytesOf: (value: V) => number;

  /** `bytesOf` is asked when a value is set. */
  constructor(entriesMax: number, bytesMax: number, bytesOf: (value: V) => number) {
    this.#entriesMax = entriesMax;
    this.#bytesMax = bytesMax;
    this.#bytesOf = bytesOf;
    const ring = { key: Number.NaN, value: undefined, bytes: 0 } as unknown as Used<V>;
    ring.older = ring;
    ring.newer = ring;
    this.#ring = ring;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: number): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#use(entry);
    return entry.value;
  }

  /** As get(), but it is no use. */
  peek(key: number): V | undefined {
    return this.#entries.get(key)?.value;
  }

  set(key: number, value: V): void {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= this.#entriesMax) this.#dropOldest();
      const { older } = this.#ring;
      entry = { key, value, bytes: 0, older, newer: this.#ring };
      older.newer = entry;
      this.#ring.older = entry;
      this.#entries.set(key, entry);
    } else {
      this.#use(entry);
      if (entry.value === value) return;
      entry.value = value;
    }
    this.#bytes -= entry.bytes;
    entry.bytes = this.#bytesOf(value);
    this.#bytes += entry.bytes;
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
  }

  delete(key: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    entry.older.newer = entry.newer;
    entry.newer.older = entry.older;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
    this.#ring.older = this.#ring;
    this.#ring.newer = this.#ring;
  }

  /** The newest first. */
  *values(): Generator<V> {
    for (let entry = this.#ring.older; entry !== this.#ring; entry = entry.older) yield entry.value;
  }

  /** The oldest first: set in this order they make the same map. */
  *oldestFirst(): Generator<readonly [number, V]> {
    for (let entry = this.#ring.newer; entry !== this.#ring; entry = entry.newer) yield [entry.key, entry.value];
  }

  #use(entry: Used<V>): void {
    const { older, newer } = entry;
    if (newer === this.#ring) return;
    older.newer = newer;
    newer.older = older;
    entry.older = this.#ring.older;
    entry.newer = this.#ring;
    entry.older.newer = entry;
    this.#ring.older = entry;
  }

  #dropOldest(): void {
    this.delete(this.#ring.newer.key);
  }
}
