/**
 * Probes at the first instruction of the dynamic linkers of all that runs (Documentation/trace/uprobetracer.rst), where
 * the stack pointer points to what the exec has written. A container has files of its own, so they are told apart by
 * device and inode, and reached through the root of a process that uses them.
 *
 * Only files that nobody but root can write. The kernel remembers by inode what it replaced by its breakpoint: where a
 * probed file is overwritten in place, programs of it crash. Linkers are replaced by renaming; for programs that start
 * without one nobody promises that, so they have no probe.
 */

import { existsSync, lstatSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Architecture, OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { BackplaneError } from '../../../errors.js';
import { EXEC_PROBES_MAX } from '../../../limits.js';
import { pids } from '../process-reader.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable, withExecutable } from './elf.js';
import type { ExecPoints } from './exec-points.js';
import { fetchArguments } from './probe-layout.js';

/** A dynamic linker that a process was started by. */
interface Linker {
  /** By which the agent reaches it. */
  readonly path: string;
  readonly file: Executable;
}

interface ProbedFile {
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
/** The stack pointer, as fetch arguments name it on every architecture. At the first instruction it points to argc. */
const STACK = '%sp';

export class LinkerPoints implements ExecPoints {
  readonly by = 'uprobe';
  /** By device and inode. */
  readonly #files = new Map<string, ProbedFile>();
  readonly #refused = new Set<string>();
  readonly #rootDevice = statSync('/').dev;
  #defined = 0;

  readonly #tracefs: string;
  readonly #group: string;
  readonly #architecture: Architecture;

  /** Throws `failed_precondition` where there are no uprobes. */
  constructor(tracefs: string, group: string) {
    if (OWN_ARCHITECTURE === undefined || !existsSync(join(tracefs, 'uprobe_events')))
      throw new BackplaneError('failed_precondition', `this kernel has no uprobes on ${process.arch}`);
    this.#tracefs = tracefs;
    this.#group = group;
    this.#architecture = OWN_ARCHITECTURE;
  }

  get events(): string[] {
    return [...this.#files.values()].map(({ event }) => event);
  }

  /** The linker's, if it has none yet. */
  define(pid: number, nowNs: bigint, record: (event: string) => void): void {
    const linker = this.#linkerOf(pid);
    if (linker === undefined || !this.#admits(linker.file)) return;
    let file: ProbedFile | undefined;
    try {
      file = this.#add(linker, nowNs);
      if (file) record(file.event);
    } catch {
      // Too many of all tools together, or a filesystem that cannot be probed: programs of this file are visited.
      if (file) this.remove(file.event);
      this.#refuse(linker.file.id);
    }
  }

  copies(pid: number, timeNs: bigint): boolean {
    const linker = this.#linkerOf(pid);
    const known = linker && this.#files.get(linker.file.id);
    return known !== undefined && known.sinceNs < timeNs;
  }

  /**
   * Those on filesystems that no process has its root or its program on any more: a definition keeps a filesystem busy,
   * and a container's is to be unmounted. That of the machine's own root stays.
   */
  unused(): string[] {
    const elsewhere = [...this.#files.values()].filter(({ device }) => device !== this.#rootDevice);
    if (elsewhere.length === 0) return [];
    const used = new Set<number | undefined>();
    for (const pid of pids('/proc')) {
      used.add(deviceOf(`/proc/${pid}/root`));
      used.add(deviceOf(`/proc/${pid}/exe`));
    }
    return elsewhere.filter(({ device }) => !used.has(device)).map(({ event }) => event);
  }

  remove(event: string): void {
    for (const [id, file] of this.#files) if (file.event === event) this.#files.delete(id);
    undefine(this.#tracefs, event);
  }

  /** The linker of a process that lives; undefined where it has none, or one of another kind (32 bits). */
  #linkerOf(pid: number): Linker | undefined {
    const program = this.#own(readExecutable(`/proc/${pid}/exe`));
    if (program?.interpreter === undefined) return undefined;
    const path = within(`/proc/${pid}/root`, program.interpreter);
    const file = path === undefined ? undefined : this.#own(readExecutable(path));
    return file && { path: path!, file };
  }

  #admits({ id, isRoots }: Executable): boolean {
    return isRoots && this.#files.size < EXEC_PROBES_MAX && !this.#files.has(id) && !this.#refused.has(id);
  }

  #refuse(id: string): void {
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.add(id);
  }

  /** Throws what the kernel says. Undefined where another file is there by now. */
  #add({ path, file }: Linker, sinceNs: bigint): ProbedFile | undefined {
    let failure: unknown;
    const probed = withExecutable(path, ({ id, entryOffset }, own) => {
      if (id !== file.id) return undefined;
      const event = `${this.#group}/exec_${process.pid}_${this.#defined++}`;
      try {
        define(this.#tracefs, event, `${own}:0x${entryOffset.toString(16)}`, fetchArguments(STACK));
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

  #own(file: Executable | undefined): Executable | undefined {
    return file?.machine === this.#architecture.elf ? file : undefined;
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
