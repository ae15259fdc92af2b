/** Names of this node's users, by its own passwd file: that of the host where the agent shares the host's processes. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { PASSWD_BYTES_MAX } from '../../limits.js';

/** The first that can be read. */
const PATHS = ['/proc/1/root/etc/passwd', '/etc/passwd'];
const LOOK_MS = 1_000;

export class UserNames {
  readonly #paths: readonly string[];
  #names = new Map<number, string>();
  #read = '';
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(paths: readonly string[] = PATHS) {
    this.#paths = paths;
  }

  /** Undefined for a user that the file does not have, as one of another user namespace. */
  userName(uid: number): string | undefined {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = nowMs;
      this.#look();
    }
    return this.#names.get(uid);
  }

  #look(): void {
    for (const path of this.#paths) {
      let fd = -1;
      try {
        fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
        const { ino, mtimeMs, size } = fstatSync(fd);
        const version = `${path} ${ino} ${mtimeMs} ${size}`;
        if (version === this.#read) return;
        const bytes = Buffer.alloc(PASSWD_BYTES_MAX);
        this.#names = namesIn(bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0)));
        this.#read = version;
        return;
      } catch {
        // Another may be readable.
      } finally {
        if (fd >= 0) closeSync(fd);
      }
    }
  }
}

/** This node's. */
export const USER_NAMES = new UserNames();

/** `name:password:uid:…`; the first of those with one uid is its name, as for everybody else. */
function namesIn(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const [, name, uid] of text.matchAll(/^([^:\n]+):[^:\n]*:(\d{1,10}):/gm))
    if (!names.has(Number(uid))) names.set(Number(uid), name!);
  return names;
}
