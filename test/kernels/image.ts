/** The file system with which a kernel under test starts: this program with its tests, Node, and what tests start. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CpioWriter } from './cpio.js';
import type { Kernel } from './packages.js';

/** The build that this is of, and the checkout. */
const BUILD = fileURLToPath(new URL('../..', import.meta.url));
const ROOT = path.join(BUILD, '..');
/** Where the guest has them. */
export const GUEST_ROOT = '/backplane';

/** Of the programs' packages: read by people, or modules of perl that no program here uses. */
const UNUSED = /^\/usr\/share\/(doc|info|locale|man|i18n|bash-completion|lintian|perl5?)(\/|$)/;

/**
 * Writes the archive, for any of the kernels of one architecture, and returns its path. `programs`: the folder of what
 * tests start.
 */
export function writeImage(target: string, init: string, programs: string, kernels: readonly Kernel[]): string {
  const archive = new CpioWriter(target);
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'etc', 'usr/bin', 'var/tmp'])
    archive.folder(folder);
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) archive.link(name, `usr/${name}`);
  archive.file('etc/passwd', Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n'));
  addFolder(archive, programs, '');
  addFolder(archive, BUILD, `${GUEST_ROOT}/dist`);
  addFolder(archive, path.join(ROOT, 'proto'), `${GUEST_ROOT}/proto`);
  for (const name of ['package.json', 'LICENSE', 'backplane'])
    archive.file(`${GUEST_ROOT}/${name}`, fs.readFileSync(path.join(ROOT, name)), 0o755);
  for (const name of usedPackages()) addFolder(archive, path.join(ROOT, name), `${GUEST_ROOT}/${name}`);
  for (const { release, module } of kernels)
    if (module !== undefined) archive.file(`modules/${release}/dummy.ko`, unpacked(module));
  archive.file('init', Buffer.from(init), 0o755);
  archive.end();
  return target;
}

/** Kernels do not unpack their modules everywhere. */
function unpacked(module: string): Buffer {
  if (!module.endsWith('.xz')) return fs.readFileSync(module);
  return spawnSync('xz', ['-dc', module], { maxBuffer: 2 ** 28 }).stdout;
}

function addFolder(archive: CpioWriter, from: string, to: string): void {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), `${to}/${entry.name}`];
    if (UNUSED.test(target)) continue;
    if (entry.isDirectory()) addFolder(archive, source, target);
    else if (entry.isSymbolicLink()) archive.link(target, fs.readlinkSync(source));
    else if (!/\.(map|md|d\.ts|d\.mts|d\.cts)$/.test(entry.name))
      archive.file(target, fs.readFileSync(source), fs.statSync(source).mode & 0o777);
  }
}

/** What the program needs at run time, and its tests. */
function usedPackages(): string[] {
  const { packages } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  const used = Object.entries(packages).filter(
    ([name, { dev }]) => name !== '' && (dev !== true || /node_modules\/(fast-check|pure-rand)$/.test(name)),
  );
  return used.map(([name]) => name).filter((name) => fs.existsSync(path.join(ROOT, name)));
}
