/**
 * Reads the pages of all CPUs without blocking, on the agent's timer. Pages go
 * to the sink one by one in one reused buffer. A drain ends a lane at an empty
 * read, or at a page *after the first* that is less than half full: reading on
 * would chase the writer page by page. (The first may be short because it is
 * the remainder of a page half read before, with full ones behind it.)
 *
 * The kernel stores how many events it overwrote behind a page's data, but only
 * where there is room: about one lossy page in ten has none. From then on that
 * lane's losses come from its statistics, so that their sum stays exact.
 *
 * A page whose time runs backwards, or lies ahead of the clock, was written by
 * another clock, which somebody has set: what is in it cannot be placed. A drain
 * may be held up for seconds (others have the CPU, the process was stopped), so
 * that what it reads then is ahead of the time at which it began, and after a
 * suspend the clock itself is behind: both are looked at again before a page is
 * left out. What is left out, or breaks the grammar of pages, is stated as a
 * loss of unknown size.
 */
import { closeSync } from 'node:fs';
import { DRAIN_BYTES_MAX, DRAIN_MS_MAX, PAGE_AHEAD_NS_MAX, PAGE_HEADER_BYTES } from '../../../limits.js';
import { PageEntries, type PageHeader, readPageHeader, scanPage, startCursor } from '../pages/page.js';
import { readPage } from '../pages/page-read.js';
import type { DrainResult, SourcePage, SourceSink } from '../source.js';
import { CommitSlack } from './commit-slack.js';

/** Pages read from one lane before the next has its turn. */
const TURN_PAGES = 16;
const NOTHING = new Uint8Array(65_536);

export interface DrainedBuffers {
  readonly pageBytes: number;
  /** Of one lane, all of its pages. */
  readonly bufferBytes: number;
  /** Trace clock. */
  readonly nowNs: () => bigint;
  /** The same, with time that was spent suspended taken into account; by default nowNs. */
  readonly renewedNs?: () => bigint;
  /** Events that a lane's buffer has overwritten so far; undefined when some of them were told by another reader. */
  readonly overrun: (lane: number) => number | undefined;
}

/** Who takes what is read. */
export type PageSink = Pick<SourceSink, 'page' | 'horizon'>;

interface Lane {
  readonly lane: number;
  readonly fd: number;
  /** No event below it will come from this lane. */
  horizonNs: bigint;
  /** Losses told so far. */
  lost: number;
  /** Whether a page had no room for its count: later counts overlap with the losses that were told instead. */
  uncounted: boolean;
  /** Time of the last page. */
  baseNs: bigint;
  /** The state of the running drain. */
  pages: number;
  bytes: number;
  ended: boolean;
}

export class PageDrain {
  readonly #lanes: Lane[];
  readonly #buffer: Buffer;
  readonly #entries = new PageEntries();
  readonly #slack = new CommitSlack();
  #firstLane = 0;
  /** The last horizon that was told. */
  #horizonNs = 0n;
  /** Pages whose grammar is broken or whose length makes no sense, so far. */
  malformedPages = 0;
  /** Entries of all pages that were read, of every type. */
  entriesRead = 0;
  /** Pages that another clock wrote, so far. */
  misplacedPages = 0;

  readonly #buffers: DrainedBuffers;

