/**
 * Writes ring-buffer pages as the kernel does (the grammar stands in
 * source/pages/page.ts), for sources that have no kernel buffer to read.
 */
import { BackplaneError } from '../../../errors.js';
import { PAGE_BYTES_MAX, PAGE_HEADER_BYTES } from '../../../limits.js';
import type { FieldValue } from '../pages/decoder.js';
import type { TraceField } from '../pages/field.js';
import type { EventFormat } from '../pages/format.js';

export interface NewEntry {
  readonly format: EventFormat;
  readonly timeNs: bigint;
  /** common_pid. */
  readonly pid: number;
  /** common_flags: 0x08 hardirq, 0x10 softirq. */
  readonly flags?: number;
  /** By field name; those left out are zero. */
  readonly values: Readonly<Record<string, FieldValue>>;
}

/** Entries with up to 28 words of payload need no length word. */
const SHORT_BYTES = 28 * 4;
const DELTA_BITS = 27n;
const DELTA_MAX = (1n << DELTA_BITS) - 1n;

interface Layout {
  /** Size of the fixed part, like the kernel's struct: rounded up to its widest member. */
  readonly fixedBytes: number;
  /** Fields whose values lie behind it. */
  readonly variable: readonly TraceField[];
  readonly fixed: readonly TraceField[];
}

/** The pages of one lane, one after another. */
export class PageWriter {
  readonly #page: Buffer;
  #at = PAGE_HEADER_BYTES;
  #lastNs = 0n;
  readonly #layouts = new Map<EventFormat, Layout>();

  /** `pageBytes`: length of a full page, header included, 256 to PAGE_BYTES_MAX. */
  constructor(pageBytes: number) {
    if (!(pageBytes >= 256 && pageBytes <= PAGE_BYTES_MAX && pageBytes % 4 === 0)) {
      throw new BackplaneError('invalid_argument', `pageBytes must be 256 to ${PAGE_BYTES_MAX}, got ${pageBytes}`);
    }
    this.#page = Buffer.alloc(pageBytes);
  }

  /**
   * Adds an entry; false when the page has no room for it (take() it first).
   * A time before the lane's last entry becomes that entry's. Throws
   * `invalid_argument` for an entry that no page could hold.
   */
  append(entry: NewEntry): boolean {
    const payloadBytes = this.#payloadBytes(entry);
    const first = this.#at === PAGE_HEADER_BYTES;
    const timeNs = latest(entry.timeNs, this.#lastNs);
    const delta = first ? 0n : timeNs - this.#lastNs;
    const entryBytes = (delta > DELTA_MAX ? 8 : 0) + (payloadBytes > SHORT_BYTES ? 8 : 4) + payloadBytes;
    if (this.#at + entryBytes > this.#page.length) {
      if (!first) return false;
      throw new BackplaneError(
        'invalid_argument',
        `an entry must fit a page of ${this.#page.length} bytes, got ${entryBytes}`,
      );
    }
    if (first) this.#page.writeBigUInt64LE(timeNs, 0);
    this.#header(delta, payloadBytes);
    this.#payload(entry, payloadBytes);
    this.#lastNs = timeNs;
    return true;
  }

  /** The page so far, valid until the next append; undefined when nothing was added. */
  take(): Buffer | undefined {
    if (this.#at === PAGE_HEADER_BYTES) return undefined;
    this.#page.writeBigUInt64LE(BigInt(this.#at - PAGE_HEADER_BYTES), 8);
    const page = this.#page.subarray(0, this.#at);
    this.#at = PAGE_HEADER_BYTES;
    return page;
  }

  #header(delta: bigint, payloadBytes: number): void {
    let rest = delta;
    if (delta > DELTA_MAX) {
      this.#word((Number(delta & DELTA_MAX) << 5) | 30);
      this.#word(Number(delta >> DELTA_BITS));
      rest = 0n;
    }
    const type = payloadBytes > SHORT_BYTES ? 0 : payloadBytes >>> 2;
    this.#word((Number(rest) << 5) | type);
    // The length word counts itself.
    if (type === 0) this.#word(payloadBytes + 4);
  }

  #word(value: number): void {
    this.#page.writeUInt32LE(value >>> 0, this.#at);
    this.#at += 4;
  }

  #payloadBytes({ format, values }: NewEntry): number {
    const { fixedBytes, variable } = this.#layout(format);
    let bytes = fixedBytes;
    for (const field of variable) bytes += variableBytes(field, values[field.name]);
    return (bytes + 3) & ~3;
  }

  #layout(format: EventFormat): Layout {
    const known = this.#layouts.get(format);
    if (known !== undefined) return known;
    const end = format.fields.reduce((most, field) => Math.max(most, field.offset + field.sizeBytes), 8);
    const align = format.fields.reduce((most, field) => Math.max(most, field.elementBytes), 4);
    const isVariable = ({ kind }: TraceField) => kind === 'loc-string' || kind === 'loc-bytes';
    const layout = {
      fixedBytes: Math.ceil(end / align) * align,
      variable: format.fields.filter(isVariable),
      fixed: format.fields.filter((field) => !isVariable(field)),
    };
    this.#layouts.set(format, layout);
    return layout;
  }

  #payload({ format, pid, flags = 0, values }: NewEntry, payloadBytes: number): void {
    const page = this.#page;
    const start = this.#at;
    this.#at += payloadBytes;
    page.fill(0, start, this.#at);
    page.writeUInt16LE(format.id, start);
    page[start + 2] = flags;
    page.writeInt32LE(pid, start + 4);
    const { fixedBytes, fixed, variable } = this.#layout(format);
    for (const field of fixed) {
      const value = values[field.name];
      if (value !== undefined) writeFixed(page, start, field, value);
    }
    let tail = fixedBytes;
    for (const field of variable) {
      const value = values[field.name];
      if (value === undefined) continue;
      const bytes = variableBytes(field, value);
      if (typeof value === 'string') page.write(value, start + tail);
      else page.set(value as readonly number[], start + tail);
      const from = field.relative ? tail - field.offset - 4 : tail;
      page.writeUInt32LE(((bytes << 16) | from) >>> 0, start + field.offset);
      tail += bytes;
    }
  }
}

function latest(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

/** Bytes that a `__data_loc` value takes behind the fixed part: strings with their NUL. */
function variableBytes(field: TraceField, value: FieldValue | undefined): number {
  if (field.kind === 'loc-string') return value === undefined ? 0 : Buffer.byteLength(value as string) + 1;
  return field.kind === 'loc-bytes' && value !== undefined ? (value as readonly number[]).length : 0;
}

function writeFixed(page: Buffer, start: number, field: TraceField, value: FieldValue): void {
  const at = start + field.offset;
  if (typeof value === 'string') {
    // The last byte stays NUL.
    page.write(value, at, field.sizeBytes - 1);
  } else if (Array.isArray(value)) {
    const count = Math.min(value.length, field.sizeBytes / field.elementBytes);
    for (let i = 0; i < count; i++) writeInteger(page, field, at + i * field.elementBytes, value[i]!);
  } else {
    writeInteger(page, field, at, typeof value === 'boolean' ? Number(value) : (value as number | bigint));
  }
}

function writeInteger(page: Buffer, field: TraceField, at: number, value: number | bigint): void {
  switch (field.elementBytes) {
    case 1:
      page[at] = Number(value);
      break;
    case 2:
      page.writeUInt16LE(Number(value) & 0xffff, at);
      break;
    case 4:
      page.writeUInt32LE(Number(value) >>> 0, at);
      break;
    default:
      page.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
  }
}
