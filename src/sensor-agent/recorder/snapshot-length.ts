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
