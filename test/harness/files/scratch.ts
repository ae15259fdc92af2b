/** Writing and reading logs in tests. */
import { type FileOps, nodeFileOps } from '../../../src/storage/file-ops.js';
import type { SegmentLogItem } from '../../../src/storage/segment-log/log-reader.js';
import type { NewRecord, SegmentLog } from '../../../src/storage/segment-log/segment-log.js';

const DAY_MS = 24 * 3600 * 1000;

/** Bounds that a test does not reach by accident. */
export const ROOMY = { bytesMax: 1 << 28, ageMsMax: 365_000 * DAY_MS } as const;

/** For tests that are not about syncs, and open thousands of logs. */
export const UNSYNCED: FileOps = {
  ...nodeFileOps,
  sync: async () => {},
  syncNow: () => {},
  syncDirectory: async () => {},
  syncDirectoryNow: () => {},
};

export function record(
  text: string | Uint8Array,
  timeNs = 1n,
  options: { kind?: number; anchor?: boolean } = {},
): NewRecord {
  return { kind: options.kind ?? 7, timeNs, anchor: options.anchor ?? false, parts: [Buffer.from(text)] };
}

/** Everything that can be read from an ordinal on, with payloads copied. */
export function readAll(log: SegmentLog, from = log.firstOrdinal): SegmentLogItem[] {
  const reader = log.reader(from);
  const items: SegmentLogItem[] = [];
  for (let item = reader.next(); item; item = reader.next()) {
    items.push(item.kind === 'record' ? { ...item, payload: Buffer.from(item.payload) } : item);
  }
  reader.close();
  return items;
}

export function payloads(items: readonly SegmentLogItem[]): Map<number, string> {
  const found = new Map<number, string>();
  for (const item of items) if (item.kind === 'record') found.set(item.ordinal, item.payload.toString('latin1'));
  return found;
}

/** Items must follow each other without a hole: throws where ordinals are neither served nor stated as gone. */
export function assertContiguous(items: readonly SegmentLogItem[], from: number, to: number): void {
  let next = from;
  for (const item of items) {
    const begin = item.kind === 'record' ? item.ordinal : item.ordinalFrom;
    if (begin !== next)
      throw new Error(`expected ordinal ${next}, got ${JSON.stringify({ ...item, timeNs: undefined })}`);
    next = item.kind === 'record' ? item.ordinal + 1 : item.ordinalTo;
  }
  if (next !== to) throw new Error(`read to ordinal ${next}, expected ${to}`);
}
