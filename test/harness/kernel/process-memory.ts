/** What is in the memory of another process (man 5 proc, `maps` and `mem`), searched while it runs. As root. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const PART_BYTES = 1 << 22;

export interface Search {
  /** How often each is there. */
  readonly found: readonly number[];
  readonly bytes: number;
}

/** Looks for texts of less than 4 KiB in all that a process may read. What it maps or frees meanwhile may be missed. */
export function searchMemory(pid: number, texts: readonly Buffer[]): Search {
  const found = texts.map(() => 0);
  const overlap = Math.max(...texts.map(({ length }) => length)) - 1;
  const part = Buffer.alloc(PART_BYTES);
  let bytes = 0;
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1');
    for (const [, from, to] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) r.*$/gm)) {
      const end = BigInt(`0x${to}`);
      for (let at = BigInt(`0x${from}`); at < end; at += BigInt(PART_BYTES - overlap)) {
        const wanted = Number(end - at < BigInt(PART_BYTES) ? end - at : BigInt(PART_BYTES));
        const length = readAt(memory, part, wanted, at);
        bytes += length;
        for (const [index, text] of texts.entries())
          for (let hit = part.indexOf(text); hit >= 0 && hit + text.length <= length; hit = part.indexOf(text, hit + 1))
            found[index]! += 1;
      }
    }
  } finally {
    closeSync(memory);
  }
  return { found, bytes };
}

/** 0 where nothing can be read: a mapping of the kernel's own, or one that is gone. */
function readAt(fd: number, into: Buffer, length: number, at: bigint): number {
  try {
    return readSync(fd, into, 0, length, at);
  } catch {
    return 0;
  }
}
