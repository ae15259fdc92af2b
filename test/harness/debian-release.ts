/**
 * Packages of a Debian release, of other releases and architectures than this machine's too, unpacked into a cache:
 * nothing is installed.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';
const LISTS_AGE_MS_MAX = 24 * 60 * 60_000;
/** As Debian names them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
/** Of all packages of a release, in the cache. */
const UNPACKED = 'unpacked';

/** Where this machine has its own packages from: it has those of other releases, too. */
function mirror(): string {
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(fs.readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  const folder = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list', ...fs.readdirSync(folder).map((name) => path.join(folder, name))];
  for (const file of files.filter((each) => fs.existsSync(each))) {
    for (const stanza of fs.readFileSync(file, 'utf8').split(/\n\s*\n/)) {
      const line = new RegExp(`^deb (?:\\[.*\\] )?(\\S+) ${codename} `, 'm').exec(stanza)?.[1];
      if (line !== undefined) return line;
      if (new RegExp(`^Suites:.*\\b${codename}(\\s|$)`, 'm').test(stanza)) {
        const uri = /^URIs:\s*(\S+)/m.exec(stanza)?.[1];
        if (uri !== undefined) return uri;
      }
    }
  }
  throw new Error(
    `no source of packages of ${codename || 'this release'} in /etc/apt: other releases' packages come from there`,
  );
}

/** A release's packages of an architecture, beside those of this machine. Throws in one line what is missing. */
export class Release {
  readonly #folder: string;
  readonly #options: readonly string[];

  /** @param cache folder of all that is downloaded */
  constructor(cache: string, release: string, architecture: string) {
    this.#folder = path.join(cache, architecture, release);
    if (!fs.existsSync(KEYS)) throw new Error(`${KEYS} is missing: install debian-archive-keyring`);
    for (const made of ['lists/partial', 'archives/partial']) {
      fs.mkdirSync(path.join(this.#folder, made), { recursive: true });
    }
    const sources = path.join(this.#folder, 'sources.list');
    fs.writeFileSync(sources, `deb [signed-by=${KEYS}] ${mirror()} ${release} main\n`);
    // What this machine has installed, of whatever release, is none of its business.
    const status = path.join(this.#folder, 'status');
    fs.writeFileSync(status, '');
    this.#options = [
      ...[`Dir::Etc::SourceList=${sources}`, 'Dir::Etc::SourceParts=/dev/null'],
      ...[`Dir::State::Lists=${this.#folder}/lists`, `Dir::Cache=${this.#folder}`, 'APT::Sandbox::User=root'],
      `Dir::State::Status=${status}`,
      ...[`APT::Architecture=${architecture}`, `APT::Architectures=${architecture}`],
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

  /** The folder that holds a package's files. */
  unpack(name: string): string {
    return this.#unpacked(name, (folder) => this.#run('apt-get', ['download', name], folder));
  }

  /** The folder that holds the files of packages and of all that they need. */
  unpackWhole(names: readonly string[]): string {
    return this.#unpacked(names.join('+'), (folder) => {
      fs.mkdirSync(path.join(folder, 'partial'));
      const archives = ['-o', `Dir::Cache::Archives=${folder}`];
      this.#run('apt-get', [...archives, '-y', '--no-install-recommends', '--download-only', 'install', ...names]);
    });
  }

  #unpacked(name: string, download: (folder: string) => void): string {
    const target = path.join(this.#folder, UNPACKED, name);
    if (fs.existsSync(target)) return target;
    const making = fs.mkdtempSync(path.join(this.#folder, 'making-'));
    try {
      download(making);
      for (const archive of fs.readdirSync(making).filter((file) => file.endsWith('.deb')))
        this.#run('dpkg-deb', ['-x', archive, 'files'], making);
      fs.mkdirSync(path.dirname(target), { recursive: true });
      // Another process may have been faster.
      if (!fs.existsSync(target)) fs.renameSync(path.join(making, 'files'), target);
    } finally {
      fs.rmSync(making, { recursive: true, force: true });
    }
    return target;
  }

  #run(command: string, args: readonly string[], cwd = this.#folder): string {
    const options = command === 'dpkg-deb' ? [] : this.#options;
    // One at a time: two processes that download at once would refuse each other the lists.
    const locked = [path.join(this.#folder, 'lock'), command, ...options, ...args];
    const { status, stdout, stderr, error } = spawnSync('flock', locked, { cwd, encoding: 'utf8' });
    if (status === 0) return stdout;
    const why = error?.message ?? stderr.trim().split('\n').pop();
    throw new Error(`${command} ${args.join(' ')}: ${why}`);
  }
}

/**
 * A program that runs on this machine, by its place in its package.
 * @param cache as of a Release. Throws in one line what is missing.
 */
export function packagedProgram(cache: string, release: string, name: string, file: string): string {
  const architecture = ARCHITECTURES[process.arch] ?? process.arch;
  // Without a look at the lists, so that a machine without a network runs what it has. Removing the cache renews it.
  const program = path.join(cache, architecture, release, UNPACKED, name, file);
  if (!fs.existsSync(program)) new Release(cache, release, architecture).unpack(name);
  return program;
}
