/** Links in /proc/PID, as `exe` and `cwd`. Loaded by the exec lane's workers: imports as little as it can. */
import { readlinkSync, statSync } from 'node:fs';

const DELETED = Buffer.from(' (deleted)');
const AS_BYTES = { encoding: 'buffer' } as const;
const MAY_BE_GONE = { throwIfNoEntry: false } as const;

/**
 * Where a link leads, without the mark that the kernel puts behind what was removed. A file may have that as its name:
 * it is a mark only where nothing in a directory leads to the file any more.
 */
export function linkTarget(path: string): Buffer | undefined {
  let target: Buffer;
  try {
    target = readlinkSync(path, AS_BYTES);
  } catch {
    return undefined;
  }
  const end = target.length - DELETED.length;
  if (end < 0 || !target.subarray(end).equals(DELETED)) return target;
  return linksTo(path) > 0 ? target : target.subarray(0, end);
}

function linksTo(path: string): number {
  try {
    return statSync(path, MAY_BE_GONE)?.nlink ?? 0;
  } catch {
    return 0;
  }
}
