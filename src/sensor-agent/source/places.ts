/**
 * Files that watched programs run or name. Their filesystem may be one that a user answers for (FUSE), or a server that is
 * gone (NFS): whoever asks it anything, as `stat` does, waits as long as that likes. So a file is first opened as a place
 * alone (O_PATH), which asks no filesystem; the kernel says which mount that is in; and it is asked further only where the
 * kernel itself answers for the filesystem. Loaded by the exec lane's workers: imports as little as it can.
 */
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { MOUNT_LAYERS_MAX, OVERLAYS_KNOWN_MAX } from '../../limits.js';
import { allLayersOf, type MountLine, mountIn, OVERLAY, ownMounts } from './mounts.js';

/** <fcntl.h> on x86-64 and arm64; Node does not name it. */
export const O_PATH = 0o10000000;
/** Types of filesystems for which nobody but the kernel answers, from a disk or from memory. */
const ANSWERING: ReadonlySet<string> = new Set(
  (
    'ext2 ext3 ext4 xfs btrfs f2fs zfs bcachefs jfs reiserfs nilfs2 vfat exfat ubifs jffs2 ' +
    'tmpfs devtmpfs ramfs rootfs squashfs erofs cramfs romfs iso9660 udf'
  ).split(' '),
);
/** Each subvolume has a device of its own, by which it is told from others that are mounted and unmounted one by one. */
const SUBVOLUMES = 'btrfs';
const LINKS_MAX = 16;
const PARTS_MAX = 128;

interface Mount {
  readonly line: MountLine;
  readonly answers: boolean;
}

/** A file as a place alone, open as long as it is used. */
export interface Place {
  /** With O_PATH. */
  readonly fd: number;
  /** `major:minor` of its filesystem, or of its subvolume. */
  readonly device: string;
  /** On an overlay: several may show one file, each with a device of its own. */
  readonly stacked: boolean;
}

/** Leads to this very file as long as it is open: whoever named it may put another there meanwhile. */
export function pathOf({ fd }: Place): string {
  return `/proc/self/fd/${fd}`;
}

/** Of a link in `/proc/PID`, below it. */
export type LinkName = 'exe' | 'cwd' | `fd/${number}`;

/**
 * Calls `use` with the file that a link of `/proc/PID` leads to, if nobody can make who asks its filesystem wait; else
 * undefined.
 */
export function atLink<Result>(pid: number, link: LinkName, use: (place: Place) => Result): Result | undefined {
  return new Walk(pid).run((walk) => walk.answering(walk.open(`/proc/${pid}/${link}`, 0)), use);
}

/** The same with the file that a process reaches by a name, from its own root: all on the way must be so. */
export function atName<Result>(pid: number, name: string, use: (place: Place) => Result): Result | undefined {
  return new Walk(pid).run((walk) => walk.follow(name), use);
}

/** The same with the file that a program reaches by a name whose root is where something is mounted, as this agent sees it. */
export function atMount<Result>(point: string, name: string, use: (place: Place) => Result): Result | undefined {
  return new Walk(process.pid).run((walk) => {
    const root = walk.follow(point);
    return root && walk.follow(name, root);
  }, use);
}

/**
 * Calls `use` with a file of the root's filesystem where nobody wants to unmount that: a directory of it may be mounted
 * elsewhere, too, as the root of a container. That is below this agent's own root, or, where that is no more than a
 * directory or a subvolume of the filesystem, in another mount of this agent's that shows more of it.
 */
export function atOwnRoot<Result>(pid: number, place: Place, use: (place: Place) => Result): Result | undefined {
  const { mount, name } = placeOnMount(pid, place) ?? {};
  if (mount === undefined || name === undefined) return undefined;
  const file = fstatSync(place.fd, { bigint: true });
  const isSame = ({ fd }: Place) => {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === file.dev && ino === file.ino;
  };
  const whole = `${mount.root === '/' ? '' : mount.root}${name}`;
  for (const own of wider(mount)) {
    const root = own.root === '/' ? '' : own.root;
    if (!whole.startsWith(`${root}/`)) continue;
    const found = atMount(own.point, whole.slice(root.length), (same) =>
      isSame(same) ? { of: use(same) } : undefined,
    );
    if (found) return found.of;
  }
  return undefined;
}

