/** Whose files are that root makes for a program which runs as another user, and which must be able to read them. */
import { fchownSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Gives the open file, which will take the place of `path`, to whom that belongs, or else its directory. Only root can. */
export function giveToOwner(fd: number, path: string): void {
  if (process.geteuid?.() !== 0) return;
  const owner = statsOf(path) ?? statsOf(dirname(path));
  if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
}

function statsOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}
