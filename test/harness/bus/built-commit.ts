/** The program of an earlier commit, built from the repository's own history, so that it can be run beside today's. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
const CACHE = process.env.BACKPLANE_BUILDS_CACHE ?? path.join(homedir(), '.cache/backplane-builds');
/** Without the tests and benchmarks of that time, which nobody starts. */
const BUILT_FROM = ['src', 'proto', 'scripts', 'tsconfig.json', 'package.json', 'package-lock.json'];
/** What a program needs of its build, as in the `files` of package.json. */
const KEPT = ['package.json', 'proto', 'dist/program', 'dist/descriptors'];
const PROGRAM = 'dist/program/main.js';

export interface BuiltProgram {
  /** Its main.js. */
  readonly main: string;
}

/**
 * Builds it where it is not in the cache yet, with today's packages and compiler: removing the cache builds it anew.
 * @param commit all 40 digits
 * @returns why it cannot be had, in one sentence, where there is no history that has it; throws where its build fails
 */
export function builtCommit(commit: string): BuiltProgram | string {
  const target = path.join(CACHE, commit);
  const main = path.join(target, PROGRAM);
  if (fs.existsSync(main)) return { main };
  fs.mkdirSync(CACHE, { recursive: true });
  const making = fs.mkdtempSync(path.join(CACHE, 'making-'));
  try {
    const missing = unpack(commit, making);
    if (missing !== undefined) return `needs the history of the repository with ${commit.slice(0, 8)}: ${missing}`;
    linkPackages(making);
    execFileSync(process.execPath, ['scripts/build.js'], { cwd: making, stdio: 'pipe' });
    const kept = path.join(making, 'kept');
    for (const name of KEPT) fs.cpSync(path.join(making, name), path.join(kept, name), { recursive: true });
    // Another process may have been faster.
    if (!fs.existsSync(target)) fs.renameSync(kept, target);
  } finally {
    fs.rmSync(making, { recursive: true, force: true });
  }
  return { main };
}

/** The reason where git or the commit is not there, as in a package or a clone without its history. */
function unpack(commit: string, to: string): string | undefined {
  const archive = path.join(to, 'archive.tar');
  try {
    execFileSync('git', ['archive', '-o', archive, commit, ...BUILT_FROM], { cwd: ROOT, stdio: 'pipe' });
  } catch (cause) {
    const { stderr, message } = cause as { readonly stderr?: Buffer; readonly message: string };
    return (stderr?.toString() || message).trim().split('\n')[0];
  }
  execFileSync('tar', ['-xf', archive, '-C', to], { stdio: 'pipe' });
  return undefined;
}

/** Each by itself: a build writes its own command beside theirs, and has a cache there, which are not today's. */
function linkPackages(to: string): void {
  for (const folder of ['node_modules', 'node_modules/.bin']) {
    fs.mkdirSync(path.join(to, folder));
    for (const name of fs.readdirSync(path.join(ROOT, folder)))
      if (!name.startsWith('.')) fs.symlinkSync(path.join(ROOT, folder, name), path.join(to, folder, name));
  }
}
