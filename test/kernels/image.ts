/** The file system with which a kernel under test starts: this program with its tests, Node, and what tests start. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CpioWriter } from './cpio.js';
import { type Kernel, programsOf } from './packages.js';

/** The build that this is of, and the checkout. */
const BUILD = fileURLToPath(new URL('../..', import.meta.url));
const ROOT = path.join(BUILD, '..');
/** Where the guest has them. */
export const GUEST_ROOT = '/backplane';

/** This machine's own, dynamically linked, with their libraries. */
const PROGRAMS = [
  ...['sh', 'bash', 'true', 'false', 'echo', 'sleep', 'cat', 'mkfifo', 'rmdir', 'mkdir', 'rm', 'ls', 'cp', 'ln', 'mv'],
  ...['mount', 'umount', 'chroot', 'unshare', 'setpriv', 'ldd', 'ip', 'uname', 'env', 'kill', 'stat', 'dmesg'],
  // Makes the calls that no command makes.
  'perl',
];
/** What a build and a clone need, of the distribution's packages: not every machine has them. */
const PACKAGES = ['strace', 'git', 'make', 'tcc'];
/** Parts of a package that nothing in the guest reads. */
const UNREAD = /^usr\/share\/(doc|man|locale|bash-completion|lintian|perl5)\b/;

/** Writes the archive, for any of the kernels, and returns its path. */
export function writeImage(target: string, init: string, kernels: readonly Kernel[]): string {
  const archive = new CpioWriter(target);
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'etc', 'usr/bin', 'var/tmp'])
    archive.folder(folder);
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) archive.link(name, `usr/${name}`);
  archive.file('etc/passwd', Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n'));
  for (const name of PROGRAMS) addProgram(archive, which(name));
  addProgram(archive, fs.realpathSync(process.execPath), '/usr/bin/node');
  for (const folder of programsOf(PACKAGES)) addPackage(archive, folder);
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

/** Not the shell's own of that name. */
function which(name: string): string {
  const folders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin', ...(process.env.PATH ?? '').split(':')];
  const found = folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
  if (found === undefined) throw new Error(`${name} is missing on this machine: tests of kernels take it along`);
  return fs.realpathSync(found);
}

/** With what it is linked to. */
function addProgram(archive: CpioWriter, file: string, as = guestPath(file)): void {
  archive.file(as, fs.readFileSync(file), 0o755);
  const name = path.basename(as);
  if (name === 'dash') archive.link('usr/bin/sh', 'dash');
  const libraries = spawnSync('ldd', [file], { encoding: 'utf8' }).stdout.matchAll(/(\/\S+\.so\S*)/g);
  for (const [library] of libraries) archive.file(guestPath(library), fs.readFileSync(library), 0o755);
}

/** Behind the machine's own, which stay. */
function addPackage(archive: CpioWriter, folder: string, within = ''): void {
  for (const entry of fs.readdirSync(path.join(folder, within), { withFileTypes: true })) {
    const name = path.join(within, entry.name);
    const source = path.join(folder, name);
    if (UNREAD.test(name)) continue;
    if (entry.isDirectory()) addPackage(archive, folder, name);
    else if (entry.isSymbolicLink()) archive.link(guestPath(`/${name}`), fs.readlinkSync(source));
    else archive.file(guestPath(`/${name}`), fs.readFileSync(source), fs.statSync(source).mode & 0o777);
  }
}

/** /bin, /sbin and /lib are links there as on this machine. */
function guestPath(file: string): string {
  return file.replace(/^\/(s?bin|lib|lib64)\//, '/usr/$1/');
}

function addFolder(archive: CpioWriter, from: string, to: string): void {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), `${to}/${entry.name}`];
    if (entry.isDirectory()) addFolder(archive, source, target);
    else if (entry.isSymbolicLink()) archive.link(target, fs.readlinkSync(source));
    else if (!/\.(map|md|d\.ts|d\.mts|d\.cts)$/.test(entry.name)) archive.file(target, fs.readFileSync(source));
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
