/** Names that the kernel's headers give to arguments of system calls. */

import type { Architecture } from '../../architecture/architecture.js';
import type { Flags, Names } from '../../architecture/tables.js';

/** include/uapi/linux/mount.h */
export const MOUNT_FLAGS: Flags = [
  ['MS_RDONLY', 0x1n],
  ['MS_NOSUID', 0x2n],
  ['MS_NODEV', 0x4n],
  ['MS_NOEXEC', 0x8n],
  ['MS_SYNCHRONOUS', 0x10n],
  ['MS_REMOUNT', 0x20n],
  ['MS_MANDLOCK', 0x40n],
  ['MS_DIRSYNC', 0x80n],
  ['MS_NOSYMFOLLOW', 0x100n],
  ['MS_NOATIME', 0x400n],
  ['MS_NODIRATIME', 0x800n],
  ['MS_BIND', 0x1000n],
  ['MS_MOVE', 0x2000n],
  ['MS_REC', 0x4000n],
  ['MS_SILENT', 0x8000n],
  ['MS_POSIXACL', 0x10000n],
  ['MS_UNBINDABLE', 0x20000n],
  ['MS_PRIVATE', 0x40000n],
  ['MS_SLAVE', 0x80000n],
  ['MS_SHARED', 0x100000n],
  ['MS_RELATIME', 0x200000n],
  ['MS_KERNMOUNT', 0x400000n],
  ['MS_I_VERSION', 0x800000n],
  ['MS_STRICTATIME', 0x1000000n],
  ['MS_LAZYTIME', 0x2000000n],
];

/** include/linux/fs.h */
export const UMOUNT_FLAGS: Flags = [
  ['MNT_FORCE', 1n],
  ['MNT_DETACH', 2n],
  ['MNT_EXPIRE', 4n],
  ['UMOUNT_NOFOLLOW', 8n],
];

/** include/uapi/linux/sched.h */
export const CLONE_FLAGS: Flags = [
  ['CLONE_NEWTIME', 0x80n],
  ['CLONE_VM', 0x100n],
  ['CLONE_FS', 0x200n],
  ['CLONE_FILES', 0x400n],
  ['CLONE_SIGHAND', 0x800n],
  ['CLONE_PIDFD', 0x1000n],
  ['CLONE_PTRACE', 0x2000n],
  ['CLONE_VFORK', 0x4000n],
  ['CLONE_PARENT', 0x8000n],
  ['CLONE_THREAD', 0x10000n],
  ['CLONE_NEWNS', 0x20000n],
  ['CLONE_SYSVSEM', 0x40000n],
  ['CLONE_SETTLS', 0x80000n],
  ['CLONE_PARENT_SETTID', 0x100000n],
  ['CLONE_CHILD_CLEARTID', 0x200000n],
  ['CLONE_DETACHED', 0x400000n],
  ['CLONE_UNTRACED', 0x800000n],
  ['CLONE_CHILD_SETTID', 0x1000000n],
  ['CLONE_NEWCGROUP', 0x2000000n],
  ['CLONE_NEWUTS', 0x4000000n],
  ['CLONE_NEWIPC', 0x8000000n],
  ['CLONE_NEWUSER', 0x10000000n],
  ['CLONE_NEWPID', 0x20000000n],
  ['CLONE_NEWNET', 0x40000000n],
  ['CLONE_IO', 0x80000000n],
];

/** include/uapi/linux/memfd.h */
export const MEMFD_FLAGS: Flags = [
  ['MFD_CLOEXEC', 1n],
  ['MFD_ALLOW_SEALING', 2n],
  ['MFD_HUGETLB', 4n],
  ['MFD_NOEXEC_SEAL', 8n],
  ['MFD_EXEC', 0x10n],
];

/** include/uapi/asm-generic/fcntl.h: flags with the same value on all architectures. */
const OPEN_FLAGS: Flags = [
  ['O_SYNC', 0o4010000n],
  ['O_CREAT', 0o100n],
  ['O_EXCL', 0o200n],
  ['O_NOCTTY', 0o400n],
  ['O_TRUNC', 0o1000n],
  ['O_APPEND', 0o2000n],
  ['O_NONBLOCK', 0o4000n],
  ['O_DSYNC', 0o10000n],
  ['O_ASYNC', 0o20000n],
  ['O_NOATIME', 0o1000000n],
  ['O_CLOEXEC', 0o2000000n],
  ['O_PATH', 0o10000000n],
];
const O_TMPFILE_ALONE = 0o20000000n;

