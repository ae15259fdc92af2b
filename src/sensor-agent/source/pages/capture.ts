/**
 * A capture: a directory with what was read from trace buffers, to be decoded
 * elsewhere. Comes from anywhere, so sizes are checked before memory is spent.
 *
 * Capture := meta.json {"subbufBytes": n} | format/GROUP.EVENT.txt | cpuN.pages.gz
 * Pages   := page*, each padded with zeros to subbufBytes
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { BackplaneError } from '../../../errors.js';
import { CAPTURE_BYTES_MAX, FORMAT_BYTES_MAX, PAGE_BYTES_MAX, PAGE_HEADER_BYTES } from '../../../limits.js';
import { readBoundedFile } from '../../../storage/bounded-file.js';
import { FormatTable } from './format.js';
import { PageEntries, readPageHeader, scanPage, startCursor } from './page.js';

export interface Capture {
  readonly formats: FormatTable;
  readonly lanes: readonly CaptureLane[];
}

export interface CaptureEvent {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly id: number;
  /** The payload stands in `page` at [at, at + length). */
  readonly page: Buffer;
  readonly at: number;
  readonly length: number;
}

/** Reads a capture's description and pages; throws `not_found` or `damaged`, naming the file. */
export function readCapture(dir: string): Capture {
  const names = listed(dir);
  const pageBytes = subBufferBytes(join(dir, 'meta.json'));
  const texts: Record<string, string> = {};
  for (const name of listed(join(dir, 'format'))) {
    const [group, event] = name.split('.');
    if (!name.endsWith('.txt') || event === undefined) continue;
    texts[`${group}/${event}`] = bounded(join(dir, 'format', name), FORMAT_BYTES_MAX).toString();
  }
  const formats = FormatTable.parse(texts);
  const lanes: CaptureLane[] = [];
  for (const name of names) {
    const lane = /^cpu(\d{1,4})\.pages\.gz$/.exec(name)?.[1];
    if (lane !== undefined) lanes.push(new CaptureLane(Number(lane), join(dir, name), pageBytes));
  }
  if (lanes.length === 0) throw new BackplaneError('not_found', `${dir} must hold cpuN.pages.gz files, has none`);
  return { formats, lanes: lanes.sort((a, b) => a.lane - b.lane) };
}

/** One CPU's pages. */
export class CaptureLane {
  /** Events that the kernel lost, by the pages gone over so far. */
  lost = 0;
  lostUnknown = false;
  readonly #pages: Buffer;

  constructor(
    readonly lane: number,
    readonly path: string,
    readonly pageBytes: number,
  ) {
    this.#pages = gunzip(path);
    if (this.#pages.length % pageBytes !== 0) {
      throw new BackplaneError(
        'damaged',
        `${path} must hold whole pages of ${pageBytes} bytes, got ${this.#pages.length}`,
      );
    }
  }

  /** All events in order; throws `damaged` at a page that breaks its grammar. */
  *events(): Generator<CaptureEvent> {
    const all = new Uint8Array(65_536).fill(1);
    const entries = new PageEntries();
    const cursor = startCursor();
    for (let start = 0; start < this.#pages.length; start += this.pageBytes) {
      const page = this.#pages.subarray(start, start + this.pageBytes);
      const header = readPageHeader(page);
      this.lost += header.lost;
      this.lostUnknown ||= header.lostUnknown;
      scanPage(page, all, cursor, entries);
      for (let i = 0; i < entries.count; i++) {
        const { offsets, lengths, ids } = entries;
        const place = { page, at: offsets[i]!, length: lengths[i]! };
        yield { lane: this.lane, timeNs: entries.timeNs(i), id: ids[i]!, ...place };
      }
      if (entries.malformed) {
        throw new BackplaneError('damaged', `${this.path} page ${start / this.pageBytes} is not a ring-buffer page`);
      }
    }
  }
}

/** The events of all lanes by time, then by lane. */
export function* mergeEvents(lanes: readonly CaptureLane[]): Generator<CaptureEvent> {
  const heads = lanes.map((lane) => {
    const events = lane.events();
    return { events, head: events.next() };
  });
  for (;;) {
    let first: (typeof heads)[number] | undefined;
    for (const candidate of heads) {
      if (candidate.head.done) continue;
      if (first === undefined || candidate.head.value.timeNs < first.head.value.timeNs) first = candidate;
    }
    if (first === undefined) return;
    yield first.head.value;
    first.head = first.events.next();
  }
}

function subBufferBytes(path: string): number {
  let meta: unknown;
  try {
    meta = JSON.parse(bounded(path, FORMAT_BYTES_MAX).toString());
  } catch (cause) {
    if (cause instanceof BackplaneError) throw cause;
    throw new BackplaneError('damaged', `${path} must be JSON, got ${(cause as Error).message.split('\n')[0]}`);
  }
  const bytes = (meta as { subbufBytes?: unknown } | null)?.subbufBytes;
  const fits = typeof bytes === 'number' && bytes > PAGE_HEADER_BYTES && bytes <= PAGE_BYTES_MAX && bytes % 4 === 0;
  if (fits) return bytes;
  throw new BackplaneError('damaged', `subbufBytes of ${path} must be 20 to ${PAGE_BYTES_MAX}, got ${bytes}`);
}

function gunzip(path: string): Buffer {
  const packed = bounded(path, CAPTURE_BYTES_MAX);
  try {
    return gunzipSync(packed, { maxOutputLength: CAPTURE_BYTES_MAX });
  } catch (cause) {
    throw new BackplaneError(
      'damaged',
      `${path} must be gzip of at most ${CAPTURE_BYTES_MAX} bytes: ${(cause as Error).message}`,
    );
  }
}

function listed(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (cause) {
    throw new BackplaneError('not_found', `${dir} must be a capture's directory: ${problem(cause)}`);
  }
}

function bounded(path: string, bytesMax: number): Buffer {
  try {
    return readBoundedFile(path, bytesMax);
  } catch (cause) {
    if (cause instanceof BackplaneError) throw new BackplaneError('damaged', cause.message);
    throw new BackplaneError('not_found', `${path} must be readable: ${problem(cause)}`);
  }
}

function problem(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'ENOTDIR') return 'it is not a directory';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not read it';
  return message;
}
