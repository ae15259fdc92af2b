/**
 * Probes in the kernel that have the paths of file operations: functions that
 * are handed the kernel's own copy of a path, which cannot be missed or changed
 * as the program's memory can. Which function that is differs by kernel, so each
 * is believed only once it told a path of our own (path-proof.ts).
 */
import { callEvent, pathEvent } from '../../../subscriptions/pushdown/catalogue.js';

export interface PathPoint {
  /** What the events are named by, whatever the function: `path_unlink`, `call_unlink`. */
  readonly operation: string;
  /** Functions that do it, the newest kernels' last. */
  readonly functions: readonly string[];
  /** The paths, in an event of their own: one that is too long for a page of the buffer leaves no entry at all. */
  readonly paths: (argument: readonly string[]) => string;
  /** The numbers of the call, whose entry comes in any case. Not of an open, whose return does. */
  readonly call?: (argument: readonly string[]) => string;
}

/** A `struct filename *`: its first field is the address of the text. */
const text = (register: string | undefined) => `+0(+0(${register})):string`;

export const PATH_POINTS: readonly PathPoint[] = [
  {
    operation: 'open',
    functions: ['do_filp_open', 'do_file_open'],
    // Of `struct open_flags`: int open_flag, umode_t mode.
    paths: ([, path, how]) => `path=${text(path)} flags=+0(${how}):s32 mode=+4(${how}):u16`,
  },
  {
    operation: 'unlink',
    functions: ['do_unlinkat', 'filename_unlinkat'],
    paths: ([, path]) => `path=${text(path)}`,
    call: ([at]) => `directory=${at}:s32`,
  },
  {
    operation: 'rmdir',
    functions: ['do_rmdir', 'filename_rmdir'],
    paths: ([, path]) => `path=${text(path)}`,
    call: ([at]) => `directory=${at}:s32`,
  },
  {
    operation: 'rename',
    functions: ['do_renameat2', 'filename_renameat2'],
    paths: ([, path, , newPath]) => `path=${text(path)} new_path=${text(newPath)}`,
    call: ([at, , newAt, , flags]) => `directory=${at}:s32 new_directory=${newAt}:s32 flags=${flags}:u32`,
  },
  {
    operation: 'mkdir',
    functions: ['do_mkdirat', 'filename_mkdirat'],
    paths: ([, path]) => `path=${text(path)}`,
    call: ([at, , mode]) => `directory=${at}:s32 mode=${mode}:u16`,
  },
  {
    operation: 'link',
    functions: ['do_linkat', 'filename_linkat'],
    paths: ([, path, , newPath]) => `path=${text(path)} new_path=${text(newPath)}`,
    call: ([at, , newAt, , flags]) => `directory=${at}:s32 new_directory=${newAt}:s32 flags=${flags}:u32`,
  },
  {
    operation: 'symlink',
    functions: ['do_symlinkat', 'filename_symlinkat'],
    paths: ([path, , newPath]) => `path=${text(path)} new_path=${text(newPath)}`,
    call: ([, newAt]) => `directory=${newAt}:s32`,
  },
];

/** All operations, whatever this kernel has. */
export const PATH_OPERATIONS: readonly string[] = PATH_POINTS.map(({ operation }) => operation);

export function eventsOf(group: string, { operation, call }: PathPoint): string[] {
  const paths = `${group}/${pathEvent(operation)}`;
  return call === undefined ? [paths] : [paths, `${group}/${callEvent(operation)}`];
}
