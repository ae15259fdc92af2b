/**
 * The files in which execs are probed: the dynamic linkers of all that runs. A container has files of its own, so they
 * are told apart by device and inode, and reached through the root of a process that uses them.
 *
 * Only files that nobody but root can write. The kernel remembers by inode what it replaced by its breakpoint: where a
 * probed file is overwritten in place, programs of it crash. Linkers are replaced by renaming; for programs that start
 * without one nobody promises that, so they have no probe.
 */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { EXEC_PROBES_MAX } from '../../../limits.js';
import { pids } from '../process-reader.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable, withExecutable } from './elf.js';
import { fetchArguments, type Machine } from './probe-layout.js';

/** A dynamic linker that a process was started by. */
export interface Linker {
  /** By which the agent reaches it. */
  readonly path: string;
  readonly file: Executable;
}

export interface ProbedFile {
  /** Device and inode. */
  readonly id: string;
  readonly device: number;
  /** `group/event` of its definition. */
  readonly event: string;
  /** Trace clock: execs after it are copied. */
  readonly sinceNs: bigint;
}

/** Files that were refused are not tried again soon; so many are remembered. */
const REFUSED_MAX = 256;
const LINKS_MAX = 16;

export class ProbedFiles {
  readonly #files = new Map<string, ProbedFile>();
  readonly #refused = new Set<string>();
  readonly #rootDevice = statSync('/').dev;
  #defined = 0;

  readonly #tracefs: string;
  readonly #group: string;
  readonly #machine: Machine;

  constructor(tracefs: string, group: string, machine: Machine) {
    this.#tracefs = tracefs;
    this.#group = group;
    this.#machine = machine;
  }

  get all(): ProbedFile[] {
    return [...this.#files.values()];
  }

  /** The linker of a process that lives; undefined where it has none, or one of another kind (32 bits). */
  linkerOf(pid: number): Linker | undefined {
    const program = this.#own(readExecutable(`/proc/${pid}/exe`));
    if (program?.interpreter === undefined) return undefined;
    const path = within(`/proc/${pid}/root`, program.interpreter);
    const file = path === undefined ? undefined : this.#own(readExecutable(path));
    return file && { path: path!, file };
  }

  known(id: string): ProbedFile | undefined {
    return this.#files.get(id);
  }

  /** Whether a file may get a probe now. */
  admits({ id, isRoots }: Executable): boolean {
    return isRoots && this.#files.size < EXEC_PROBES_MAX && !this.#files.has(id) && !this.#refused.has(id);
  }

  /** Remembers that a file cannot be probed. */
  refuse(id: string): void {
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.add(id);
  }

  /** Defines a probe in a file; throws what the kernel says. Undefined where another file is there by now. */
  add(path: string, wanted: string, sinceNs: bigint): ProbedFile | undefined {
    let failure: unknown;
    const probed = withExecutable(path, ({ id, entryOffset }, own) => {
      if (id !== wanted) return undefined;
      const event = `${this.#group}/exec_${process.pid}_${this.#defined++}`;
      try {
        define(this.#tracefs, event, own, entryOffset, fetchArguments(this.#machine));
      } catch (cause) {
        failure = cause;
        return undefined;
      }
      return { id, device: Number(id.split(':')[0]), event, sinceNs };
    });
    if (failure !== undefined) throw failure;
    if (probed) this.#files.set(probed.id, probed);
    return probed;
  }

  /**
   * Those on filesystems that no process has its root or its program on any more: a definition keeps a filesystem busy,
   * and a container's is to be unmounted. That of the machine's own root stays.
   */
  unused(): ProbedFile[] {
    const elsewhere = this.all.filter(({ device }) => device !== this.#rootDevice);
    if (elsewhere.length === 0) return [];
    const used = new Set<number | undefined>();
    for (const pid of pids('/proc')) {
      used.add(deviceOf(`/proc/${pid}/root`));
      used.add(deviceOf(`/proc/${pid}/exe`));
    }
    return elsewhere.filter(({ device }) => !used.has(device));
  }

  /** Its event must be off and no entry of it unread. */
  remove(file: ProbedFile): void {
    this.#files.delete(file.id);
    undefine(this.#tracefs, file.event);
  }

  #own(file: Executable | undefined): Executable | undefined {
    return file?.machine === this.#machine.elf ? file : undefined;
  }
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.dev;
  } catch {
    return undefined;
  }
}

/** A path as a process with this root follows it: links that begin with a slash stay below the root. */
export function within(root: string, path: string): string | undefined {
  let left = path.split('/').filter((part) => part !== '' && part !== '.');
  const taken: string[] = [];
  let links = 0;
  while (left.length > 0) {
    const [part = '', ...rest] = left;
    left = rest;
    if (part === '..') {
      taken.pop();
      continue;
    }
    const at = join(root, ...taken, part);
    let target: string | undefined;
    try {
      if (lstatSync(at).isSymbolicLink()) target = readlinkSync(at);
    } catch {
      return undefined;
    }
    if (target === undefined) {
      taken.push(part);
      continue;
    }
    if (++links > LINKS_MAX) return undefined;
    if (target.startsWith('/')) taken.length = 0;
    left = [...target.split('/').filter((each) => each !== '' && each !== '.'), ...left];
  }
  return join(root, ...taken);
}
