/** A small file system of its own, mounted by a test that is root and removed behind it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why there can be none here, or false. */
export const cannotMount: string | false =
  process.getuid?.() === 0 && process.platform === 'linux' ? false : 'needs root on Linux to mount a tmpfs';

/** Runs with its directory. */
export async function withSmallDisk<T>(bytes: number, run: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir]);
  const remove = () => {
    execFileSync('umount', ['-l', dir]);
    rmSync(dir, { recursive: true, force: true });
  };
  process.on('exit', remove);
  try {
    return await run(dir);
  } finally {
    process.off('exit', remove);
    remove();
  }
}
