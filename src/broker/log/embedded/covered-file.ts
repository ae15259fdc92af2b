/**
 * How far the frames of each node reach that anybody was told of, in the file `covered` beside the segments. Only a node's
 * last frame says how far it reaches. Where that cannot be read any more the node would send it again, and those who have
 * had it would get it twice; as it is, the frame is a hole in the log, as one that others follow: who has not had it gets
 * its events from the recorder.
 *
 *   Covered := Slot*, one per node
 *   Slot    := magic "BPCOVER1" | identity u64 | name length u8 | name | count u8
 *              | (kind u8 | epoch u64 | timeNs u64 | lane u16 | tie u32)* | zeros | crc32 u32        512 bytes in all
 *
 * A slot is as long as a sector, and overwritten in place. It is written when its frame is as durable as the log promises, and
 * is not synced: a power cut may leave an earlier one or, of a log that is not synced at once either, a later one. So slots
 * count only where the log itself cannot be read.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { NAME_BYTES_MAX, NODES_PER_PARTITION_MAX } from '../../../limits.js';
import { type FileOps, readSmallFile, systemErrorCode, writeAll } from '../../../storage/file-ops.js';
import { isSealed, seal } from '../../../storage/segment-log/seal.js';
import type { Position } from '../../../wire/position.js';
import { frameKind, TOPIC_ORDER, topicOfKind } from './log-record.js';

const MAGIC = Buffer.from('BPCOVER1', 'latin1');
const SLOT_BYTES = 512;
const NAME_AT = 16;
const POSITION_BYTES = 23;
const SUM_BYTES = 4;
assert(NAME_AT + 1 + NAME_BYTES_MAX + 1 + TOPIC_ORDER.length * POSITION_BYTES + SUM_BYTES <= SLOT_BYTES);

type Slot = readonly [node: string, byTopic: ReadonlyMap<string, Position>];

export class CoveredFile {
  readonly #files: FileOps;
  readonly #path: string;
  readonly #identity: bigint;
  /** By node, the index of its slot; the node that was written longest ago is first, and loses its slot over the bound. */
  readonly #slots = new Map<string, number>();
  /** Slots that nobody has: what they said cannot be read. */
  readonly #free: number[] = [];
  readonly #buffer = Buffer.alloc(SLOT_BYTES);
  #fd: number | undefined;
  #isClosed = false;

  /** @param identity of the segment log, 16 hex digits: a file of another log says nothing */
  constructor(files: FileOps, dir: string, identity: string) {
    this.#files = files;
    this.#path = join(dir, 'covered');
    this.#identity = BigInt(`0x${identity}`);
  }

  /** By node. Call this once, before write(). Slots that cannot be used are left out. */
  read(): ReadonlyMap<string, ReadonlyMap<string, Position>> {
    const bytes = readSmallFile(this.#files, this.#path, NODES_PER_PARTITION_MAX * SLOT_BYTES);
    const slots = new Map<string, ReadonlyMap<string, Position>>();
    if (bytes === undefined) return slots;
    for (let at = 0; (at + 1) * SLOT_BYTES <= bytes.length; at++) {
      const slot = this.#decode(bytes.subarray(at * SLOT_BYTES, (at + 1) * SLOT_BYTES));
      if (slot === undefined || slots.has(slot[0])) {
        this.#free.push(at);
        continue;
      }
      this.#slots.set(slot[0], at);
      slots.set(...slot);
    }
    return slots;
  }

  /** A write that fails is ignored: the file then says less than is true. */
  write(node: string, byTopic: ReadonlyMap<string, Position>): void {
    if (this.#isClosed) return;
    try {
      this.#fd ??= this.#open();
      writeAll(this.#files, this.#fd, [this.#encode(node, byTopic)], SLOT_BYTES, this.#slotOf(node) * SLOT_BYTES);
    } catch (cause) {
      if (systemErrorCode(cause) === undefined) throw cause;
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#fd !== undefined) this.#files.close(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    try {
      return this.#files.open(this.#path, 'r+');
    } catch (cause) {
      if (systemErrorCode(cause) !== 'ENOENT') throw cause;
      return this.#files.open(this.#path, 'w+');
    }
  }

  #slotOf(node: string): number {
    const at = this.#slots.get(node) ?? this.#free.pop() ?? this.#nextSlot();
    this.#slots.delete(node);
    this.#slots.set(node, at);
    return at;
  }

  #nextSlot(): number {
    if (this.#slots.size < NODES_PER_PARTITION_MAX) return this.#slots.size;
    const [silent, at] = this.#slots.entries().next().value!;
    this.#slots.delete(silent);
    return at;
  }

  #encode(node: string, byTopic: ReadonlyMap<string, Position>): Buffer {
    const bytes = this.#buffer.fill(0);
    bytes.writeBigUInt64LE(this.#identity, MAGIC.length);
    let at = bytes.writeUInt8(Buffer.byteLength(node), NAME_AT);
    at += bytes.write(node, at);
    at = bytes.writeUInt8(byTopic.size, at);
    for (const [topic, { epoch, timeNs, lane, tie }] of byTopic) {
      at = bytes.writeUInt8(frameKind(topic), at);
      at = bytes.writeBigUInt64LE(BigInt(epoch), at);
      at = bytes.writeBigUInt64LE(timeNs, at);
      at = bytes.writeUInt16LE(lane, at);
      at = bytes.writeUInt32LE(tie, at);
    }
    return seal(bytes, MAGIC);
  }

  #decode(bytes: Buffer): Slot | undefined {
    if (!isSealed(bytes, MAGIC) || bytes.readBigUInt64LE(MAGIC.length) !== this.#identity) return undefined;
    const nameEnd = NAME_AT + 1 + bytes[NAME_AT]!;
    const byTopic = new Map<string, Position>();
    for (let count = bytes[nameEnd]!, at = nameEnd + 1; count > 0; count--, at += POSITION_BYTES) {
      const topic = topicOfKind(bytes[at]!);
      // A later version may know more topics.
      if (topic === undefined) continue;
      byTopic.set(topic, {
        epoch: Number(bytes.readBigUInt64LE(at + 1)),
        timeNs: bytes.readBigUInt64LE(at + 9),
        lane: bytes.readUInt16LE(at + 17),
        tie: bytes.readUInt32LE(at + 19),
      });
    }
    return [bytes.toString('utf8', NAME_AT + 1, nameEnd), byTopic];
  }
}
