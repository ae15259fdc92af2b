/**
 * How the frames of one node and topic follow each other. Every reader of a log applies this rule.
 *
 *   (from, to] after all up to `covered`:   to <= covered        duplicate: it is passed over
 *                                           from < covered < to  overlap: only its new part counts
 *                                           from > covered       hole if the frame says that it continues: frames that
 *                                                                the log had are missing; else next, as interest in
 *                                                                the topic began anew
 *                                           else                 next
 */
import type { Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';

export type Follows = 'next' | 'duplicate' | 'overlap' | 'hole';

/** @param covered position up to which the frames before it reach; undefined if unknown */
export function follows(
  { coveredFrom, coveredTo, continues }: Pick<Frame, 'coveredFrom' | 'coveredTo' | 'continues'>,
  covered: Position | undefined,
): Follows {
  if (covered === undefined) return 'next';
  if (comparePositions(coveredTo, covered) <= 0) return 'duplicate';
  const apart = comparePositions(coveredFrom, covered);
  if (apart < 0) return 'overlap';
  return apart > 0 && continues ? 'hole' : 'next';
}
