/**
 * A first-in, first-out queue bounded in bytes that names what happens when it
 * is full.
 */

export type FullPolicy =
  /** push() returns false and the item is not taken: the caller waits or gives up. */
  | 'refuse'
  /** The oldest items go, counted in `shed`, until the new one fits. */
  | 'shed-oldest';

export interface BoundedQueueOptions<T> {
  readonly bytesMax: number;
  readonly onFull: FullPolicy;
  readonly sizeOf: (item: T) => number;
}

export class BoundedQueue<T> {
  /** Items dropped by 'shed-oldest' since the start. */
  shed = 0;
  bytes = 0;
  private items: { readonly item: T; readonly size: number }[] = [];
  private head = 0;

  constructor(private readonly options: BoundedQueueOptions<T>) {}

  get length(): number {
    return this.items.length - this.head;
  }

  /** False when the item was not taken: the queue is full, or the item alone exceeds its bound. */
  push(item: T): boolean {
    const { bytesMax, onFull, sizeOf } = this.options;
    const size = sizeOf(item);
    if (size > bytesMax) return false;
    if (this.bytes + size > bytesMax && onFull === 'refuse') return false;
    while (this.bytes + size > bytesMax) {
      this.shift();
      this.shed++;
    }
    this.items.push({ item, size });
    this.bytes += size;
    return true;
  }

  peek(): T | undefined {
    return this.items[this.head]?.item;
  }

  shift(): T | undefined {
    const entry = this.items[this.head];
    if (entry === undefined) return undefined;
    this.bytes -= entry.size;
    this.head++;
    // Dropped in blocks, so that a long queue is not moved at every shift.
    if (this.head >= 64 && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return entry.item;
  }

  clear(): void {
    this.items = [];
    this.head = 0;
    this.bytes = 0;
  }
}
