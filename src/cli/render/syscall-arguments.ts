/**
 * Formats the arguments of system calls for people, from registers and a table of each argument's kind. The memory
 * behind pointers was not recorded.
 */
import { constants } from 'node:os';
import { type Architecture, architectureOf } from '../../architecture/architecture.js';
import type { Flags, Names } from '../../architecture/tables.js';
import { commandName } from '../../text/command-names.js';
import {
  CLONE_FLAGS,
  FSOPEN_FLAGS,
  MEMFD_FLAGS,
  MOUNT_FLAGS,
  MOVE_MOUNT_FLAGS,
  openFlagsOf,
  PRCTL_OPTIONS,
  RENAME_FLAGS,
  UMOUNT_FLAGS,
  UNLINK_FLAGS,
} from './syscall-constants.js';

/** Formats an argument register of 64 bits without a sign, of a machine of that architecture, where it is known. */
type Kind = (register: bigint, architecture: Architecture | undefined) => string;

const SMALL = 1n << 20n;
const AT_FDCWD = -100n;
const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [BigInt(number), name]));
const SIGRTMIN = 34n;
const SIGNALS_MAX = 64n;
/** Old programs set this magic value in the upper half of mount's flags, where it means nothing. */
const MS_MGC_VAL = 0xc0ed_0000n;
const MS_MGC_MSK = 0xffff_0000n;
const CSIGNAL = 0xffn;
const O_ACCMODE = 3n;
const ACCESS_MODES = ['O_RDONLY', 'O_WRONLY', 'O_RDWR', '3'];

/** The kernel reads only 32 bits of the register; the upper ones are arbitrary. */
const int: Kind = (register) => String(BigInt.asIntN(32, register));
const long: Kind = (register) => String(BigInt.asIntN(64, register));
const size: Kind = (register) => String(register);
const mode: Kind = (register) => `0${BigInt.asUintN(32, register).toString(8)}`;
const pointer: Kind = (register) => (register === 0n ? 'NULL' : `0x${register.toString(16)}`);
const string: Kind = (register) => (register === 0n ? 'NULL' : '(string not readable)');
const descriptor: Kind = (register) => {
  const number = BigInt.asIntN(32, register);
  return number === AT_FDCWD ? 'AT_FDCWD' : String(number);
};

/**
 * For arguments of unknown kind: small numbers in decimal, all others in hexadecimal, as they are pointers or flags.
 */
const unknown: Kind = (register) => {
  const value = BigInt.asIntN(64, register);
  return value >= -SMALL && value < SMALL ? String(value) : `0x${register.toString(16)}`;
};

function signalText(number: bigint): string {
  if (number >= SIGRTMIN && number <= SIGNALS_MAX)
    return number === SIGRTMIN ? 'SIGRTMIN' : `SIGRTMIN+${number - SIGRTMIN}`;
  return SIGNAL_NAMES.get(number) ?? String(number);
}

const signal: Kind = (register) => signalText(BigInt.asIntN(32, register));

function oneOf(names: Names): Kind {
  return (register) => names.get(BigInt.asUintN(32, register)) ?? unknown(register, undefined);
}

function commandOf(call: string): Kind {
  return (register, architecture) => commandName(call, register, architecture) || unknown(register, undefined);
}

/** `A|B|0x400`: bits without a name stay a number; none is 0. */
function bits(value: bigint, flags: Flags): string {
  const parts: string[] = [];
  let rest = value;
  for (const [name, bit] of flags) {
    if ((rest & bit) !== bit) continue;
    parts.push(name);
    rest &= ~bit;
  }
  if (rest !== 0n || parts.length === 0) parts.push(rest === 0n ? '0' : `0x${rest.toString(16)}`);
  return parts.join('|');
}

function anyOf(flags: Flags): Kind {
  return (register) => bits(BigInt.asUintN(32, register), flags);
}

const mountFlags: Kind = (register) => {
  const flags = BigInt.asUintN(64, register);
  return bits((flags & MS_MGC_MSK) === MS_MGC_VAL ? flags & ~MS_MGC_MSK : flags, MOUNT_FLAGS);
};

/** clone's lowest byte is the signal that the parent gets. */
const cloneFlags: Kind = (register) => {
  const flags = bits(register & ~CSIGNAL, CLONE_FLAGS);
  const ending = register & CSIGNAL;
  if (ending === 0n) return flags;
  return flags === '0' ? signalText(ending) : `${flags}|${signalText(ending)}`;
};

