/** How large a process's snapshot is. */
import type { ProcessSnapshot } from '../source/source.js';

/** What a snapshot of a process takes, about. */
export function lengthOf({
  args = [],
  executablePath = '',
  workingDirectory = '',
  cgroup = '',
}: ProcessSnapshot): number {
  const texts = executablePath.length + workingDirectory.length + cgroup.length;
  return args.reduce((sum, arg) => sum + arg.length + 4, texts + 128);
}
