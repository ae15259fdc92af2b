/** A root of its own on a filesystem of its own, as a container has, with a dynamic linker at its usual place. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { scratchDirectory } from '../files/scratch-directory.js';

const PROGRAMS = ['/bin/true', '/bin/sleep'];

/** Has `/bin/true` and `/bin/sleep`; to be unmounted by whoever asks for it. Undefined where this process may not. */
export function containerRoot(): string | undefined {
  const root = scratchDirectory('root');
  if (spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', root]).status !== 0) return undefined;
  const libraries = spawnSync('ldd', PROGRAMS).stdout.toString();
  for (const file of [...PROGRAMS, ...new Set(libraries.match(/\/\S+\.so\S*/g))]) {
    const clean = file.replace(/:$/, '');
    mkdirSync(join(root, dirname(clean)), { recursive: true });
    copyFileSync(clean, join(root, clean));
  }
  if (spawnSync('chroot', [root, '/bin/true']).status === 0) return root;
  spawnSync('umount', ['-l', root]);
  return undefined;
}