const openFlags: Kind = (register, architecture) => {
  const flags = BigInt.asUintN(32, register);
  const rest = flags & ~O_ACCMODE;
  const access = ACCESS_MODES[Number(flags & O_ACCMODE)]!;
  return rest === 0n ? access : `${access}|${bits(rest, openFlagsOf(architecture))}`;
};

const PROCESS_VM: readonly Kind[] = [int, pointer, size, pointer, size, size];

/** By the call's name. Ids of users and groups are signed here: -1 leaves one as it is. */
const CALLS: Readonly<Record<string, readonly Kind[]>> = {
  ptrace: [commandOf('ptrace'), int, pointer, unknown],
  mount: [string, string, string, mountFlags, pointer],
  umount: [string, anyOf(UMOUNT_FLAGS)],
  umount2: [string, anyOf(UMOUNT_FLAGS)],
  fsopen: [string, anyOf(FSOPEN_FLAGS)],
  fsconfig: [descriptor, commandOf('fsconfig'), string, pointer, int],
  move_mount: [descriptor, string, descriptor, string, anyOf(MOVE_MOUNT_FLAGS)],
  open_tree: [descriptor, string, unknown],
  fsmount: [descriptor, unknown, unknown],
  fspick: [descriptor, string, unknown],
  mount_setattr: [descriptor, string, unknown, pointer, size],
  setns: [descriptor, anyOf(CLONE_FLAGS)],
  unshare: [anyOf(CLONE_FLAGS)],
  clone: [cloneFlags, pointer, pointer, pointer, pointer],
  clone3: [pointer, size],
  bpf: [commandOf('bpf'), pointer, size],
  memfd_create: [string, anyOf(MEMFD_FLAGS)],
  process_vm_readv: PROCESS_VM,
  process_vm_writev: PROCESS_VM,
  setuid: [int],
  setgid: [int],
  setreuid: [int, int],
  setregid: [int, int],
  setresuid: [int, int, int],
  setresgid: [int, int, int],
  kill: [int, signal],
  tkill: [int, signal],
  tgkill: [int, int, signal],
  prctl: [oneOf(PRCTL_OPTIONS), unknown, unknown, unknown, unknown],
  open: [string, openFlags, mode],
  openat: [descriptor, string, openFlags, mode],
  openat2: [descriptor, string, pointer, size],
  creat: [string, mode],
  close: [descriptor],
  read: [descriptor, pointer, size],
  write: [descriptor, pointer, size],
  lseek: [descriptor, long, int],
  unlink: [string],
  unlinkat: [descriptor, string, anyOf(UNLINK_FLAGS)],
  rmdir: [string],
  mkdir: [string, mode],
  mkdirat: [descriptor, string, mode],
  rename: [string, string],
  renameat: [descriptor, string, descriptor, string],
  renameat2: [descriptor, string, descriptor, string, anyOf(RENAME_FLAGS)],
  chmod: [string, mode],
  fchmod: [descriptor, mode],
  fchmodat: [descriptor, string, mode],
  execve: [string, pointer, pointer],
  execveat: [descriptor, string, pointer, pointer, unknown],
  connect: [descriptor, pointer, size],
  bind: [descriptor, pointer, size],
  listen: [descriptor, int],
  dup: [descriptor],
  dup2: [descriptor, descriptor],
  dup3: [descriptor, descriptor, openFlags],
  chdir: [string],
  chroot: [string],
  pivot_root: [string, string],
  getpid: [],
  getppid: [],
  gettid: [],
  getuid: [],
  geteuid: [],
};

/**
 * `-8630, SIGKILL`: the arguments of a call, as many as it has; of an unknown call, every register. `texts`: what stood
 * in the memory that an argument points to, by its place, where that is known.
 */
export function argumentsText(
  name: string,
  id: bigint,
  registers: readonly bigint[],
  texts: ReadonlyMap<number, string> = new Map(),
): string {
  const architecture = architectureOf(name, id);
  const kinds = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  const shown = kinds === undefined ? registers : registers.slice(0, kinds.length);
  return shown.map((register, at) => texts.get(at) ?? (kinds?.[at] ?? unknown)(register, architecture)).join(', ');
}

/** Flags of `file.*` events, which the call took. Those whose values differ by architecture are shown as numbers. */
export function fileFlagsText(type: string, flags: bigint): string {
  if (type === 'file.open') return openFlags(flags, undefined);
  if (type === 'file.unlink') return bits(flags, UNLINK_FLAGS);
  return type === 'file.rename' ? bits(flags, RENAME_FLAGS) : `0x${flags.toString(16)}`;
}
