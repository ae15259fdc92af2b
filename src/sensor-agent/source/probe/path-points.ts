/**
 * Probes in the kernel that have the paths of file operations: functions that
 * are handed the kernel's own copy of a path, which cannot be missed or changed
 * as the program's memory can. Which function that is differs by kernel, so each
 * is believed only once it told a path of our own.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeInstance } from '../tracefs/instance.js';
import { put } from '../tracefs/put.js';
import { allDefinitions, define, recordedGroup, undefine } from './definitions.js';

/** Registers of a function's arguments. */
const ARGUMENTS: Readonly<Partial<Record<NodeJS.Architecture, readonly string[]>>> = {
  x64: ['%di', '%si', '%dx', '%cx', '%r8'],
  arm64: ['%x0', '%x1', '%x2', '%x3', '%x4'],
};
const PROOF_KB_PER_CPU = '64';

interface PathPoint {
  /** The event's name, whatever the function's. */
  readonly name: string;
  /** Functions that do it, the newest kernels' last. */
  readonly functions: readonly string[];
  readonly fetch: (argument: readonly string[]) => string;
}

/** A `struct filename *`: its first field is the address of the text. */
const text = (register: string | undefined) => `+0(+0(${register})):string`;

const POINTS: readonly PathPoint[] = [
  {
    name: 'path_open',
    functions: ['do_filp_open', 'do_file_open'],
    // Of `struct open_flags`: int open_flag, umode_t mode.
    fetch: ([at, path, how]) => `directory=${at}:s32 path=${text(path)} flags=+0(${how}):s32 mode=+4(${how}):u16`,
  },
  {
    name: 'path_unlink',
    functions: ['do_unlinkat', 'filename_unlinkat'],
    fetch: ([at, path]) => `directory=${at}:s32 path=${text(path)}`,
  },
  {
    name: 'path_rmdir',
    functions: ['do_rmdir', 'filename_rmdir'],
    fetch: ([at, path]) => `directory=${at}:s32 path=${text(path)}`,
  },
  {
    name: 'path_rename',
    functions: ['do_renameat2', 'filename_renameat2'],
    fetch: ([at, path, newAt, newPath, flags]) =>
      `directory=${at}:s32 path=${text(path)} new_directory=${newAt}:s32 new_path=${text(newPath)} flags=${flags}:u32`,
  },
  {
    name: 'path_mkdir',
    functions: ['do_mkdirat', 'filename_mkdirat'],
    fetch: ([at, path, mode]) => `directory=${at}:s32 path=${text(path)} mode=${mode}:u16`,
  },
  {
    name: 'path_link',
    functions: ['do_linkat', 'filename_linkat'],
    fetch: ([at, path, newAt, newPath, flags]) =>
      `directory=${at}:s32 path=${text(path)} new_directory=${newAt}:s32 new_path=${text(newPath)} flags=${flags}:u32`,
  },
  {
    name: 'path_symlink',
    functions: ['do_symlinkat', 'filename_symlinkat'],
    fetch: ([path, newAt, newPath]) => `path=${text(path)} new_directory=${newAt}:s32 new_path=${text(newPath)}`,
  },
];

/** Names of all, whatever this kernel has. */
export const PATH_POINTS: readonly string[] = POINTS.map(({ name }) => name);

/**
 * Defines them; returns `group/event` of those that told our own paths. Those that an agent of this recorder left are
 * believed, as it has proved them. Done in the calling thread, some tens of milliseconds.
 */
export function definePathPoints(tracefs: string, recorderId: string): string[] {
  const registers = ARGUMENTS[process.arch];
  if (registers === undefined || !existsSync(join(tracefs, 'kprobe_events'))) return [];
  const group = recordedGroup(recorderId);
  const instance = join(tracefs, 'instances', `backplane-${recorderId}-proof`);
  // An agent that ended while it proved them had not proved them.
  if (removeInstance(instance)) for (const { name } of POINTS) undefine(tracefs, `${group}/${name}`);
  const there = allDefinitions(tracefs) ?? [];
  const left = POINTS.map(({ name }) => `${group}/${name}`).filter((event) => there.includes(event));
  let wanted = POINTS.filter(({ name }) => !left.includes(`${group}/${name}`));
  const proved: string[] = [];
  // The kernel may have a function that another one no longer calls.
  for (let attempt = 0; wanted.length > 0; attempt += 1) {
    const defined = wanted.filter(({ name, functions, fetch }) => {
      const place = functions[attempt];
      return place !== undefined && taken(tracefs, `${group}/${name}`, place, fetch(registers));
    });
    const held = defined.length === 0 ? new Set<string>() : prove(instance, group, defined);
    for (const { name } of defined) {
      if (held.has(name)) proved.push(`${group}/${name}`);
      else undefine(tracefs, `${group}/${name}`);
    }
    wanted = wanted.filter(({ name, functions }) => !held.has(name) && functions.length > attempt + 1);
  }
  return [...left, ...proved];
}

function taken(tracefs: string, event: string, place: string, fetch: string): boolean {
  try {
    define(tracefs, event, place, fetch);
    return true;
  } catch {
    return false;
  }
}

/** Names of those that told what we did, in an instance of their own that sees this thread only. */
function prove(instance: string, group: string, points: readonly PathPoint[]): Set<string> {
  const held = new Set<string>();
  try {
    mkdirSync(instance);
    put(join(instance, 'buffer_size_kb'), PROOF_KB_PER_CPU);
    put(join(instance, 'set_event_pid'), String(process.pid));
    for (const { name } of points) put(join(instance, 'events', group, name, 'enable'), '1');
    const paths = useEach();
    for (const { name } of points) put(join(instance, 'events', group, name, 'enable'), '0');
    const told = readFileSync(join(instance, 'trace'), 'utf8');
    for (const { name } of points) {
      const line = new RegExp(`: ${name}: .*$`, 'gm');
      const of = (text: string) => paths[name]!.every((path) => text.includes(`="${path}"`));
      if ((told.match(line) ?? []).some(of)) held.add(name);
    }
  } catch {
    // Not proved, whatever the reason: another way serves.
  } finally {
    removeInstance(instance);
  }
  return held;
}

/** Does each operation once, in the calling thread; returns the paths that it named. */
function useEach(): Readonly<Record<string, readonly string[]>> {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-paths-'));
  try {
    const at = (what: string) => join(folder, `${what}-${randomBytes(4).toString('hex')}`);
    const [made, file, linked, moved, target, symbolic] = [at('d'), at('f'), at('l'), at('m'), at('t'), at('s')];
    mkdirSync(made);
    closeSync(openSync(file, 'w'));
    linkSync(file, linked);
    symlinkSync(target, symbolic);
    renameSync(linked, moved);
    unlinkSync(moved);
    rmdirSync(made);
    return {
      path_open: [file],
      path_unlink: [moved],
      path_rmdir: [made],
      path_rename: [linked, moved],
      path_mkdir: [made],
      path_link: [file, linked],
      path_symlink: [target, symbolic],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
