/** How far nodes reach before a sequence of a partition's stream, by a scan from a checkpoint on. */
import type { NatsLink } from '../../nats/nats-link.js';
import type { CoveredPositions } from '../covered-positions.js';
import { CoversBefore } from '../covers-before.js';
import type { Snapshot } from '../partition-log.js';
import type { Standing } from './checkpoint.js';
import { coverOf } from './partition-fold.js';
import { scanStream } from './scan.js';
import type { PartitionSubjects } from './subjects.js';

export interface ScannedStream {
  readonly link: NatsLink;
  readonly stream: string;
  readonly subjects: PartitionSubjects;
}

/**
 * Rejects with unavailable where the stream cannot be read, cursor_expired where too much of it is missing to say.
 * @param standing what holds before the scan
 * @param end what holds now
 * @param where the sequence, in words
 */
export async function scannedCovers(
  scanned: ScannedStream,
  { before: from, covered }: Standing,
  sequence: number,
  end: Snapshot,
  where: string,
): Promise<CoveredPositions> {
  const before = new CoversBefore(covered);
  await scanCovers(scanned, from, sequence, before);
  const doubts = before.doubts(end.covered, where);
  if (doubts === undefined) return before.covered;
  await scanCovers(scanned, sequence, end.offset, doubts);
  doubts.settle(end.covered);
  return before.covered;
}

/** Tells what the frames of a stretch cover, and what of it is missing. */
async function scanCovers(
  { link, stream, subjects }: ScannedStream,
  from: number,
  to: number,
  listener: Pick<CoversBefore, 'take' | 'lost'>,
): Promise<void> {
  let due = from;
  await scanStream(link, { stream, from, to, headersOnly: true }, ({ sequence, subject, headers }) => {
    if (sequence > due) listener.lost(due);
    due = sequence + 1;
    const read = subjects.read(subject);
    if (read.kind !== 'frame') return;
    const cover = coverOf(headers);
    if (cover === undefined) listener.lost(sequence);
    else listener.take(read.node, { topic: read.topic, ...cover });
  });
  if (due < to) listener.lost(due);
}
