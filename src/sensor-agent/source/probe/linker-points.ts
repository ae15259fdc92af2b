/**
 * Probes at the first instruction of the dynamic linkers of all that runs (Documentation/trace/uprobetracer.rst), where
 * the stack pointer points to what the exec has written. A container has files of its own, so they are told apart by
 * device and inode, and reached through the root of a process that uses them.
 *
 * Only files that nobody but root can write. The kernel remembers by inode what it replaced by its breakpoint: where a
 * probed file is overwritten in place, programs of it crash. Linkers are replaced by renaming; for programs that start
 * without one nobody promises that, so they have no probe.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { EXEC_PROBES_MAX } from '../../../limits.js';
import { atLink, atName, deviceAt, type KnownDevices, type Place, pathOf } from '../places.js';
import { pids } from '../process-reader.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable } from './elf.js';
import type { ExecPoints } from './exec-points.js';
import { fetchArguments, MACHINES, type Machine } from './probe-layout.js';

interface ProbedFile {
  /** Of its filesystem. */
  readonly device: string;
  /** `group/event` of its definition. */
  readonly event: string;
  /** Trace clock: execs after it are copied. */
  readonly sinceNs: bigint;
}

/** Files that were refused are not tried again soon; so many are remembered. */
const REFUSED_MAX = 256;
/** Where a process uses a filesystem, for its linker's sake. */
const LINKS = ['root', 'exe'] as const;

export class LinkerPoints implements ExecPoints {
  readonly by = 'uprobe';
  /** By device and inode. */
  readonly #files = new Map<string, ProbedFile>();
  readonly #refused = new Set<string>();
  /** Of each filesystem that is not the root's a process that has its root or its program there. */
  #users: readonly number[] = [];
  readonly #rootDevice = deviceAt(process.pid, 'root', new Map());
  #defined = 0;

  readonly #tracefs: string;
  readonly #group: string;
  readonly #machine: Machine;

  /** Throws `failed_precondition` where there are no uprobes. */
  constructor(tracefs: string, group: string) {
    const machine = MACHINES[process.arch];
    if (machine === undefined || !existsSync(join(tracefs, 'uprobe_events')))
      throw new BackplaneError('failed_precondition', `this kernel has no uprobes on ${process.arch}`);
    this.#tracefs = tracefs;
    this.#group = group;
    this.#machine = machine;
  }

  get events(): string[] {
    return [...this.#files.values()].map(({ event }) => event);
  }

  /** The linker's, if it has none yet. */
  define(pid: number, nowNs: bigint, record: (event: string) => void): (timeNs: bigint) => boolean {
    const { interpreter } = this.#own(atLink(pid, 'exe', readExecutable)) ?? {};
    if (interpreter === undefined) return () => false;
    const id = atName(pid, interpreter, (place) => {
      const file = this.#own(readExecutable(place));
      if (file && this.#admits(file)) this.#probe(place, file, nowNs, record);
      return file?.id;
    });
    return (timeNs) => id !== undefined && (this.#files.get(id)?.sinceNs ?? timeNs) < timeNs;
  }

  #probe(place: Place, { id, entryOffset }: Executable, sinceNs: bigint, record: (event: string) => void): void {
    const event = `${this.#group}/exec_${process.pid}_${this.#defined++}`;
    const at = `${pathOf(place)}:0x${entryOffset.toString(16)}`;
    try {
      define(this.#tracefs, event, at, fetchArguments(this.#machine.stack));
      this.#files.set(id, { device: place.device, event, sinceNs });
      record(event);
    } catch {
      // Too many of all tools together, or a filesystem that cannot be probed: programs of this file are visited.
      this.remove(event);
      this.#refuse(id);
    }
  }

  /**
   * Those on filesystems that no process has its root or its program on any more: a definition keeps a filesystem busy,
   * and a container's is to be unmounted. That of the machine's own root stays.
   */
  unused(): string[] {
    const elsewhere = [...this.#files.values()].filter(({ device }) => device !== this.#rootDevice);
    if (elsewhere.length === 0) return [];
    const unseen = new Set<string | undefined>(elsewhere.map(({ device }) => device));
    const known: KnownDevices = new Map();
    const users: number[] = [];
    const see = (pid: number) => {
      const uses = LINKS.map((link) => unseen.delete(deviceAt(pid, link, known)));
      if (uses.includes(true)) users.push(pid);
    };
    // Nearly always those that used them before still do.
    this.#users.forEach(see);
    if (unseen.size > 0) for (const pid of pids('/proc')) see(pid);
    this.#users = users;
    return elsewhere.filter(({ device }) => unseen.has(device)).map(({ event }) => event);
  }

  remove(event: string): void {
    for (const [id, file] of this.#files) if (file.event === event) this.#files.delete(id);
    undefine(this.#tracefs, event);
  }

  #admits({ id, isRoots }: Executable): boolean {
    return isRoots && this.#files.size < EXEC_PROBES_MAX && !this.#files.has(id) && !this.#refused.has(id);
  }

  #refuse(id: string): void {
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.add(id);
  }

  #own(file: Executable | undefined): Executable | undefined {
    return file?.machine === this.#machine.elf ? file : undefined;
  }
}