  /** Takes over the descriptors (non-blocking), by lane. */
  constructor(descriptors: ReadonlyMap<number, number>, buffers: DrainedBuffers) {
    this.#buffers = buffers;
    this.#lanes = [...descriptors].map(([lane, fd]) => {
      return { lane, fd, horizonNs: 0n, lost: 0, uncounted: false, baseNs: 0n, pages: 0, bytes: 0, ended: false };
    });
    this.#buffer = Buffer.allocUnsafeSlow(buffers.pageBytes);
  }

  run(sink: PageSink): DrainResult {
    const nowNs = this.#buffers.nowNs();
    const beganNs = nowNs - this.#slack.at(nowNs);
    const deadline = performance.now() + DRAIN_MS_MAX;
    for (const lane of this.#lanes) {
      lane.pages = 0;
      lane.bytes = 0;
      lane.ended = false;
    }
    let bytes = 0;
    let open = this.#lanes.length;
    while (open > 0 && bytes < DRAIN_BYTES_MAX && performance.now() < deadline) {
      open = 0;
      for (let i = 0; i < this.#lanes.length; i++) {
        const lane = this.#lanes[(this.#firstLane + i) % this.#lanes.length]!;
        if (lane.ended) continue;
        const turn = this.#turn(lane, sink, beganNs);
        lane.bytes += turn;
        bytes += turn;
        if (!lane.ended) open++;
      }
    }
    // Lanes take turns at being first, as the first gets most of a budget that runs out.
    if (open > 0) this.#firstLane = (this.#firstLane + 1) % this.#lanes.length;
    this.#horizonNs = this.#horizon();
    sink.horizon(this.#horizonNs);
    let [pages, fullest] = [0, 0];
    for (const lane of this.#lanes) {
      pages += lane.pages;
      fullest = Math.max(fullest, lane.bytes);
    }
    return { pages, bytes, empty: open === 0, filled: fullest / this.#buffers.bufferBytes };
  }

  /** Called when the buffers were emptied, as the kernel's counts begin anew. */
  restarted(): void {
    for (const lane of this.#lanes) {
      lane.lost = 0;
      lane.uncounted = false;
    }
  }

  close(): void {
    for (const lane of this.#lanes) closeSync(lane.fd);
    this.#lanes.length = 0;
  }

  /** Up to TURN_PAGES pages of one lane; returns their bytes. */
  #turn(lane: Lane, sink: PageSink, beganNs: bigint): number {
    let bytes = 0;
    let reachedNs = 0n;
    for (let turn = 0; turn < TURN_PAGES && !lane.ended; turn++) {
      const length = readPage(lane.fd, this.#buffer);
      if (length === 0) {
        lane.ended = true;
        if (beganNs > lane.horizonNs) lane.horizonNs = beganNs;
        return bytes;
      }
      const page = this.#trimmed(lane, length);
      if (page === undefined) continue;
      if (page === 'malformed' || !this.#placed(lane, page.bytes, beganNs)) {
        sink.page(lostPage(lane, beganNs, page === 'malformed' ? 0 : page.lost));
        continue;
      }
      if (lane.pages === 0) this.#review();
      reachedNs = this.#entries.lastTimeNs;
      sink.page(this.#entries.malformed ? { ...page, lostUnknown: true } : page);
      bytes += page.bytes.length;
      lane.ended = lane.pages > 0 && page.bytes.length < this.#buffers.pageBytes / 2;
      lane.pages++;
    }
    // A lane that did not end on an empty read is known up to its last event.
    if (reachedNs > lane.horizonNs) lane.horizonNs = reachedNs;
    return bytes;
  }

  /** Undefined for a page without anything. */
  #trimmed(lane: Lane, length: number): SourcePage | 'malformed' | undefined {
    const page = this.#buffer.subarray(0, length);
    if (length < PAGE_HEADER_BYTES) return this.#malformed();
    const header = readPageHeader(page);
    const { dataBytes } = header;
    if (PAGE_HEADER_BYTES + dataBytes > length) return this.#malformed();
    const { lost, lostUnknown } = this.#losses(lane, header);
    if (dataBytes === 0 && lost === 0 && !lostUnknown) return undefined;
    return { lane: lane.lane, bytes: page.subarray(0, PAGE_HEADER_BYTES + dataBytes), lost, lostUnknown };
  }

  #losses(lane: Lane, { lost, lostUnknown }: PageHeader): { lost: number; lostUnknown: boolean } {
    lane.uncounted ||= lostUnknown;
    const overrun = lane.uncounted && (lost > 0 || lostUnknown) ? this.#buffers.overrun(lane.lane) : undefined;
    if (overrun === undefined) {
      lane.lost += lost;
      return { lost, lostUnknown };
    }
    // Losses since the kernel prepared the page are told with it; the next page states only the rest.
    const untold = Math.max(0, overrun - lane.lost);
    lane.lost += untold;
    return { lost: untold, lostUnknown: false };
  }

  #malformed(): 'malformed' {
    this.malformedPages++;
    return 'malformed';
  }

  /** Checks a page's times; false when another clock wrote it. */
  #placed(lane: Lane, page: Buffer, beganNs: bigint): boolean {
    scanPage(page, NOTHING, startCursor(), this.#entries);
    const { entries, baseTimeNs, lastTimeNs, malformed } = this.#entries;
    this.entriesRead += entries;
    const reachedNs = entries > 0 ? lastTimeNs : baseTimeNs;
    if (baseTimeNs < lane.baseNs || (reachedNs > beganNs + PAGE_AHEAD_NS_MAX && this.#isAhead(reachedNs))) {
      this.misplacedPages++;
      return false;
    }
    if (malformed) this.malformedPages++;
    lane.baseNs = baseTimeNs;
    return true;
  }

  /** Of a page that was just read. */
  #isAhead(reachedNs: bigint): boolean {
    const { nowNs, renewedNs } = this.#buffers;
    if (reachedNs <= nowNs() + PAGE_AHEAD_NS_MAX) return false;
    return renewedNs === undefined || reachedNs > renewedNs() + PAGE_AHEAD_NS_MAX;
  }

  /** Notes late entries: entries are in order, so the first one of a drain shows whether any was late. */
  #review(): void {
    const { entries, firstTimeNs } = this.#entries;
    if (entries > 0 && firstTimeNs < this.#horizonNs)
      this.#slack.exceeded(this.#horizonNs - firstTimeNs, this.#buffers.nowNs());
  }

  #horizon(): bigint {
    let lowest = this.#lanes[0]?.horizonNs ?? 0n;
    for (const lane of this.#lanes) if (lane.horizonNs < lowest) lowest = lane.horizonNs;
    return lowest;
  }
}

/** States that an unknown number of a lane's entries were lost, beside those that the kernel counts: a page without any. */
function lostPage({ lane, baseNs }: Lane, beganNs: bigint, lost: number): SourcePage {
  const bytes = Buffer.alloc(PAGE_HEADER_BYTES);
  bytes.writeBigUInt64LE(beganNs > baseNs ? beganNs : baseNs);
  return { lane, bytes, lost, lostUnknown: true };
}
