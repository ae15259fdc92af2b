/** A root of its own on a filesystem of its own, as a container has, with a dynamic linker at its usual place. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { scratchDirectory } from '../files/scratch-directory.js';

const PROGRAMS = ['/bin/true', '/bin/sleep'];
/** The mount point of a root whose maker is in its name. */
const MADE = /^\S+ \S+ \S+ \S+ (\/\S*\/backplane-root-(\d+)-\S+) /gm;

/** What tests left that were killed: it would stay until the machine is started again. */
function unmountAbandoned(): void {
  for (const [, root = '', pid] of readFileSync('/proc/self/mountinfo', 'utf8').matchAll(MADE)) {
    if (existsSync(`/proc/${pid}`)) continue;
    spawnSync('umount', ['-l', root]);
    rmSync(root, { recursive: true, force: true });
  }
}

/** Has `/bin/true` and `/bin/sleep`; to be unmounted by whoever asks for it. Undefined where this process may not. */
export function containerRoot(): string | undefined {
  unmountAbandoned();
  const root = scratchDirectory(`root-${process.pid}`);
  if (spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', root]).status !== 0) return undefined;
  copyPrograms(root);
  if (spawnSync('chroot', [root, '/bin/true']).status === 0) return root;
  spawnSync('umount', ['-l', root]);
  return undefined;
}

/** What a root has: the programs, their linker and libraries. */
export function copyPrograms(root: string): void {
  const libraries = spawnSync('ldd', PROGRAMS).stdout.toString();
  for (const file of [...PROGRAMS, ...new Set(libraries.match(/\/\S+\.so\S*/g))]) {
    const clean = file.replace(/:$/, '');
    mkdirSync(join(root, dirname(clean)), { recursive: true });
    copyFileSync(clean, join(root, clean));
  }
}
