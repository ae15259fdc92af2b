/**
 * Carries what a thread of the exec lane read to the agent's main thread
 * without waking it: a ring of bytes in shared memory, one writer, one reader.
 * A message per exec would wake the main thread as often as programs start,
 * and take a core from the programs that are watched.
 *
 *   Ring  := write u32 | read u32 | lost i32 | lostUnknown i32 | data
 *   data  := (length u32 | bytes | padding to 4)*    where length SKIP means: go on at the start
 *   write and read count bytes since the ring was made, modulo 2^32.
 */
import { EXEC_RING_BYTES } from '../../../limits.js';

const WRITE = 0;
const READ = 1;
const LOST = 2;
const LOST_UNKNOWN = 3;
const HEAD_BYTES = 16;
const LENGTH_BYTES = 4;
const SKIP = 0xffffffff;

export interface ExecsLost {
  readonly count: number;
  /** More than `count` were lost; how many is unknown. */
  readonly unknown: boolean;
}

export class ExecRing {
  readonly #head: Int32Array<SharedArrayBuffer>;
  readonly #data: Buffer<SharedArrayBuffer>;

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(HEAD_BYTES + EXEC_RING_BYTES);
  }

  /** `memory` from ExecRing.memory(), the same on both sides. */
  constructor(memory: SharedArrayBuffer) {
    this.#head = new Int32Array(memory, 0, HEAD_BYTES / 4);
    this.#data = Buffer.from(memory, HEAD_BYTES);
  }

  /** The writer's: room for an entry of up to `bytesMax`; undefined until the reader has made some. */
  reserve(bytesMax: number): Buffer<SharedArrayBuffer> | undefined {
    const capacity = this.#data.length;
    const write = Atomics.load(this.#head, WRITE) >>> 0;
    const free = capacity - ((write - Atomics.load(this.#head, READ)) >>> 0);
    const at = write % capacity;
    const needed = LENGTH_BYTES + bytesMax;
    if (capacity - at >= needed) {
      return free < needed ? undefined : this.#data.subarray(at + LENGTH_BYTES, at + needed);
    }
    if (free < capacity - at + needed) return undefined;
    this.#data.writeUInt32LE(SKIP, at);
    Atomics.store(this.#head, WRITE, (write + capacity - at) | 0);
    return this.#data.subarray(LENGTH_BYTES, needed);
  }

  /** The writer's: what reserve() gave holds an entry of `bytes` now. */
  commit(bytes: number): void {
    const write = Atomics.load(this.#head, WRITE) >>> 0;
    this.#data.writeUInt32LE(bytes, write % this.#data.length);
    Atomics.store(this.#head, WRITE, (write + padded(bytes)) | 0);
  }

  /** The writer's: execs that the kernel's buffer had no room for. */
  addLost(count: number, unknown: boolean): void {
    if (count > 0) Atomics.add(this.#head, LOST, count);
    if (unknown) Atomics.store(this.#head, LOST_UNKNOWN, 1);
  }

  /** The reader's: everything that is there, in order. An entry is valid during the call only. */
  drain(take: (entry: Buffer) => void): void {
    const capacity = this.#data.length;
    const write = Atomics.load(this.#head, WRITE) >>> 0;
    for (let read = Atomics.load(this.#head, READ) >>> 0; read !== write; ) {
      const at = read % capacity;
      const length = this.#data.readUInt32LE(at);
      if (length !== SKIP) take(this.#data.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length));
      read = (read + (length === SKIP ? capacity - at : padded(length))) >>> 0;
      Atomics.store(this.#head, READ, read | 0);
    }
  }

  /** The reader's: what was lost since the last call. */
  takeLost(): ExecsLost {
    const count = Atomics.exchange(this.#head, LOST, 0);
    return { count, unknown: Atomics.exchange(this.#head, LOST_UNKNOWN, 0) !== 0 };
  }
}

function padded(bytes: number): number {
  return (LENGTH_BYTES + bytes + 3) & ~3;
}