/** This agent's root, and its other mounts that show more of a filesystem than one does; what shows most comes first. */
function wider({ device, root }: MountLine): readonly MountLine[] {
  const shows = (own: MountLine) => own.device === device && (own.point === '/' || own.root.length < root.length);
  const [first, others] = [ownRoot(), ownMounts().filter((own) => own.point !== '/' && shows(own))];
  return [...(first && shows(first) ? [first] : []), ...others.sort((a, b) => a.root.length - b.root.length)];
}

/** In which mount a file is that a process sees, and where below its root. */
export function placeOnMount(pid: number, { fd }: Place): { mount: MountLine; name: string } | undefined {
  const id = mountId(fd);
  // A process that has changed its root has what is mounted by names from there; the link is as this agent sees it.
  const mount = mountIn('self', id) ?? mountIn(String(pid), id);
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  if (mount === undefined) return undefined;
  const point = mount.point === '/' ? '' : mount.point;
  return path.startsWith(`${point}/`) ? { mount, name: path.slice(point.length) } : undefined;
}

/** By number of a mount, as long as a look at many processes takes. */
export type KnownMounts = Map<string, MountLine | undefined>;

/**
 * `major:minor` of the filesystem, or subvolume, that a link of `/proc/PID` leads to; it is asked nothing unless the
 * kernel answers.
 */