/** Without an architecture: those that are the same on all. */
export function openFlagsOf(architecture: Architecture | undefined): Flags {
  if (architecture === undefined) return OPEN_FLAGS;
  const own = Object.entries(architecture.openFlags).map(([name, value]) => [name, BigInt(value)] as const);
  return [['O_TMPFILE', O_TMPFILE_ALONE | BigInt(architecture.openFlags.O_DIRECTORY)], ...own, ...OPEN_FLAGS];
}

/** include/uapi/linux/mount.h */
export const FSOPEN_FLAGS: Flags = [['FSOPEN_CLOEXEC', 1n]];

/** include/uapi/linux/mount.h */
export const MOVE_MOUNT_FLAGS: Flags = [
  ['MOVE_MOUNT_F_SYMLINKS', 0x1n],
  ['MOVE_MOUNT_F_AUTOMOUNTS', 0x2n],
  ['MOVE_MOUNT_F_EMPTY_PATH', 0x4n],
  ['MOVE_MOUNT_T_SYMLINKS', 0x10n],
  ['MOVE_MOUNT_T_AUTOMOUNTS', 0x20n],
  ['MOVE_MOUNT_T_EMPTY_PATH', 0x40n],
  ['MOVE_MOUNT_SET_GROUP', 0x100n],
  ['MOVE_MOUNT_BENEATH', 0x200n],
];

/** include/uapi/linux/fcntl.h */
export const UNLINK_FLAGS: Flags = [['AT_REMOVEDIR', 0x200n]];

/** include/uapi/linux/fs.h */
export const RENAME_FLAGS: Flags = [
  ['RENAME_NOREPLACE', 1n],
  ['RENAME_EXCHANGE', 2n],
  ['RENAME_WHITEOUT', 4n],
];

/** include/uapi/linux/prctl.h */
export const PRCTL_OPTIONS: Names = new Map([
  [1n, 'PR_SET_PDEATHSIG'],
  [2n, 'PR_GET_PDEATHSIG'],
  [3n, 'PR_GET_DUMPABLE'],
  [4n, 'PR_SET_DUMPABLE'],
  [7n, 'PR_GET_KEEPCAPS'],
  [8n, 'PR_SET_KEEPCAPS'],
  [15n, 'PR_SET_NAME'],
  [16n, 'PR_GET_NAME'],
  [21n, 'PR_GET_SECCOMP'],
  [22n, 'PR_SET_SECCOMP'],
  [23n, 'PR_CAPBSET_READ'],
  [24n, 'PR_CAPBSET_DROP'],
  [27n, 'PR_GET_SECUREBITS'],
  [28n, 'PR_SET_SECUREBITS'],
  [29n, 'PR_SET_TIMERSLACK'],
  [30n, 'PR_GET_TIMERSLACK'],
  [35n, 'PR_SET_MM'],
  [36n, 'PR_SET_CHILD_SUBREAPER'],
  [37n, 'PR_GET_CHILD_SUBREAPER'],
  [38n, 'PR_SET_NO_NEW_PRIVS'],
  [39n, 'PR_GET_NO_NEW_PRIVS'],
  [40n, 'PR_GET_TID_ADDRESS'],
  [41n, 'PR_SET_THP_DISABLE'],
  [42n, 'PR_GET_THP_DISABLE'],
  [47n, 'PR_CAP_AMBIENT'],
  [52n, 'PR_GET_SPECULATION_CTRL'],
  [53n, 'PR_SET_SPECULATION_CTRL'],
  [59n, 'PR_SET_SYSCALL_USER_DISPATCH'],
  [62n, 'PR_SCHED_CORE'],
  [65n, 'PR_SET_MDWE'],
  [66n, 'PR_GET_MDWE'],
  [0x53564d41n, 'PR_SET_VMA'],
  [0x59616d61n, 'PR_SET_PTRACER'],
]);
