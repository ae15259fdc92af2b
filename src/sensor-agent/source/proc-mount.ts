/** Checks for /proc: some containers and chroots have none, or that of other processes. */
import { existsSync } from 'node:fs';

/** What the agent cannot know without /proc, in a sentence; undefined when it is mounted and shows this process. */
export function procMissing(source: string): string | undefined {
  if (existsSync('/proc/self/stat')) return undefined;
  const unseen =
    source === 'procfs'
      ? 'no process is seen'
      : 'arguments and paths of programs, their containers, and what runs already are not seen';
  return `/proc is not mounted: ${unseen} (mount -t proc proc /proc, then restart)`;
}
