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
import { BackplaneError } from '../../../errors.js';
import { EXEC_PROBE_AGAIN_MS, EXEC_PROBES_MAX } from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import { pids } from '../process-reader.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable, withExecutable } from './elf.js';
import type { ExecPoints } from './exec-points.js';
import { fetchArguments, fetchDigest, MACHINES, type Machine } from './probe-layout.js';

/** A dynamic linker that a process was started by. */
interface Linker {
  /** As its program names it, and by which the agent reaches it. */
  readonly interpreter: string;
  readonly path: string;
  readonly file: Executable;
}

/** An event's: in which file, by device and inode, at which place, and what is fetched. */
const NAME = /^exec_(\d+)_\d+_[0-9a-f]+_([0-9a-f]+)$/;

interface ProbedFile {
  readonly device: number;
  /** `group/event` of its definition. */
  readonly event: string;
  /** Trace clock: execs after it are copied. */
  readonly sinceNs: bigint;
  /** By which process it was last found, and as what; undefined for an earlier agent's. */
  found: { readonly pid: number; readonly interpreter: string } | undefined;
}

/** Files that were refused are not tried again soon: so many are remembered. */
const REFUSED_MAX = 256;
const LINKS_MAX = 16;

export class LinkerPoints implements ExecPoints {
  readonly by = 'uprobe';
  /** By the events' names. */
  readonly #files = new Map<string, ProbedFile>();
  /** Until when, by the trace clock. */
  readonly #refused = new Map<string, bigint>();
  readonly #rootDevice = statSync('/').dev;

  readonly #tracefs: string;
  readonly #group: string;
  readonly #machine: Machine;
  readonly #fetch: string;

  /** Throws `failed_precondition` where there are no uprobes. */
  constructor(tracefs: string, group: string) {
    const machine = MACHINES[process.arch];
    if (machine === undefined || !existsSync(join(tracefs, 'uprobe_events')))
      throw new BackplaneError('failed_precondition', `this kernel has no uprobes on ${process.arch}`);
    this.#tracefs = tracefs;
    this.#group = group;
    this.#machine = machine;
    this.#fetch = fetchArguments(machine.stack);
  }

  get events(): string[] {
    return [...this.#files.values()].map(({ event }) => event);
  }

  /** A definition keeps its file, so that no other one has got its device and inode. */
  adopt(event: string, nowNs: bigint): boolean {
    const name = event.slice(this.#group.length + 1);
    const [, device, fetch] = NAME.exec(name) ?? [];
    if (device === undefined || fetch !== fetchDigest(this.#fetch)) return false;
    this.#files.set(name, { device: Number(device), event, sinceNs: nowNs, found: undefined });
    return true;
  }

  /** The linker's, if it has none yet. */
  define(pid: number, nowNs: bigint, record: (event: string) => void): void {
    const linker = this.#linkerOf(pid);
    const known = linker && this.#files.get(this.#nameOf(linker.file));
    if (known) known.found = { pid, interpreter: linker.interpreter };
    if (linker === undefined || !this.#admits(linker.file, nowNs)) return;
    let file: ProbedFile | undefined;
    try {
      file = this.#add(linker, pid, nowNs);
      if (file) record(file.event);
    } catch (cause) {
      // Too many of all tools together, or a filesystem that cannot be probed: programs of this file are visited.
      if (file) this.remove(file.event);
      this.#refuse(this.#nameOf(linker.file), nowNs);
      if (this.#files.size === 0) throw cause;
    }
  }

  copies(pid: number, timeNs: bigint): boolean {
    const linker = this.#linkerOf(pid);
    const known = linker && this.#files.get(this.#nameOf(linker.file));
    return known !== undefined && known.sinceNs < timeNs;
  }

  /**
   * Those on filesystems that no process has its root or its program on any more: a definition keeps a filesystem busy,
   * and a container's is to be unmounted. That of the machine's own root stays.
   */
  unused(): string[] {
    const elsewhere = [...this.#files.values()].filter(({ device }) => device !== this.#rootDevice);
    if (elsewhere.length === 0) return [];
    const used = new Map<number | undefined, number>();
    for (const pid of pids('/proc')) {
      used.set(deviceOf(`/proc/${pid}/root`), pid);
      used.set(deviceOf(`/proc/${pid}/exe`), pid);
    }
    for (const file of elsewhere) {
      const pid = used.get(file.device);
      if (pid !== undefined && file.found && !existsSync(`/proc/${file.found.pid}`))
        file.found = { ...file.found, pid };
    }
    return elsewhere.filter(({ device }) => !used.has(device)).map(({ event }) => event);
  }

  /** An upgrade renames another file to a linker's name: found by a process that goes on, with programs that end at once. */
  replaced(): number[] {
    const found = [...this.#files.values()].flatMap(({ device, found }) => {
      if (found === undefined) return [];
      // The machine's own root has some that do not end.
      const processes = device === this.#rootDevice ? [found.pid, process.pid, 1] : [found.pid];
      return processes.flatMap((pid) => {
        const path = within(`/proc/${pid}/root`, found.interpreter);
        const file = path === undefined ? undefined : readExecutable(path);
        return file === undefined || this.#files.has(this.#nameOf(file)) ? [] : [pid];
      });
    });
    return [...new Set(found)];
  }

  remove(event: string): void {
    for (const [name, file] of this.#files) if (file.event === event) this.#files.delete(name);
    undefine(this.#tracefs, event);
  }

  /** The linker of a process that lives; undefined where it has none, or one of another kind (32 bits). */
  #linkerOf(pid: number): Linker | undefined {
    const program = this.#own(readExecutable(`/proc/${pid}/exe`));
    if (program?.interpreter === undefined) return undefined;
    const path = within(`/proc/${pid}/root`, program.interpreter);
    const file = path === undefined ? undefined : this.#own(readExecutable(path));
    return file && { path: path!, file, interpreter: program.interpreter };
  }

  #admits(file: Executable, nowNs: bigint): boolean {
    const name = this.#nameOf(file);
    if (!file.isRoots || this.#files.size >= EXEC_PROBES_MAX || this.#files.has(name)) return false;
    return (this.#refused.get(name) ?? 0n) <= nowNs;
  }

  #refuse(name: string, nowNs: bigint): void {
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.set(name, nowNs + msToNs(EXEC_PROBE_AGAIN_MS));
  }

  /** Throws what the kernel says. Undefined where another file is there by now. */
  #add({ path, file, interpreter }: Linker, pid: number, sinceNs: bigint): ProbedFile | undefined {
    let failure: unknown;
    const name = this.#nameOf(file);
    const probed = withExecutable(path, (found, own) => {
      if (this.#nameOf(found) !== name) return undefined;
      const event = `${this.#group}/${name}`;
      try {
        define(this.#tracefs, event, `${own}:0x${found.entryOffset.toString(16)}`, this.#fetch);
      } catch (cause) {
        failure = cause;
        return undefined;
      }
      return { device: Number(file.device), event, sinceNs, found: { pid, interpreter } };
    });
    if (failure !== undefined) throw failure;
    if (probed) this.#files.set(name, probed);
    return probed;
  }

  #nameOf({ device, inode, entryOffset }: Executable): string {
    return `exec_${device}_${inode}_${entryOffset.toString(16)}_${fetchDigest(this.#fetch)}`;
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
