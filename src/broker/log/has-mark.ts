/** Whether a log still has what a cursor of it stood behind. */
import type { SegmentLog } from '../../storage/segment-log/segment-log.js';

/** False when the record before the offset has another checksum, or there is none where one should be. */
export function hasMark(log: SegmentLog, offset: number, mark: number): boolean {
  // A removed record cannot be compared; a reader from there reports that it is gone.
  if (offset <= log.firstOrdinal) return true;
  if (offset > log.nextOrdinal) return false;
  const reader = log.reader(offset - 1, () => false);
  try {
    const item = reader.next();
    return item?.kind !== 'record' || item.crc === mark;
  } finally {
    reader.close();
  }
}
