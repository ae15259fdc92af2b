/**
 * What datagrams to the port of DNS ask: copies of them, made by probes in the kernel (datagram-points.ts) into a trace
 * instance of its own, whose pages are read into memory only. Each has an entry in the recorded pages, which stands right
 * behind it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KiB, QUERIES_HELD_MAX, QUERY_JOIN_NS_MAX } from '../../../limits.js';
import { STANDING_CONDITIONS } from '../../../subscriptions/pushdown/catalogue.js';
import { kernelFilter } from '../../../subscriptions/pushdown/kernel-filter.js';
import { eventPid, parseFormat } from '../pages/format.js';
import { PageEntries, scanPage, startCursor } from '../pages/page.js';
import type { Disturbance, QueryRecord, SourcePage } from '../source.js';
import { removeInstance } from '../tracefs/instance.js';
import { enabledEvents } from '../tracefs/instance-controls.js';
import { ReadInstance } from '../tracefs/read-instance.js';
import { COPY_BYTES } from './datagram-points.js';
import { readDatagram } from './dns-question.js';

export interface QueryProbeOptions {
  readonly tracefs: string;
  /** Of its instance. */
  readonly name: string;
  /** `group/event` of the copies. */
  readonly copies: readonly string[];
  readonly bufferBytesPerCpu: number;
  /** Trace clock. */
  readonly nowNs: () => bigint;
}

/** The places of what is looked at in an event's payload. */
interface Places {
  readonly packet: number;
  readonly bytes: number;
  readonly length: number;
  readonly beyond: number;
}

interface Drained {
  readonly horizonNs: bigint;
  readonly queries: readonly QueryRecord[];
  /** How full the buffer of copies was, 0 to 1. */
  readonly filled: number;
}

export class QueryProbe {
  readonly #reader: ReadInstance;
  readonly #copies: readonly string[];
  /** By the id of its event. */
  readonly #places = new Map<number, Places>();
  readonly #wanted = new Uint8Array(65_536);
  readonly #entries = new PageEntries();
  /** In the order of their times on each lane. */
  #held: QueryRecord[] = [];
  /** The last horizon that was told. */
  #horizonNs = 0n;
  /** Nothing is copied, and what was is read. */
  #isQuiet = false;
  #stopped = false;

  /** Throws `failed_precondition` where it cannot be made. */
  constructor({ tracefs, name, copies, bufferBytesPerCpu, nowNs }: QueryProbeOptions) {
    // One in which nothing was copied has nothing to take over.
    const left = join(tracefs, 'instances', name);
    if (existsSync(left) && enabledEvents(left).length === 0) removeInstance(left);
    const settings = { name, bufferBytesPerCpu, subBufferBytes: 4 * KiB, events: [], onDemand: copies };
    this.#reader = new ReadInstance(tracefs, settings, 'names asked of DNS', nowNs);
    const { instance } = this.#reader;
    this.#copies = copies;
    for (const event of copies) {
      const format = parseFormat(event, instance.formatText(event));
      const [packet, bytes, length, beyond] = ['packet', 'bytes', 'length', 'beyond'].map(
        (name) => format.field(name)?.offset,
      );
      if (packet === undefined || bytes === undefined || length === undefined || beyond === undefined) continue;
      this.#places.set(format.id, { packet, bytes, length, beyond });
      this.#wanted[format.id] = 1;
      const condition = STANDING_CONDITIONS.get(queryOf(format.name));
      instance.filter(event, condition && kernelFilter([condition], format));
    }
  }

  /** Copies, or no longer, what an event of the recorded ones has an entry of: `group/udp_query`. */
  switch(event: string, on: boolean): void {
    this.#isQuiet = false;
    const { instance } = this.#reader;
    for (const copy of this.#copies)
      if (queryOf(copy) === event.slice(event.indexOf('/') + 1) && instance.enabled.has(copy) !== on)
        instance.switch(copy, on);
  }

  /**
   * How far entries may be told once the pages are read up to `horizonNs`, and what the datagrams up to there asked: an
   * entry comes a moment behind its copy.
   */
  drain(horizonNs: bigint): Drained {
    if (this.#stopped || this.#isQuiet) return { horizonNs, queries: [], filled: 0 };
    let readNs = 0n;
    const horizon = (reachedNs: bigint) => {
      readNs = reachedNs;
    };
    const { empty, filled } = this.#reader.run({ page: (page) => this.#page(page), horizon });
    const untilNs = (readNs < horizonNs ? readNs : horizonNs) - QUERY_JOIN_NS_MAX;
    if (untilNs > this.#horizonNs) this.#horizonNs = untilNs;
    const queries = this.#held.filter(({ timeNs }) => timeNs < this.#horizonNs);
    this.#held = this.#held.filter(({ timeNs }) => timeNs >= this.#horizonNs).slice(-QUERIES_HELD_MAX);
    this.#isQuiet = empty && this.#reader.instance.enabled.size === 0 && this.#held.length === 0;
    return { horizonNs: this.#horizonNs, queries, filled };
  }

  look(nowMs: number): Disturbance | undefined {
    return this.#stopped ? undefined : this.#reader.look(nowMs);
  }

  stopSync(): void {
    this.#stopped = true;
    this.#reader.remove();
  }

  #page({ lane, bytes }: SourcePage): void {
    const entries = this.#entries;
    scanPage(bytes, this.#wanted, startCursor(), entries);
    for (let at = 0; at < entries.count; at += 1) {
      const [offset, length] = [entries.offsets[at]!, entries.lengths[at]!];
      const places = this.#places.get(entries.ids[at]!)!;
      if (length < places.bytes + COPY_BYTES) continue;
      // What is in pieces of its own has no place in the copy, and what stands behind the rest is not the packet's.
      const packetBytes = bytes.readUInt32LE(offset + places.length);
      const linear = Math.max(0, packetBytes - bytes.readUInt32LE(offset + places.beyond));
      const from = offset + places.bytes;
      const datagram = readDatagram(bytes.subarray(from, from + Math.min(COPY_BYTES, linear)), packetBytes);
      // Said to be missed, as its entry has no copy.
      if (datagram?.isCut) continue;
      this.#held.push({
        lane,
        timeNs: entries.timeNs(at),
        pid: eventPid(bytes, offset, length),
        packet: bytes.readBigUInt64LE(offset + places.packet),
        localPort: datagram?.localPort ?? 0,
        question: datagram?.question,
      });
    }
  }
}

/** The name of the recorded event that a copy stands before. */
function queryOf(copy: string): string {
  return copy.slice(copy.indexOf('/') + 1).replace('udp_copy', 'udp_query');
}
