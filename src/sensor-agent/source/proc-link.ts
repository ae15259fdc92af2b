/** Links in /proc/PID: of the program, the working directory, and descriptors. Loaded by the exec lane's workers: imports as little as it can. */
import { fstatSync, readlinkSync } from 'node:fs';
import { atLink, type LinkName } from './places.js';

const DELETED = Buffer.from(' (deleted)');
const AS_BYTES = { encoding: 'buffer' } as const;

export interface ProcLink {
  /** Without the mark that the kernel puts behind what was removed. */
  readonly target: Buffer;
  readonly deleted: boolean;
}

/**
 * Where a link leads. A file may have the kernel's mark as its name: it is a mark only where nothing in a directory
 * leads to the file any more, or where its filesystem is none that may be asked.
 */
export function readProcLink(pid: number, link: LinkName): ProcLink | undefined {
  let target: Buffer;
  try {
    target = readlinkSync(`/proc/${pid}/${link}`, AS_BYTES);
  } catch {
    return undefined;
  }
  const end = target.length - DELETED.length;
  const deleted = end >= 0 && target.subarray(end).equals(DELETED) && linksTo(pid, link) === 0;
  return { target: deleted ? target.subarray(0, end) : target, deleted };
}

function linksTo(pid: number, link: LinkName): number {
  return atLink(pid, link, ({ fd }) => fstatSync(fd).nlink) ?? 0;
}
