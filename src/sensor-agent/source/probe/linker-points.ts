/**
 * Probes at the first instruction of the dynamic linkers of all that runs (Documentation/trace/uprobetracer.rst), where
 * the stack pointer points to what the exec has written. A container has files of its own, so they are told apart by
 * device and inode, and reached through the root of a process that uses them.
 *
 * Only files that nobody but root can write. The kernel remembers by inode what it replaced by its breakpoint: where a
 * probed file is overwritten in place, programs of it crash. Linkers are replaced by renaming; for programs that start
 * without one nobody promises that, so they have no probe.
 */
import { closeSync, existsSync, fstatSync, openSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Architecture, OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { BackplaneError } from '../../../errors.js';
import {
  EXEC_PROBE_AGAIN_MS,
  EXEC_PROBE_IDLE_NS,
  EXEC_PROBE_KEPT_NS,
  EXEC_PROBE_USELESS_NS,
  EXEC_PROBES_MAX,
  EXEC_SEEK_CPU_BURST_MS,
  EXEC_SEEK_CPU_SHARE,
} from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import { ShortWork } from '../exec/short-work.js';
import { atLayers } from '../layers.js';
import { OverlayWatch } from '../overlay-watch.js';
import {
  atLink,
  atMount,
  atName,
  atOwnRoot,
  deviceAt,
  type KnownMounts,
  mountPoints,
  O_PATH,
  type Place,
  pathOf,
} from '../places.js';
import { pids } from '../process-reader.js';
import { define, undefine } from './definitions.js';
import { type Executable, readExecutable } from './elf.js';
import type { ExecPoints } from './exec-points.js';
import { fetchArguments, fetchDigest } from './probe-layout.js';

/** An event's: in which file, by its filesystem and by device and inode, at which place, and what is fetched. */
const NAME = /^exec_(\d+)_(\d+)_[0-9a-f]+_[0-9a-f]+_[0-9a-f]+_([0-9a-f]+)$/;

interface ProbedFile {
  /** `major:minor` of its filesystem. */
  readonly device: string;
  /** `group/event` of its definition. */
  readonly event: string;
  /** Trace clock: execs after it are copied. */
  readonly sinceNs: bigint;
  /** When it last copied an exec, or was defined. */
  usedNs: bigint;
  /** By which process it was last found, and as what; undefined for an earlier agent's. */
  found: { readonly pid: number; readonly interpreter: string } | undefined;
  /** Itself, as a place alone, on the root's own filesystem: a removed image's file is known by its having no name left. */
  readonly fd?: number | undefined;
  /** Where that is mounted in which it was found by the name of a program that had ended. */
  soughtAt?: string;
}

/** Names of linkers that are looked for in each root, and roots that are remembered. */
const NAMES_MAX = 16;
const ROOTS_MAX = 256;
/** Names of programs that were sought in what is mounted, and how much of that. */
const SOUGHT_MAX = 256;
const MOUNTS_MAX = 64;
/** Files that were refused are not tried again soon: so many are remembered. */
const REFUSED_MAX = 256;
/** Where a process uses a filesystem, for its linker's sake. */
const LINKS = ['root', 'exe'] as const;
/** The stack pointer, as fetch arguments name it on every architecture. At the first instruction it points to argc. */
const STACK = '%sp';
/** Of every linker. */
const FETCH = fetchArguments(STACK);

export class LinkerPoints implements ExecPoints {
  readonly by = 'uprobe';
  /** By the events' names. */
  readonly #files = new Map<string, ProbedFile>();
  /** Until when, by the trace clock. */
  readonly #refused = new Map<string, bigint>();
  /** By what overlays show of a file: the one of them by which it is probed. */
  readonly #overlaid = new Map<string, { readonly name: string; isShared: boolean }>();
  /** By mount namespace and root, until when they are not looked through again, by the trace clock. */
  readonly #roots = new Map<string, bigint>();
  /**
   * By name of a program with what is mounted, and by where something is mounted, until when it is not sought (there)
   * again, by the trace clock.
   */
  readonly #sought = new Map<string, bigint>();
  /** Of linkers, where most have them, and where some here do. */
  readonly #names: Set<string>;
  /** By filesystem that is not the root's, a process that has its root or its program there. */
  #users: ReadonlyMap<string, number> = new Map();
  /** By name in this agent's own root, how the file there looked when it was found to be probed: it need not be walked to again. */
  readonly #asProbed = new Map<string, string>();
  /** Whether a file was found since the last look for which there was no room. */
  #isCrowded = false;
  readonly #overlays = new OverlayWatch();
  readonly #rootDevice = deviceAt(process.pid, 'root', new Map());

  readonly #tracefs: string;
  readonly #group: string;
  readonly #architecture: Architecture;

  /** Where much is mounted it takes long, and whoever starts programs of ever new names wants it for each. */
  readonly #seeking: ShortWork;

  /** Throws `failed_precondition` where there are no uprobes. */
  constructor(
    tracefs: string,
    group: string,
    seeking = new ShortWork(EXEC_SEEK_CPU_SHARE, EXEC_SEEK_CPU_BURST_MS, EXEC_SEEK_CPU_BURST_MS),
  ) {
    if (OWN_ARCHITECTURE === undefined || !existsSync(join(tracefs, 'uprobe_events')))
      throw new BackplaneError('failed_precondition', `this kernel has no uprobes on ${process.arch}`);
    this.#tracefs = tracefs;
    this.#group = group;
    this.#architecture = OWN_ARCHITECTURE;
    this.#seeking = seeking;
    this.#names = new Set(OWN_ARCHITECTURE.linkers);
  }

  get events(): string[] {
    return [...this.#files.values()].map(({ event }) => event);
  }

  /** A definition keeps its file, so that no other one has got its device and inode. */
  adopt(event: string, nowNs: bigint): boolean {
    const name = event.slice(this.#group.length + 1);
    const [, major, minor, fetch] = NAME.exec(name) ?? [];
    if (fetch !== fetchDigest(FETCH)) return false;
    this.#files.set(name, { device: `${major}:${minor}`, event, sinceNs: nowNs, usedNs: nowNs, found: undefined });
    return true;
  }

  /**
   * The linker's, if it has none yet; and those of the other linkers that a process's root has at usual places: who is
   * seen there may need none, and whom it starts end before they are looked up.
   */
  define(pid: number, nowNs: bigint, record: (event: string) => void): (timeNs: bigint) => boolean {
    const { interpreter } = this.#own(atLink(pid, 'exe', readExecutable)) ?? {};
    const name = interpreter === undefined ? undefined : this.#defineAt(pid, interpreter, nowNs, record);
    if (this.#isNewRoot(pid, nowNs))
      for (const other of this.#names) if (other !== interpreter) this.#defineAt(pid, other, nowNs, record);
    if (name !== undefined) this.#note(interpreter!);
    return (timeNs) => name !== undefined && (this.#files.get(name)?.sinceNs ?? timeNs) < timeNs;
  }

  /**
   * The linker of a program that has ended: what is mounted somewhere may be the root that it had, and have a program of
   * its name. Nothing uses that now, so that it goes soon unless the next program is about to start; where none was,
   * it is left alone for a while, as it could not be unmounted meanwhile.
   */
  seek(filename: string, nowNs: bigint, record: (event: string) => void): void {
    if (filename.startsWith('/')) this.#seeking.run(() => this.#seek(filename, nowNs, record));
  }

  #seek(filename: string, nowNs: bigint, record: (event: string) => void): void {
    const points = mountPoints().slice(0, MOUNTS_MAX);
    // Nor what was sought just now among the same.
    const sought = [filename, ...points].join('\0');
    if ((this.#sought.get(sought) ?? 0n) > nowNs) return;
    if (this.#sought.size >= SOUGHT_MAX) this.#sought.clear();
    this.#sought.set(sought, nowNs + EXEC_PROBE_KEPT_NS);
    const here = this.#own(atName(process.pid, filename, readExecutable));
    // It is that one, which has no linker.
    if (here !== undefined && here.interpreter === undefined) return;
    for (const point of points) {
      const { interpreter } = this.#own(atMount(point, filename, readExecutable)) ?? {};
      if (interpreter === undefined || (this.#sought.get(point) ?? 0n) > nowNs) continue;
      const found = { pid: process.pid, interpreter: join(point, interpreter) };
      const name = atMount(point, interpreter, (place) => this.#defineIn(place, found, nowNs, record));
      const file = name === undefined ? undefined : this.#files.get(name);
      if (file?.sinceNs === nowNs) file.soughtAt = point;
      if (file) this.#note(interpreter);
    }
  }

  /** Only in layers: who mounts something else may want to unmount it before anything runs there. */
  prepare(nowMs: number, nowNs: bigint, startedMs: number, record: (event: string) => void): void {
    for (const point of this.#overlays.fresh(nowMs, startedMs))
      for (const name of this.#names)
        atMount(point, name, (place) => {
          const file = place.stacked ? this.#own(readExecutable(place)) : undefined;
          if (file) this.#probeLayer(place, file, process.pid, nowNs, record);
        });
  }

  /** Where a linker was found. */
  #note(interpreter: string): void {
    if (this.#names.size < NAMES_MAX) this.#names.add(interpreter);
  }

  #defineAt(pid: number, interpreter: string, nowNs: bigint, record: (event: string) => void): string | undefined {
    return atName(pid, interpreter, (place) => this.#defineIn(place, { pid, interpreter }, nowNs, record));
  }

  #defineIn(
    place: Place,
    found: ProbedFile['found'],
    nowNs: bigint,
    record: (event: string) => void,
  ): string | undefined {
    const file = this.#own(readExecutable(place));
    if (file === undefined) return undefined;
    if (place.stacked) this.#probeLayer(place, file, found!.pid, nowNs, record);
    const own = this.#probedAs(place, file);
    if (this.#admits(own, file, nowNs)) this.#probeOnRoot(own, place, found!.pid, file, nowNs, record);
    const known = this.#files.get(own);
    // Nobody replaces a layer's file.
    if (known && !(place.stacked && known.device === this.#rootDevice)) known.found = found;
    return own;
  }

  /** What an overlay shows of a layer on the root's own filesystem is probed there, where it keeps nothing busy. */
  #probeLayer(place: Place, shown: Executable, pid: number, nowNs: bigint, record: (event: string) => void): void {
    const key = keyOf(shown);
    if (this.#files.has(this.#overlaid.get(key)?.name ?? '')) return;
    const name = atLayers(pid, place, (layer) => {
      const file = layer.device === this.#rootDevice ? this.#own(readExecutable(layer)) : undefined;
      if (file?.changedNs !== shown.changedNs || file.entryOffset !== shown.entryOffset) return undefined;
      const own = this.#nameOf(layer, file);
      if (this.#admits(own, file, nowNs)) this.#probeOnRoot(own, layer, process.pid, file, nowNs, record);
      return own;
    });
    if (name !== undefined && this.#files.has(name)) this.#overlay(key, { name, isShared: false });
  }

  #overlay(key: string, first: { readonly name: string; isShared: boolean }): void {
    if (this.#overlaid.size >= ROOTS_MAX) this.#overlaid.clear();
    this.#overlaid.set(key, first);
  }

  /**
   * A file's name, or that by which it is probed already: containers of one image show one file through overlays of their
   * own, and a breakpoint in one is in all.
   */
  #probedAs(place: Place, file: Executable): string {
    const own = this.#nameOf(place, file);
    if (!place.stacked) return own;
    const key = keyOf(file);
    const first = this.#overlaid.get(key);
    if (first === undefined || !this.#files.has(first.name)) {
      this.#overlay(key, { name: own, isShared: false });
      return own;
    }
    if (this.#files.has(own) || first.name === own) return own;
    first.isShared = true;
    return first.name;
  }

  /** Those that are about to go: whether others are probed by one of them, and have to be by one of their own. */
  leave(events: readonly string[]): boolean {
    let wasShared = false;
    for (const [key, { name, isShared }] of this.#overlaid) {
      const event = `${this.#group}/${name}`;
      if (!events.includes(event)) continue;
      this.#overlaid.delete(key);
      wasShared ||= isShared && this.isForeign(event);
    }
    if (wasShared) this.#roots.clear();
    return wasShared;
  }

  /** Whether a process's root was not looked through, or not for a while. */
  #isNewRoot(pid: number, nowNs: bigint): boolean {
    let root: string;
    try {
      root = ['ns/mnt', 'root'].map((link) => readlinkSync(`/proc/${pid}/${link}`)).join('\0');
    } catch {
      return false;
    }
    if ((this.#roots.get(root) ?? 0n) > nowNs) return false;
    if (this.#roots.size >= ROOTS_MAX) this.#roots.clear();
    this.#roots.set(root, nowNs + msToNs(EXEC_PROBE_AGAIN_MS));
    return true;
  }

  /** What is on the root's own filesystem is probed by its place there: no other place where it is mounted is kept busy. */
  #probeOnRoot(
    name: string,
    place: Place,
    pid: number,
    file: Executable,
    nowNs: bigint,
    record: (event: string) => void,
  ): void {
    const probe = (where: Place) => this.#probe(name, where, file, nowNs, record);
    // Elsewhere it would keep a mount busy for good: what has to go is known by its filesystem.
    if (place.device === this.#rootDevice) atOwnRoot(pid, place, probe);
    else probe(place);
  }

  /** Throws what the kernel says where no other is probed. */
  #probe(
    name: string,
    place: Place,
    { entryOffset }: Executable,
    nowNs: bigint,
    record: (event: string) => void,
  ): void {
    const event = `${this.#group}/${name}`;
    let isDefined = false;
    try {
      define(this.#tracefs, event, `${pathOf(place)}:0x${entryOffset.toString(16)}`, FETCH);
      isDefined = true;
      record(event);
      const fd = place.device === this.#rootDevice ? openSync(pathOf(place), O_PATH) : undefined;
      this.#files.set(name, { device: place.device, event, sinceNs: nowNs, usedNs: nowNs, found: undefined, fd });
    } catch (cause) {
      // Too many of all tools together, or a filesystem that cannot be probed: programs of this file are visited.
      if (isDefined) this.remove(event);
      this.#refuse(name, nowNs);
      if (this.#files.size === 0) throw cause;
    }
  }

  isForeign(event: string): boolean {
    const [, major, minor] = NAME.exec(event.slice(this.#group.length + 1)) ?? [];
    return major !== undefined && `${major}:${minor}` !== this.#rootDevice;
  }

  used(event: string, timeNs: bigint): void {
    const file = this.#files.get(event.slice(this.#group.length + 1));
    if (file && file.usedNs < timeNs) file.usedNs = timeNs;
  }

  /**
   * Those on filesystems that no process has its root or its program on any more: a definition keeps a filesystem busy,
   * and a container's is to be unmounted. That of the machine's own root stays. Between two programs of a root, which
   * come one after the other, nobody has it either: so not those that just copied one. Where there is room for no other
   * file, also those that were removed, with their image, or the one that copied none for the longest time. Not sooner:
   * while definitions go nothing is recorded for a moment.
   */
  unused(nowNs: bigint): string[] {
    const unneeded = this.#unneeded().filter(({ usedNs }) => nowNs - usedNs > EXEC_PROBE_KEPT_NS);
    if (unneeded.length === 0 && this.#isCrowded) unneeded.push(...this.#removedFiles());
    if (unneeded.length === 0 && this.#isCrowded) unneeded.push(...this.#leastUsed(nowNs));
    this.#isCrowded = false;
    return unneeded.map(({ event }) => event);
  }

  #removedFiles(): ProbedFile[] {
    return [...this.#files.values()].filter(({ fd }) => fd !== undefined && fstatSync(fd).nlink === 0);
  }

  #leastUsed(nowNs: bigint): ProbedFile[] {
    const idle = [...this.#files.values()].filter(({ usedNs }) => nowNs - usedNs > EXEC_PROBE_IDLE_NS);
    return idle.sort((a, b) => (a.usedNs < b.usedNs ? -1 : 1)).slice(0, 1);
  }

  #unneeded(): ProbedFile[] {
    const elsewhere = [...this.#files.values()].filter(({ device }) => device !== this.#rootDevice);
    if (elsewhere.length === 0) return [];
    const unseen = new Set<string | undefined>(elsewhere.map(({ device }) => device));
    const known: KnownMounts = new Map();
    const users = new Map<string, number>();
    const see = (pid: number) => {
      for (const link of LINKS) {
        const device = deviceAt(pid, link, known);
        if (device !== undefined && unseen.delete(device)) users.set(device, pid);
      }
    };
    // Nearly always those that used them before still do.
    for (const pid of this.#users.values()) see(pid);
    if (unseen.size > 0) for (const pid of pids('/proc')) see(pid);
    this.#users = users;
    for (const file of elsewhere) {
      const pid = users.get(file.device);
      if (pid !== undefined && file.found && !existsSync(`/proc/${file.found.pid}`))
        file.found = { ...file.found, pid };
    }
    return elsewhere.filter(({ device }) => !users.has(device));
  }

  /** An upgrade renames another file to a linker's name: found by a process that goes on, with programs that end at once. */
  replaced(): number[] {
    const found = [...this.#files.values()].flatMap(({ device, found }) => {
      if (found === undefined) return [];
      // The machine's own root has some that do not end.
      const processes = device === this.#rootDevice ? [found.pid, process.pid, 1] : [found.pid];
      return processes.filter((pid) => {
        // A program's own name of it may lead, by now, to a filesystem that never answers.
        const isRoots = device === this.#rootDevice && this.#architecture.linkers.includes(found.interpreter);
        const look = isRoots && isInOwnRoot(pid) ? lookOf(found.interpreter) : undefined;
        if (look !== undefined && look === this.#asProbed.get(found.interpreter)) return false;
        const name = atName(pid, found.interpreter, (place) => {
          const file = readExecutable(place);
          return file && this.#probedAs(place, file);
        });
        const isProbed = name !== undefined && this.#files.has(name);
        if (look !== undefined && isProbed) this.#asProbed.set(found.interpreter, look);
        return name !== undefined && !isProbed;
      });
    });
    return [...new Set(found)];
  }

  remove(event: string): boolean {
    const name = event.slice(this.#group.length + 1);
    const file = this.#files.get(name);
    if (file?.soughtAt !== undefined && file.usedNs === file.sinceNs)
      this.#sought.set(file.soughtAt, file.sinceNs + EXEC_PROBE_USELESS_NS);
    if (file?.fd !== undefined) closeSync(file.fd);
    this.#files.delete(name);
    this.#roots.clear();
    this.#asProbed.clear();
    return undefine(this.#tracefs, event);
  }

  #admits(name: string, { isRoots }: Executable, nowNs: bigint): boolean {
    if (!isRoots || this.#files.has(name) || (this.#refused.get(name) ?? 0n) > nowNs) return false;
    if (this.#files.size < EXEC_PROBES_MAX) return true;
    this.#isCrowded = true;
    return false;
  }

  #refuse(name: string, nowNs: bigint): void {
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.set(name, nowNs + msToNs(EXEC_PROBE_AGAIN_MS));
  }

  #nameOf(place: Place, { device, inode, entryOffset }: Executable): string {
    const numbers = [device, inode, entryOffset].map((each) => each.toString(16));
    return `exec_${place.device.replace(':', '_')}_${numbers.join('_')}_${fetchDigest(FETCH)}`;
  }

  #own(file: Executable | undefined): Executable | undefined {
    return file?.machine === this.#architecture.elf ? file : undefined;
  }
}

/** Whether a process reaches files by the same names as this one. */
function isInOwnRoot(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    const mounts = (of: number | 'self') => readlinkSync(`/proc/${of}/ns/mnt`);
    return readlinkSync(`/proc/${pid}/root`) === '/' && mounts(pid) === mounts('self');
  } catch {
    return false;
  }
}

/** Which file it is, and when it last changed. Asks whatever filesystem the path leads to. */
function lookOf(path: string): string | undefined {
  try {
    const { dev, ino, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, ctimeNs].join();
  } catch {
    return undefined;
  }
}

/** Of a file that overlays show. */
function keyOf({ inode, changedNs, entryOffset }: Executable): string {
  return [inode, changedNs, entryOffset].join();
}
