/**
 * Names that the kernel's headers give to what a system call is to do, where one of its arguments says that as a number.
 */

import type { Architecture } from '../architecture/architecture.js';
import { counted } from '../architecture/tables.js';

/** include/uapi/linux/bpf.h */
const BPF = counted(`
BPF_MAP_CREATE BPF_MAP_LOOKUP_ELEM BPF_MAP_UPDATE_ELEM BPF_MAP_DELETE_ELEM BPF_MAP_GET_NEXT_KEY BPF_PROG_LOAD
BPF_OBJ_PIN BPF_OBJ_GET BPF_PROG_ATTACH BPF_PROG_DETACH BPF_PROG_TEST_RUN BPF_PROG_GET_NEXT_ID BPF_MAP_GET_NEXT_ID
BPF_PROG_GET_FD_BY_ID BPF_MAP_GET_FD_BY_ID BPF_OBJ_GET_INFO_BY_FD BPF_PROG_QUERY BPF_RAW_TRACEPOINT_OPEN BPF_BTF_LOAD
BPF_BTF_GET_FD_BY_ID BPF_TASK_FD_QUERY BPF_MAP_LOOKUP_AND_DELETE_ELEM BPF_MAP_FREEZE BPF_BTF_GET_NEXT_ID
BPF_MAP_LOOKUP_BATCH BPF_MAP_LOOKUP_AND_DELETE_BATCH BPF_MAP_UPDATE_BATCH BPF_MAP_DELETE_BATCH BPF_LINK_CREATE
BPF_LINK_UPDATE BPF_LINK_GET_FD_BY_ID BPF_LINK_GET_NEXT_ID BPF_ENABLE_STATS BPF_ITER_CREATE BPF_LINK_DETACH
BPF_PROG_BIND_MAP BPF_TOKEN_CREATE BPF_PROG_STREAM_READ_BY_FD BPF_PROG_ASSOC_STRUCT_OPS
`);

/** A flag beside the command: the call has more arguments. */
const BPF_COMMON_ATTRS = 1n << 16n;

/** include/uapi/linux/ptrace.h: the same on all architectures, which have others besides. */
const PTRACE = counted(`
PTRACE_TRACEME PTRACE_PEEKTEXT PTRACE_PEEKDATA PTRACE_PEEKUSR PTRACE_POKETEXT PTRACE_POKEDATA PTRACE_POKEUSR PTRACE_CONT
PTRACE_KILL PTRACE_SINGLESTEP
16 PTRACE_ATTACH PTRACE_DETACH
24 PTRACE_SYSCALL
16896 PTRACE_SETOPTIONS PTRACE_GETEVENTMSG PTRACE_GETSIGINFO PTRACE_SETSIGINFO PTRACE_GETREGSET PTRACE_SETREGSET
PTRACE_SEIZE PTRACE_INTERRUPT PTRACE_LISTEN PTRACE_PEEKSIGINFO PTRACE_GETSIGMASK PTRACE_SETSIGMASK
PTRACE_SECCOMP_GET_FILTER PTRACE_SECCOMP_GET_METADATA PTRACE_GET_SYSCALL_INFO PTRACE_GET_RSEQ_CONFIGURATION
PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG PTRACE_SET_SYSCALL_INFO
`);

/** include/uapi/linux/mount.h */
const FSCONFIG = counted(`
FSCONFIG_SET_FLAG FSCONFIG_SET_STRING FSCONFIG_SET_BINARY FSCONFIG_SET_PATH FSCONFIG_SET_PATH_EMPTY FSCONFIG_SET_FD
FSCONFIG_CMD_CREATE FSCONFIG_CMD_RECONFIGURE FSCONFIG_CMD_CREATE_EXCL
`);

/**
 * The name of a command; `register` as the program left it, of which some calls read 32 bits. Empty where it has none, or
 * where that depends on an architecture that is not known.
 */
export function commandName(call: string, register: bigint, architecture: Architecture | undefined): string {
  const narrow = BigInt.asUintN(32, register);
  const wide = BigInt.asUintN(64, register);
  if (call === 'bpf') return BPF.get(narrow & ~BPF_COMMON_ATTRS) ?? '';
  if (call === 'fsconfig') return FSCONFIG.get(narrow) ?? '';
  if (call === 'ptrace') return PTRACE.get(wide) ?? architecture?.traceRequests.get(wide) ?? '';
  return '';
}
