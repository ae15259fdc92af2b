/**
 * Probes in the kernel that have the paths of file operations: functions that
 * are handed the kernel's own copy of a path, which cannot be missed or changed
 * as the program's memory can. Which function that is differs by kernel, so each
 * is believed only once it told a path of our own (path-proof.ts).
 */
import { callEvent, pathEvent } from '../../../subscriptions/pushdown/catalogue.js';
import type { KernelTypes } from '../probe/btf.js';
import { placeFetch } from './place-fetch.js';

/** Fetch arguments, from the registers of a function's; undefined where the kernel does not say where something is. */
type Fetch = (argument: readonly string[], types: () => KernelTypes | undefined) => string | undefined;

/** A function that does an operation. */
interface PathPlace {
  readonly function: string;
  /** The paths, in an event of their own: one that is too long for a page of the buffer leaves no entry at all. */
  readonly paths: Fetch;
  /** The numbers of the call, whose entry comes in any case. Not of an open, whose return does. */
  readonly call?: Fetch;
}

export interface PathPoint {
  /** What the events are named by, whatever the function: `path_unlink`, `call_unlink`. */
  readonly operation: string;
  /** In the order in which they are tried, the newest kernels' last. */
  readonly places: readonly PathPlace[];
}

function point(operation: string, functions: readonly string[], paths: Fetch, call?: Fetch): PathPoint {
  return { operation, places: functions.map((name) => ({ function: name, paths, ...(call && { call }) })) };
}

/** A `struct filename *`: its first field is the address of the text. */
const text = (register: string | undefined) => `+0(+0(${register})):string`;

const PATH: Fetch = ([, path]) => `path=${text(path)}`;
const BOTH: Fetch = ([, path, , newPath]) => `path=${text(path)} new_path=${text(newPath)}`;
const DIRECTORY: Fetch = ([at]) => `directory=${at}:s32`;
const DIRECTORIES: Fetch = ([at, , newAt, , flags]) =>
  `directory=${at}:s32 new_directory=${newAt}:s32 flags=${flags}:u32`;
/** A `struct path *`. */
const MOUNTED: Fetch = ([path = ''], types) => placeOf(types(), path);
/** Of the `struct file *` in an argument's register. */
const ofFile =
  (at: number): Fetch =>
  (argument, types) =>
    placeOf(types(), argument[at]!, ['file', 'f_path']);

function placeOf(types: KernelTypes | undefined, ...place: [string, (readonly [string, string])?]): string | undefined {
  return types && placeFetch(types, ...place);
}

export const PATH_POINTS: readonly PathPoint[] = [
  // Of `struct open_flags`: int open_flag, umode_t mode.
  point(
    'open',
    ['do_filp_open', 'do_file_open'],
    ([, path, how]) => `path=${text(path)} flags=+0(${how}):s32 mode=+4(${how}):u16`,
  ),
  point('unlink', ['do_unlinkat', 'filename_unlinkat'], PATH, DIRECTORY),
  point('rmdir', ['do_rmdir', 'filename_rmdir'], PATH, DIRECTORY),
  point('rename', ['do_renameat2', 'filename_renameat2'], BOTH, DIRECTORIES),
  point('mkdir', ['do_mkdirat', 'filename_mkdirat'], PATH, ([at, , mode]) => `directory=${at}:s32 mode=${mode}:u16`),
  point('link', ['do_linkat', 'filename_linkat'], BOTH, DIRECTORIES),
  point(
    'symlink',
    ['do_symlinkat', 'filename_symlinkat'],
    ([path, , newPath]) => `path=${text(path)} new_path=${text(newPath)}`,
    ([, newAt]) => `directory=${newAt}:s32`,
  ),
  point('chmod', ['chmod_common'], MOUNTED, ([, mode]) => `mode=${mode}:u16`),
  point('chown', ['chown_common'], MOUNTED, ([, owner, group]) => `owner=${owner}:s32 group=${group}:s32`),
  // Handed what was found by the path; that it is called, and not a copy of it in its caller, the trial shows.
  point('truncate', ['vfs_truncate'], MOUNTED, ([, size]) => `size=${size}:s64`),
  {
    operation: 'ftruncate',
    places: [
      { function: 'do_ftruncate', paths: ofFile(0), call: ([, size]) => `size=${size}:s64` },
      // Before 6.9 what truncates any file, for an open and for a path too: without a file, or with an attribute.
      {
        function: 'do_truncate',
        paths: ofFile(4),
        call: ([, , size, attributes, file]) => `size=${size}:s64 attributes=${attributes}:u32 file=${file}:x64`,
      },
      {
        function: 'do_truncate',
        paths: ofFile(3),
        call: ([, size, attributes, file]) => `size=${size}:s64 attributes=${attributes}:u32 file=${file}:x64`,
      },
    ],
  },
];

/** All operations, whatever this kernel has. */
export const PATH_OPERATIONS: readonly string[] = PATH_POINTS.map(({ operation }) => operation);

export function eventsOf(group: string, { operation, places: [place] }: PathPoint): string[] {
  const paths = `${group}/${pathEvent(operation)}`;
  return place?.call === undefined ? [paths] : [paths, `${group}/${callEvent(operation)}`];
}
