/** A small file system of its own, mounted by a test that is root and removed behind it. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why there can be none here, or false. */
export const cannotMount: string | false =
  process.getuid?.() === 0 && process.platform === 'linux' ? false : 'needs root on Linux to mount a tmpfs';

export class SmallDisk {
  readonly dir = mkdtempSync(join(tmpdir(), 'backplane-disk-'));
  readonly #removeAtExit = () => this.remove();
  #removed = false;

  constructor(bytes: number) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', this.dir]);
    process.on('exit', this.#removeAtExit);
  }

  /** Takes all the room that is left, until it is freed. */
  fill(): void {
    const fd = openSync(this.#ballast, 'w');
    try {
      for (let chunk = Buffer.alloc(1 << 20); chunk.length > 0; ) {
        try {
          writeSync(fd, chunk);
        } catch (cause) {
          if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause;
          chunk = chunk.subarray(0, Math.floor(chunk.length / 2));
        }
      }
    } finally {
      closeSync(fd);
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    process.off('exit', this.#removeAtExit);
    execFileSync('umount', ['-l', this.dir]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  get #ballast(): string {
    return join(this.dir, 'ballast');
  }
}

/** Runs with one. */
export async function withSmallDisk<T>(bytes: number, run: (disk: SmallDisk) => Promise<T>): Promise<T> {
  const disk = new SmallDisk(bytes);
  try {
    return await run(disk);
  } finally {
    disk.remove();
  }
}
