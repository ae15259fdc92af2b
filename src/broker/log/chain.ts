/**
 * How the frames of one node and topic follow each other: the rule by which every reader of a log takes them.
 *
 *   (from, to] after all up to `covered`:   to <= covered        duplicate: passed over
 *                                           from < covered < to  overlap: what is new of it counts
 *                                           from > covered       hole, where the frame says that it continues: frames
 *                                                                that the log had are missing; else interest began anew
 *                                           else                 next
 */
import type { Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';

export type Follows = 'next' | 'duplicate' | 'overlap' | 'hole';

/** @param covered up to where the frames before it reach; undefined: nothing is known of them */
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
