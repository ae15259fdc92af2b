/**
 * Kernels and programs of the distribution's packages, of other releases and architectures than this machine's too,
 * unpacked into a cache: nothing is installed but the emulator.
 */
import fs from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { Release } from '../harness/debian-release.js';

const CACHE = process.env.BACKPLANE_KERNEL_CACHE ?? path.join(homedir(), '.cache/backplane-kernels');

/** By the name that the command line takes. */
export const RELEASES: Readonly<Record<string, string>> = {
  '5.10': 'bullseye',
  '6.1': 'bookworm',
  '6.12': 'trixie',
  newest: 'sid',
};

export interface Kernel {
  /** As `uname -r` has it. */
  readonly release: string;
  readonly image: string;
  /** A module of it that needs nothing; undefined where its modules are in a package of their own. */
  readonly module: string | undefined;
}

/** Of the release whose programs run on every kernel. */
const PROGRAMS_RELEASE = 'trixie';
/** What tests start. `perl-base` makes the calls that no command makes; a build and a clone need `git`, `make` and `tcc`. */
const PROGRAMS = [
  'bash',
  'coreutils',
  'dash',
  'git',
  'iproute2',
  'libc-bin',
  'make',
  'mount',
  'nodejs',
  'perl-base',
  'procps',
  'strace',
  'tcc',
  'util-linux',
];

/** The folder with a file system of the programs that tests start, and of Node. `architecture`: as Debian names it. */
export function programsOf(architecture: string): string {
  return new Release(CACHE, PROGRAMS_RELEASE, architecture).unpackWhole(PROGRAMS);
}

/** The folder with the newest kernel's headers, of all architectures. */
export function headers(): string {
  return new Release(CACHE, RELEASES['newest']!, 'amd64').unpack('linux-libc-dev');
}

/** The kernel of a release. Throws in one line what is missing. */
export function kernelOf(name: string, architecture: string): Kernel {
  const apt = new Release(CACHE, RELEASES[name]!, architecture);
  const newest = `linux-image-${architecture}`;
  const [image = ''] = apt.depends(newest).filter((each) => /^linux-image-\d/.test(each));
  if (image === '') throw new Error(`Debian ${RELEASES[name]} has no ${newest}`);
  // Newer releases keep the kernel in a package of its own.
  const binaries = apt.depends(image).filter((each) => /^linux-binary-\d/.test(each));
  const root = apt.unpack(binaries[0] ?? image);
  const release = image.replace('linux-image-', '');
  const found = [`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`].map((file) => path.join(root, file));
  const kernel = found.find((file) => fs.existsSync(file));
  if (kernel === undefined) throw new Error(`${binaries[0] ?? image} holds no kernel`);
  const modules = ['', 'usr/'].flatMap((usr) =>
    ['ko', 'ko.xz'].map((ending) => path.join(root, `${usr}lib/modules/${release}/kernel/drivers/net/dummy.${ending}`)),
  );
  return { release, image: kernel, module: modules.find((file) => fs.existsSync(file)) };
}
