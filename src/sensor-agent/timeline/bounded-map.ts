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
