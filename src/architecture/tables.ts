/** How the tables of the architectures are written. */

/** By value. */
export interface Names extends Iterable<readonly [bigint, string]> {
  get(value: bigint): string | undefined;
}
/** Names with their bits; flags of several bits come before the flags that they contain. */
export type Flags = readonly (readonly [string, bigint])[];

/**
 * Names that count on by one; a number in the list says which follows. The list is read when a name is first asked for:
 * most commands ask for none.
 */
export function counted(list: string): Names {
  let names: Names | undefined;
  const read = () => {
    names ??= readCounted(list);
    return names;
  };
  return { get: (value) => read().get(value), [Symbol.iterator]: () => read()[Symbol.iterator]() };
}

function readCounted(list: string): Names {
  const names = new Map<bigint, string>();
  let next = 0n;
  for (const word of list.trim().split(/\s+/)) {
    if (/^\d+$/.test(word)) next = BigInt(word);
    else names.set(next++, word);
  }
  return names;
}

/** System calls with the same numbers on all architectures: include/uapi/asm-generic/unistd.h, from 424 on. */
export const NEWER_CALLS = `
424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig
fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2
mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret
process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait
futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat
getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr listns rseq_slice_yield
`;
