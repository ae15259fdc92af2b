/**
 * One living process per data directory. The lock is the highest numbered `lock.N`, a symbolic link whose target names
 * the holder: creating it is atomic, so that only one of two starters can win, and it is never half written. A starter
 * that finds the holder dead creates number N + 1; only the holder of a higher number removes the lower ones, so that a
 * slow starter that saw the same dead holder finds that its lock is not the highest.
 *
 *   Target := "pid" ":" start time of the process, clock ticks since boot ":" boot id | "released"
 */
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import { BackplaneError } from '../errors.js';
import { cannotWrite } from './cannot-write.js';
import { makeDirectory, systemErrorCode } from './file-ops.js';

interface DirectoryLock {
  /** Idempotent. */
  release(): void;
}

const NAME = /^lock\.(\d{1,15})$/;
const RELEASED = 'released';
const ATTEMPTS_MAX = 16;

/**
 * Makes the directory and locks it. Throws BackplaneError `failed_precondition` when it is not writable or is locked,
 * `resource_exhausted` when the disk is full.
 */
export function lockDirectory(dir: string): DirectoryLock {
  try {
    makeDirectory(resolve(dir));
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const highest = lockNumbers(dir).at(-1) ?? 0;
      const holder = highest === 0 ? undefined : livingHolder(dir, highest);
      if (holder !== undefined) {
        const message = `directory ${dir} is in use by process ${holder}: stop it, or choose another directory`;
        throw new BackplaneError('failed_precondition', message);
      }
      if (take(dir, highest + 1)) return heldLock(dir, highest + 1);
    }
  } catch (cause) {
    if (cause instanceof BackplaneError) throw cause;
    throw cannotWrite(`directory ${dir}`, cause);
  }
  throw new BackplaneError('failed_precondition', `directory ${dir} is being taken by other processes: try again`);
}

function take(dir: string, number: number): boolean {
  const path = join(dir, `lock.${number}`);
  try {
    fs.symlinkSync(ownName(), path);
  } catch (cause) {
    if (systemErrorCode(cause) === 'EEXIST') return false;
    throw cause;
  }
  const numbers = lockNumbers(dir);
  if (numbers.at(-1) !== number) {
    remove(path);
    return false;
  }
  for (const lower of numbers.slice(0, -1)) remove(join(dir, `lock.${lower}`));
  return true;
}

function heldLock(dir: string, number: number): DirectoryLock {
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      // A release adds a higher lock instead of only removing its own: numbers must grow, or a slow starter could win
      // an old one.
      try {
        fs.symlinkSync(RELEASED, join(dir, `lock.${number + 1}`));
        remove(join(dir, `lock.${number}`));
      } catch {
        // The directory is gone or full: the end of this process releases the lock as well.
      }
    },
  };
}

/** Lock numbers in growing order. */
function lockNumbers(dir: string): number[] {
  const matches = fs.readdirSync(dir).map((name) => NAME.exec(name));
  const numbers = matches.filter((match) => match !== null).map((match) => Number(match[1]));
  return numbers.sort((a, b) => a - b);
}

/** The pid of the lock's holder; undefined when that process is dead. */
function livingHolder(dir: string, number: number): number | undefined {
  let target: string;
  try {
    target = fs.readlinkSync(join(dir, `lock.${number}`));
  } catch {
    return undefined;
  }
  const pid = Number(target.split(':')[0]);
  return Number.isInteger(pid) && pid > 0 && processName(pid) === target ? pid : undefined;
}

function ownName(): string {
  return processName(process.pid) ?? `${process.pid}:0:`;
}

/**
 * A name for a process that, unlike its pid, is never used again on this machine. Undefined when it does not run (a
 * zombie does not).
 */
export function processName(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): the name in parentheses may hold any characters; behind it state is field 3, starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${pid}:${fields[19]}:${boot}`;
  } catch {
    return undefined;
  }
}

function remove(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // A holder with a higher number removed it.
  }
}
