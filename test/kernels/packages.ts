/**
 * Kernels and programs of the distribution's packages, of other releases than this machine's too, unpacked into a cache:
 * nothing is installed but the emulator.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

const CACHE = process.env.BACKPLANE_KERNEL_CACHE ?? path.join(homedir(), '.cache/backplane-kernels');
const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';
const LISTS_AGE_MS_MAX = 24 * 60 * 60_000;

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

/** The kernel of a release. Throws in one line what is missing. */
export function kernelOf(name: string): Kernel {
  const apt = new Release(RELEASES[name]!);
  const [image = ''] = apt.depends('linux-image-amd64').filter((each) => /^linux-image-\d/.test(each));
  if (image === '') throw new Error(`Debian ${RELEASES[name]} has no linux-image-amd64`);
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

/** Libraries of packages that no program in the guest comes to use: it has its own of C, and no network. */
const UNUSED = /^lib(c6|curl.*|.*-perl)$/;

/**
 * The folders with the files of packages of this machine's release, and of the libraries that they depend on: what else
 * they ask for, manuals and other languages, the guest does not need.
 */
export function programsOf(names: readonly string[]): string[] {
  const apt = new Release(codename());
  const depends = apt.allDepends(names);
  const found = new Set(names);
  for (const name of found) {
    const libraries = depends.get(name)?.filter((each) => /^z?lib/.test(each) && !UNUSED.test(each)) ?? [];
    for (const library of libraries) found.add(library);
  }
  return [...found].map((name) => apt.unpack(name));
}

function codename(): string {
  return /^VERSION_CODENAME=(\S+)/m.exec(fs.readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
}

/** Where this machine has its own packages from: it has those of other releases, too. */
function mirror(): string {
  const release = codename();
  const folder = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list', ...fs.readdirSync(folder).map((name) => path.join(folder, name))];
  for (const file of files.filter((each) => fs.existsSync(each))) {
    for (const stanza of fs.readFileSync(file, 'utf8').split(/\n\s*\n/)) {
      const line = new RegExp(`^deb (?:\\[.*\\] )?(\\S+) ${release} `, 'm').exec(stanza)?.[1];
      if (line !== undefined) return line;
      if (new RegExp(`^Suites:.*\\b${release}(\\s|$)`, 'm').test(stanza)) {
        const uri = /^URIs:\s*(\S+)/m.exec(stanza)?.[1];
        if (uri !== undefined) return uri;
      }
    }
  }
  throw new Error(
    `no source of packages of ${release || 'this release'} in /etc/apt: kernels come from Debian's packages`,
  );
}

/** A release's packages, beside those of this machine. */
class Release {
  readonly #folder: string;
  readonly #options: readonly string[];

  constructor(release: string) {
    this.#folder = path.join(CACHE, release);
    if (!fs.existsSync(KEYS)) throw new Error(`${KEYS} is missing: install debian-archive-keyring`);
    for (const made of ['lists/partial', 'archives/partial']) {
      fs.mkdirSync(path.join(this.#folder, made), { recursive: true });
    }
    const sources = path.join(this.#folder, 'sources.list');
    fs.writeFileSync(sources, `deb [signed-by=${KEYS}] ${mirror()} ${release} main\n`);
    this.#options = [
      ...[`Dir::Etc::SourceList=${sources}`, 'Dir::Etc::SourceParts=/dev/null'],
      ...[`Dir::State::Lists=${this.#folder}/lists`, `Dir::Cache=${this.#folder}`, 'APT::Sandbox::User=root'],
      // What this machine has installed, of whatever release, is none of its business.
      'Dir::State::status=/dev/null',
    ].flatMap((option) => ['-o', option]);
    this.#update(path.join(this.#folder, 'updated'));
  }

  #update(stamp: string): void {
    const age = Date.now() - (fs.statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (age < LISTS_AGE_MS_MAX) return;
    this.#run('apt-get', ['update']);
    fs.writeFileSync(stamp, '');
  }

  depends(name: string): string[] {
    return [...this.#run('apt-cache', ['depends', name]).matchAll(/Depends: (\S+)/g)].map((match) => match[1]!);
  }

  /** Of packages, and of all that they depend on, what each depends on: asked in one go, as each question takes seconds. */
  allDepends(names: readonly string[]): Map<string, string[]> {
    const only = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
      (each) => `--no-${each}`,
    );
    const found = new Map<string, string[]>();
    let of = '';
    for (const line of this.#run('apt-cache', ['depends', '--recurse', ...only, ...names]).split('\n')) {
      const depended = /Depends: (\S+)/.exec(line)?.[1];
      if (depended !== undefined) found.get(of)?.push(depended);
      else if (/^\S/.test(line)) of = line;
      if (!found.has(of)) found.set(of, []);
    }
    return found;
  }

  /** The folder that holds a package's files. */
  unpack(name: string): string {
    const target = path.join(this.#folder, 'unpacked', name);
    if (fs.existsSync(target)) return target;
    const making = fs.mkdtempSync(path.join(this.#folder, 'making-'));
    try {
      this.#run('apt-get', ['download', name], making);
      const [archive = ''] = fs.readdirSync(making);
      this.#run('dpkg-deb', ['-x', archive, 'files'], making);
      fs.mkdirSync(path.dirname(target), { recursive: true });
      fs.renameSync(path.join(making, 'files'), target);
    } finally {
      fs.rmSync(making, { recursive: true, force: true });
    }
    return target;
  }

  #run(command: string, args: readonly string[], cwd = this.#folder): string {
    const options = command === 'dpkg-deb' ? [] : this.#options;
    const { status, stdout, stderr, error } = spawnSync(command, [...options, ...args], { cwd, encoding: 'utf8' });
    if (status === 0) return stdout;
    const why = error?.message ?? stderr.trim().split('\n').pop();
    throw new Error(`${command} ${args.join(' ')}: ${why}`);
  }
}
