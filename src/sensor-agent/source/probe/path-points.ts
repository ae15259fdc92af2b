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
import { put } from '../tracefs/put.js';
import { allDefinitions, define, recordedGroup, undefine } from './definitions.js';
import { ARGUMENTS, abandonProof, withProof } from './proof.js';

interface PathPoint {
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

const POINTS: readonly PathPoint[] = [
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

/** `unlinkat` does either: where one alone were told by its probe, a directory's end would be told twice or never. */
const TOGETHER = ['unlink', 'rmdir'];

/** All operations, whatever this kernel has. */
export const PATH_OPERATIONS: readonly string[] = POINTS.map(({ operation }) => operation);

export interface PathPoints {
  /** `group/event` of those that told our own paths. */
  readonly events: readonly string[];
  /** Why the last one that is not there is not; undefined where none was refused. */
  readonly problem: string | undefined;
}

/**
 * Defines them, and keeps those that told our own paths. Those that an agent of this recorder left are believed, as it has
 * proved them. Done in the calling thread, some tens of milliseconds.
 */
export function definePathPoints(tracefs: string, recorderId: string): PathPoints {
  const registers = ARGUMENTS[process.arch];
  if (registers === undefined || !existsSync(join(tracefs, 'kprobe_events')))
    return { events: [], problem: 'this kernel has no kprobes' };
  const group = recordedGroup(recorderId);
  const all = POINTS.flatMap((point) => eventsOf(group, point));
  abandonProof(tracefs, recorderId);
  const there = allDefinitions(tracefs) ?? [];
  const left = POINTS.filter((point) => eventsOf(group, point).every((event) => there.includes(event)));
  const wanted = POINTS.filter((point) => !left.includes(point));
  if (wanted.length === 0) return { events: all, problem: undefined };
  try {
    return withProof(tracefs, recorderId, (instance) => {
      const proof = new Proof(tracefs, instance, group, registers);
      const proved = wanted.filter((point) => proof.holds(point));
      const kept = [...left, ...proved].filter(({ operation }, _at, points) => {
        if (!TOGETHER.includes(operation)) return true;
        return TOGETHER.every((each) => points.some((point) => point.operation === each));
      });
      for (const point of proved)
        if (!kept.includes(point)) for (const event of eventsOf(group, point)) undefine(tracefs, event);
      return { events: kept.flatMap((point) => eventsOf(group, point)), problem: proof.problem };
    });
  } catch (cause) {
    return { events: left.flatMap((point) => eventsOf(group, point)), problem: (cause as Error).message };
  }
}

function eventsOf(group: string, { operation, call }: PathPoint): string[] {
  const paths = `${group}/path_${operation}`;
  return call === undefined ? [paths] : [paths, `${group}/call_${operation}`];
}

/** Tries points in an instance of their own that sees this thread only. */
class Proof {
  /** Why the last one that did not hold did not. */
  problem: string | undefined;
  readonly #tracefs: string;
  readonly #instance: string;
  readonly #group: string;
  readonly #registers: readonly string[];

  constructor(tracefs: string, instance: string, group: string, registers: readonly string[]) {
    this.#tracefs = tracefs;
    this.#instance = instance;
    this.#group = group;
    this.#registers = registers;
  }

  /** Leaves it defined, and off, if it holds; the kernel may have a function that another one no longer calls. */
  holds(point: PathPoint): boolean {
    return point.functions.some((place) => {
      try {
        this.#define(point, place);
        if (this.#told(point)) return true;
        this.problem = `${place} did not tell the path`;
      } catch (cause) {
        this.problem = (cause as Error).message;
      }
      for (const event of eventsOf(this.#group, point)) undefine(this.#tracefs, event);
      return false;
    });
  }

  /** Of two probes in one place the kernel runs the later first: the paths are to stand before their call. */
  #define({ operation, paths, call }: PathPoint, place: string): void {
    if (call) define(this.#tracefs, `${this.#group}/call_${operation}`, place, call(this.#registers));
    define(this.#tracefs, `${this.#group}/path_${operation}`, place, paths(this.#registers));
  }

  #told(point: PathPoint): boolean {
    const at = (file: string) => join(this.#instance, file);
    put(at('set_event_pid'), String(process.pid));
    const switches = eventsOf(this.#group, point).map((event) => at(`events/${event}/enable`));
    for (const path of switches) put(path, '1');
    let used: readonly string[];
    try {
      used = useEach()[point.operation]!;
    } finally {
      for (const path of switches) put(path, '0');
    }
    const lines = readFileSync(at('trace'), 'utf8').split('\n');
    const found = lines.findIndex(
      (line) => line.includes(`: path_${point.operation}: `) && used.every((path) => line.includes(`="${path}"`)),
    );
    const next = lines[found + 1] ?? '';
    return found >= 0 && (point.call === undefined || next.includes(`: call_${point.operation}: `));
  }
}

/** Does each operation once, in the calling thread; returns the paths that each named. */
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
      open: [file],
      unlink: [moved],
      rmdir: [made],
      rename: [linked, moved],
      mkdir: [made],
      link: [file, linked],
      symlink: [target, symbolic],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
