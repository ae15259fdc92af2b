/**
 * Files that watched programs run or name. Their filesystem may be one that a user answers for (FUSE), or a server that is
 * gone (NFS): whoever asks it anything, as `stat` does, waits as long as that likes. So a file is first opened as a place
 * alone (O_PATH), which asks no filesystem; the kernel says which mount that is in; and it is asked further only where the
 * kernel itself answers for the filesystem. Loaded by the exec lane's workers: imports as little as it can.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';

/** <fcntl.h> on x86-64 and arm64; Node does not name it. */
const O_PATH = 0o10000000;
/** Types of filesystems for which nobody but the kernel answers, from a disk or from memory. */
const ANSWERING: ReadonlySet<string> = new Set(
  (
    'ext2 ext3 ext4 xfs btrfs f2fs zfs bcachefs jfs reiserfs nilfs2 vfat exfat ubifs jffs2 ' +
    'tmpfs devtmpfs ramfs rootfs squashfs erofs cramfs romfs iso9660 udf'
  ).split(' '),
);
/** Asks the filesystems below it; in a user namespace of their own, users mount it over what they like. */
const STACKED = 'overlay';
const LINKS_MAX = 16;
const PARTS_MAX = 128;

interface Mount {
  /** `major:minor` of its filesystem. */
  readonly device: string;
  readonly answers: boolean;
  readonly stacked: boolean;
}

/** A file as a place alone, open as long as it is used. */
export interface Place {
  /** With O_PATH. */
  readonly fd: number;
  readonly device: string;
  /** On an overlay: several may show one file, each with a device of its own. */
  readonly stacked: boolean;
}

/** Leads to this very file as long as it is open: whoever named it may put another there meanwhile. */
export function pathOf({ fd }: Place): string {
  return `/proc/self/fd/${fd}`;
}

/**
 * Calls `use` with the file that a link of `/proc/PID` leads to, if nobody can make who asks its filesystem wait; else
 * undefined.
 */
export function atLink<Result>(pid: number, link: 'exe' | 'cwd', use: (place: Place) => Result): Result | undefined {
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
 * Calls `use` with a file where a filesystem is mounted that others may want to unmount, or with the same file below this
 * agent's own root: a directory of the root's filesystem may be mounted elsewhere, too, as the root of a container.
 */
export function atOwnRoot<Result>(pid: number, place: Place, use: (place: Place) => Result): Result | undefined {
  const name = nameOnDevice(pid, place);
  const file = fstatSync(place.fd, { bigint: true });
  const isSame = ({ fd }: Place) => {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === file.dev && ino === file.ino;
  };
  return name === undefined ? undefined : atName(process.pid, name, (own) => (isSame(own) ? use(own) : undefined));
}

/** Where its filesystem has a file, from that one's root on. */
function nameOnDevice(pid: number, { fd }: Place): string | undefined {
  const id = mountId(fd);
  // A process that has changed its root has what is mounted by names from there; the link is as this agent sees it.
  const mount = mountIn('self', id) ?? mountIn(String(pid), id);
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  if (mount === undefined) return undefined;
  const point = mount.point === '/' ? '' : mount.point;
  return path.startsWith(`${point}/`) ? `${mount.root}/${path.slice(point.length)}` : undefined;
}

/** By number of a mount, as long as a look at many processes takes. */
export type KnownDevices = Map<string, string | undefined>;

/** `major:minor` of the filesystem that a link of `/proc/PID` leads to, without asking that anything. */
export function deviceAt(pid: number, link: 'exe' | 'root', known: KnownDevices): string | undefined {
  let fd = -1;
  try {
    fd = openSync(`/proc/${pid}/${link}`, O_PATH);
    const id = mountId(fd);
    if (!known.has(id)) known.set(id, (mountIn(String(pid), id) ?? mountIn('self', id))?.device);
    return known.get(id);
  } catch {
    return undefined;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
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
    return mount?.answers ? { fd, device: mount.device, stacked: mount.stacked } : undefined;
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

interface MountLine {
  readonly device: string;
  /** The directory of the filesystem that is mounted, and where. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
}

/** Blanks and the like, as the kernel writes them in lists. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The same, "/proc/<pid>/mountinfo": `id parent device root place options … - type source options`. */
function mountIn(process: string, id: string): MountLine | undefined {
  try {
    const text = readFileSync(`/proc/${process}/mountinfo`, 'utf8');
    const line = new RegExp(`^${id} \\d+ (\\d+:\\d+) (\\S+) (\\S+) .* - (\\S+) `, 'm');
    const [, device, root, point, type] = line.exec(text) ?? [];
    if (device === undefined || root === undefined || point === undefined || type === undefined) return undefined;
    return { device, root: unescaped(root), point: unescaped(point), type };
  } catch {
    return undefined;
  }
}

/** Where filesystems are mounted for which the kernel answers, as this agent sees them, but the root's; the newest first. */
export function mountPoints(): string[] {
  const points: string[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [, device, point, type = ''] = /^\d+ \d+ (\d+:\d+) \/ (\S+) .* - (\S+) /.exec(line) ?? [];
    if (point !== undefined && device !== rootDevice() && (ANSWERING.has(type) || type === STACKED))
      points.unshift(unescaped(point));
  }
  return points;
}

/** Of a mount that a process does not see it says nothing. */
function mountSeenBy(process: string, id: string): Mount | undefined {
  const found = mountIn(process, id);
  if (!found) return undefined;
  const { device, type } = found;
  const isKernels = ANSWERING.has(type) || device === rootDevice();
  // The user namespace is looked at last: no process comes back from one.
  const stacked = type === STACKED;
  return { device, answers: isKernels || (stacked && userSpace(process) === userSpace('self')), stacked };
}

function userSpace(process: string): string {
  return readlinkSync(`/proc/${process}/ns/user`);
}

let ownRoot: string | undefined;

/** If that does not answer, nothing does. */
function rootDevice(): string {
  if (ownRoot !== undefined) return ownRoot;
  const fd = openSync('/', O_PATH);
  ownRoot = mountIn('self', mountId(fd))?.device ?? '';
  closeSync(fd);
  return ownRoot;
}
