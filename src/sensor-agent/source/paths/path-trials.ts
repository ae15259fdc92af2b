/**
 * Does operations on files of our own, in the calling thread, so that what tells their paths can be seen to. Node has none
 * that truncates a file by its path: another program does.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What distributions have whose other programs need it. The path is the last argument. */
const TRUNCATING: readonly (readonly [program: string, ...words: string[]])[] = [
  ['/usr/bin/perl', '-e', 'truncate($ARGV[0], 1) or exit 1'],
  ['/usr/bin/python3', '-c', 'import os, sys; os.truncate(sys.argv[1], 1)'],
  ['/usr/libexec/platform-python', '-c', 'import os, sys; os.truncate(sys.argv[1], 1)'],
];
const PROGRAM_MS_MAX = 10_000;

/** Those of an operation, in the order in which its function is handed them. */
type Paths = readonly string[];

export interface Trials {
  /** By operation: the paths that it was done with. */
  readonly used: ReadonlyMap<string, Paths>;
  /** By operation: why it could be done in no directory. */
  readonly failed: ReadonlyMap<string, string>;
}

/** Does an operation on what it makes itself; `at` gives paths that nobody else has. */
const TRIALS: Readonly<Record<string, (at: () => string) => Paths>> = {
  open: (at) => [made(at())],
  unlink: (at) => {
    const file = made(at());
    unlinkSync(file);
    return [file];
  },
  rmdir: madeAndRemoved,
  rename: (at) => {
    const [file, moved] = [made(at()), at()];
    renameSync(file, moved);
    return [file, moved];
  },
  mkdir: madeAndRemoved,
  link: (at) => {
    const [file, linked] = [made(at()), at()];
    linkSync(file, linked);
    return [file, linked];
  },
  symlink: (at) => {
    const [target, symbolic] = [at(), at()];
    symlinkSync(target, symbolic);
    return [target, symbolic];
  },
  chmod: (at) => {
    const file = made(at());
    chmodSync(file, 0o600);
    return [file];
  },
  chown: (at) => {
    const file = made(at());
    chownSync(file, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
    return [file];
  },
  truncate: (at) => {
    const file = made(at());
    for (const [program, ...words] of TRUNCATING) {
      const { status } = spawnSync(program, [...words, file], { env: {}, stdio: 'ignore', timeout: PROGRAM_MS_MAX });
      if (status === 0) return [file];
    }
    throw new Error(
      `no program here truncates a file by its path (${TRUNCATING.map(([program]) => program).join(', ')})`,
    );
  },
  ftruncate: (at) => {
    const file = at();
    const descriptor = openSync(file, 'a');
    try {
      ftruncateSync(descriptor, 1);
    } finally {
      closeSync(descriptor);
    }
    return [file];
  },
};

function madeAndRemoved(at: () => string): Paths {
  const folder = at();
  mkdirSync(folder);
  rmdirSync(folder);
  return [folder];
}

function made(file: string): string {
  closeSync(openSync(file, 'ax'));
  return file;
}

/** Where files can be made: not every filesystem takes links, and some take nothing. */
function places(): readonly string[] {
  return [tmpdir(), '/dev/shm', '/var/tmp', '/run'];
}

/** Does each operation once, in the first of the directories in which it can be done. */
export function tryEach(operations: readonly string[], directories: readonly string[] = places()): Trials {
  const used = new Map<string, Paths>();
  const failed = new Map<string, string>();
  for (const directory of directories) {
    const left = operations.filter((operation) => !used.has(operation));
    if (left.length > 0) tryIn(directory, left, used, failed);
  }
  for (const operation of used.keys()) failed.delete(operation);
  return { used, failed };
}

function tryIn(
  directory: string,
  operations: readonly string[],
  used: Map<string, Paths>,
  failed: Map<string, string>,
): void {
  // What the first directory says is told: whoever chose it can mend it.
  const refuse = (operation: string, cause: unknown) => {
    if (!failed.has(operation)) failed.set(operation, `it could not be tried: ${(cause as Error).message}`);
  };
  let folder: string;
  try {
    folder = realpathSync(mkdtempSync(join(directory, 'backplane-paths-')));
  } catch (cause) {
    for (const operation of operations) refuse(operation, cause);
    return;
  }
  try {
    const at = () => join(folder, randomBytes(6).toString('hex'));
    for (const operation of operations) {
      try {
        used.set(operation, TRIALS[operation]!(at));
      } catch (cause) {
        refuse(operation, cause);
      }
    }
  } finally {
    remove(folder);
  }
}

/** What cannot be removed costs no operation. */
function remove(folder: string): void {
  for (const one of [() => rmSync(folder, { recursive: true }), () => rmdirSync(folder)]) {
    try {
      one();
      return;
    } catch {
      // The kernel's own filesystems have files in each directory that nobody removes, and that go with it.
    }
  }
}
