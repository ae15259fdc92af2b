/** Estimates the size of a process's snapshot. */
import type { ProcessSnapshot } from '../source/source.js';

/** Approximate length of a process's snapshot, in characters. */
export function lengthOf({
  args = [],
  executablePath = '',
  workingDirectory = '',
  cgroup = '',
}: ProcessSnapshot): number {
  const texts = executablePath.length + workingDirectory.length + cgroup.length;
  return args.reduce((sum, arg) => sum + arg.length + 4, texts + 128);
}

/** What one record holds at most, but for its last process. */
export const PART_CHARACTERS = 1 << 20;

/** Processes, as many as fit a record each. */
export function* snapshotParts(processes: readonly ProcessSnapshot[]): Generator<readonly ProcessSnapshot[]> {
  let part: ProcessSnapshot[] = [];
  let characters = 0;
  for (const process of processes) {
    part.push(process);
    characters += lengthOf(process);
    if (characters < PART_CHARACTERS) continue;
    yield part;
    part = [];
    characters = 0;
  }
  if (part.length > 0) yield part;
}
