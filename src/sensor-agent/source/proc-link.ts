/** Links in /proc/PID, as `exe` and `cwd`. Loaded by the exec lane's workers: imports as little as it can. */
import { readlinkSync, statSync } from 'node:fs';

const DELETED = Buffer.from(' (deleted)');
const AS_BYTES = { encoding: 'buffer' } as const;
const MAY_BE_GONE = { throwIfNoEntry: false } as const;

export interface ProcLink {
  /** Without the mark that the kernel puts behind what was removed. */
  readonly target: Buffer;
  readonly deleted: boolean;
}

/**
 * Where a link leads. A file may have the kernel's mark as its name: it is a mark only where nothing in a directory
 * leads to the file any more.
 */
export function readProcLink(path: string): ProcLink | undefined {
  let target: Buffer;
  try {
    target = readlinkSync(path, AS_BYTES);
  } catch {
    return undefined;
  }
  const end = target.length - DELETED.length;
  const deleted = end >= 0 && target.subarray(end).equals(DELETED) && linksTo(path) === 0;
  return { target: deleted ? target.subarray(0, end) : target, deleted };
}

function linksTo(path: string): number {
  try {
    return statSync(path, MAY_BE_GONE)?.nlink ?? 0;
  } catch {
    return 0;
  }
}
