/**
 * The files in which execs are probed: dynamic linkers, and programs that start without one. A container has files of
 * its own, so they are told apart by device and inode, and reached through the root of a process that uses them.
 */
import { statSync } from 'node:fs';
import { EXEC_PROBES_MAX } from '../../../limits.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable } from './elf.js';
import { fetchArguments, type Machine } from './probe-layout.js';

/** The file whose first instruction is a program's first. */
export interface Start {
  readonly path: string;
  readonly file: Executable;
  readonly isLinker: boolean;
}

export interface ProbedFile {
  /** Device and inode. */
  readonly id: string;
  /** `group/event` of its definition. */
  readonly event: string;
  /** Trace clock: execs after it are copied. */
  readonly sinceNs: bigint;
  /** The definition keeps the file's mount busy: where that is not the root's, it goes with the processes. */
  readonly onRoot: boolean;
  /** Processes of other mounts that were started through it. */
  readonly pids: Set<number>;
}

/** Processes that are remembered of one file. */
const PIDS_MAX = 64;

export class ProbedFiles {
  /** By device and inode, least recently used first. */
  readonly #files = new Map<string, ProbedFile>();
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

  get full(): boolean {
    return this.#files.size >= EXEC_PROBES_MAX;
  }

  /**
   * The file whose first instruction a process began with: its linker, or its own. Undefined where the process is gone,
   * or is of another kind (32 bits) that cannot be probed.
   */
  startOf(pid: number): Start | undefined {
    return this.#start(`/proc/${pid}/exe`, `/proc/${pid}/root`);
  }

  /** The same by a program's path in this agent's own root. */
  startBy(path: string): Start | undefined {
    return path.startsWith('/') ? this.#start(path, '') : undefined;
  }

  #start(path: string, root: string): Start | undefined {
    const program = this.#readable(path);
    if (program === undefined) return undefined;
    if (program.interpreter === undefined) return { path, file: program, isLinker: false };
    const linker = this.#readable(root + program.interpreter);
    return linker && { path: root + program.interpreter, file: linker, isLinker: true };
  }

  known(id: string): ProbedFile | undefined {
    return this.#files.get(id);
  }

  /** Defines a probe in a file that has none yet; throws what the kernel says. */
  add(path: string, { id, entryOffset }: Executable, sinceNs: bigint): ProbedFile {
    const event = `${this.#group}/exec_${process.pid}_${this.#defined++}`;
    define(this.#tracefs, event, path, entryOffset, fetchArguments(this.#machine));
    const probed = {
      id,
      event,
      sinceNs,
      onRoot: Number(id.split(':')[0]) === this.#rootDevice,
      pids: new Set<number>(),
    };
    this.#files.set(id, probed);
    return probed;
  }

  /** A process was started through it. */
  used(file: ProbedFile, pid: number): void {
    this.#files.delete(file.id);
    this.#files.set(file.id, file);
    if (file.onRoot) return;
    file.pids.add(pid);
    if (file.pids.size <= PIDS_MAX) return;
    for (const each of file.pids) if (!lives(each)) file.pids.delete(each);
    // Enough are left to say that the file is in use.
    if (file.pids.size > PIDS_MAX) file.pids.delete(pid);
  }

  /** The least recently used one. */
  get oldest(): ProbedFile | undefined {
    return this.#files.values().next().value;
  }

  /** Those of other mounts whose processes have all ended. */
  unused(): ProbedFile[] {
    return [...this.#files.values()].filter((file) => {
      if (file.onRoot) return false;
      for (const pid of file.pids) {
        if (lives(pid)) return false;
        file.pids.delete(pid);
      }
      return true;
    });
  }

  /** Its event must be off and no entry of it unread. */
  remove(file: ProbedFile): void {
    this.#files.delete(file.id);
    undefine(this.#tracefs, file.event);
  }

  #readable(path: string): Executable | undefined {
    // The kernel takes a path up to the first blank.
    if (/\s/.test(path)) return undefined;
    const file = readExecutable(path);
    return file?.machine === this.#machine.elf ? file : undefined;
  }
}

function lives(pid: number): boolean {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false }) !== undefined;
}