export function deviceAt(pid: number, link: 'exe' | 'root', known: KnownMounts): string | undefined {
  let fd = -1;
  try {
    fd = openSync(`/proc/${pid}/${link}`, O_PATH);
    const id = mountId(fd);
    if (!known.has(id)) known.set(id, mountIn(String(pid), id) ?? mountIn('self', id));
    const mount = known.get(id);
    return mount && deviceOf(fd, mount);
  } catch {
    return undefined;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** What a list of mounts says of it, but for subvolumes, which have one line's device in common. */
function deviceOf(fd: number, { type, device }: MountLine): string {
  if (type !== SUBVOLUMES) return device;
  const { dev } = fstatSync(fd, { bigint: true });
  // <sys/sysmacros.h>
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n);
  return `${major}:${minor}`;
}

/**
 * What is opened stays open until the end: the kernel gives the number of a mount to another only when nothing of it is
 * in use, so that what was once read of it holds.
 */
class Walk {
  readonly #pid: number;
  readonly #held: number[] = [];
  /** By number. */
  readonly #mounts = new Map<string, Mount>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  run<Found, Result>(find: (walk: Walk) => Found | undefined, use: (found: Found) => Result): Result | undefined {
    try {
      const found = this.#find(find);
      return found === undefined ? undefined : use(found);
    } finally {
      for (const fd of this.#held) closeSync(fd);
    }
  }

  #find<Found>(find: (walk: Walk) => Found): Found | undefined {
    try {
      return find(this);
    } catch {
      // Gone, or not for this agent to see.
      return undefined;
    }
  }

  open(path: string, flags: number): number {
    const fd = openSync(path, O_PATH | flags);
    this.#held.push(fd);
    return fd;
  }

  answering(fd: number): Place | undefined {
    const mount = this.mountOf(fd);
    if (!mount?.answers) return undefined;
    return { fd, device: deviceOf(fd, mount.line), stacked: mount.line.type === OVERLAY };
  }

  mountOf(fd: number): Mount | undefined {
    const id = mountId(fd);
    const known = this.#mounts.get(id);
    if (known) return known;
    const mount = mountSeenBy(String(this.#pid), id) ?? mountSeenBy('self', id);
    if (mount) this.#mounts.set(id, mount);
    return mount;
  }

  /** Links that begin with a slash stay below the root, which is the process's. */
  follow(name: string, below?: Place): Place | undefined {
    const root = below ?? this.answering(this.open(`/proc/${this.#pid}/root`, 0));
    if (root === undefined) return undefined;
    let taken: Place[] = [root];
    let left = partsOf(name);
    let links = 0;
    for (let parts = 0; left.length > 0; parts += 1) {
      if (parts === PARTS_MAX) return undefined;
      const [part = '', ...rest] = left;
      left = rest;
      if (part === '..') {
        if (taken.length > 1) taken.pop();
        continue;
      }
      const path = `${pathOf(taken.at(-1)!)}/${part}`;
      const place = this.answering(this.open(path, constants.O_NOFOLLOW));
      if (place === undefined) return undefined;
      if (!isLink(place)) {
        taken.push(place);
        continue;
      }
      if (++links > LINKS_MAX) return undefined;
      const target = readlinkSync(path);
      if (target.startsWith('/')) taken = [root];
      left = [...partsOf(target), ...left];
    }
    return taken.at(-1);
  }
}

function isLink({ fd }: Place): boolean {
  return (fstatSync(fd).mode & constants.S_IFMT) === constants.S_IFLNK;
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

const INFO_BYTES = 256;
const info = Buffer.alloc(INFO_BYTES);

/** Documentation/filesystems/proc.rst, "/proc/<pid>/fdinfo". Asked at each step: not by readFileSync, which takes thrice as long. */
function mountId(fd: number): string {
  const file = openSync(`/proc/self/fdinfo/${fd}`, 'r');
  try {
    const text = info.toString('latin1', 0, readSync(file, info, 0, INFO_BYTES, 0));
    return /^mnt_id:\s*(\d+)$/m.exec(text)?.[1] ?? '';
  } finally {
    closeSync(file);
  }
}

/** Where filesystems are mounted for which the kernel answers, as this agent sees them, but the root's; the newest first. */
export function mountPoints(): string[] {
  const isSought = ({ root, device, type }: MountLine) =>
    root === '/' && device !== ownRoot()?.device && (ANSWERING.has(type) || type === OVERLAY);
  return ownMounts()
    .filter(isSought)
    .map(({ point }) => point)
    .reverse();
}

/** Of a mount that a process does not see it says nothing. */
function mountSeenBy(process: string, id: string): Mount | undefined {
  const line = mountIn(process, id);
  if (!line) return undefined;
  const isKernels = ANSWERING.has(line.type) || line.device === ownRoot()?.device;
  // The user namespace is looked at behind the list: no process comes back from one.
  const answers =
    isKernels || (line.type === OVERLAY && userSpace(process) === userSpace('self') && layersAnswer(line));
  return { line, answers };
}

/** By device and options of an overlay: see layersAnswer(). */
const overlaysKnown = new Map<string, boolean>();

/**
 * Whether all layers of an overlay are on filesystems for which the kernel answers: what it shows it asks them. Their
 * names are those of the host, where most overlays are mounted; of what leads nowhere it is not known. An overlay keeps
 * the layers with which it was mounted.
 */
function layersAnswer({ device, options }: MountLine): boolean {
  const key = `${device} ${options}`;
  const known = overlaysKnown.get(key);
  if (known !== undefined) return known;
  if (overlaysKnown.size >= OVERLAYS_KNOWN_MAX) overlaysKnown.clear();
  // Where it is mounted over one of its layers that name leads to itself.
  overlaysKnown.set(key, false);
  const layers = allLayersOf(options);
  const isThere = (layer: string) => [process.pid, 1].some((pid) => atName(pid, layer, () => true));
  const answers = layers.length <= MOUNT_LAYERS_MAX && layers.every(isThere);
  overlaysKnown.set(key, answers);
  return answers;
}

function userSpace(process: string): string {
  return readlinkSync(`/proc/${process}/ns/user`);
}

let ownRootLine: { readonly line: MountLine | undefined } | undefined;

/** If that does not answer, nothing does. */
function ownRoot(): MountLine | undefined {
  if (ownRootLine === undefined) {
    const fd = openSync('/', O_PATH);
    ownRootLine = { line: mountIn('self', mountId(fd)) };
    closeSync(fd);
  }
  return ownRootLine.line;
}
