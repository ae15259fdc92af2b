/**
 * Probes in the kernel that have what a call of the profile `security` names: functions that are handed the kernel's own
 * copy of it, which cannot be missed or changed as the program's memory can. An agent does not mount, or make a memfd,
 * only to see whether a probe tells it: the kernel itself says what its functions are handed, and how its structures
 * look (btf.ts). Where it does not, there are none.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { CATALOGUE } from '../../../subscriptions/pushdown/catalogue.js';
import { placeFetch } from '../paths/place-fetch.js';
import { type KernelTypes, kernelTypes } from '../probe/btf.js';
import { allDefinitions, type DefinedAs, define, recordedGroup } from '../probe/definitions.js';

interface CallPoint {
  /** The event's, as the catalogue has it. */
  readonly name: string;
  readonly function: string;
  /** What the function has to be handed, as the kernel says it. */
  readonly handed: readonly string[];
  /** Undefined where the kernel does not say how its structures look. */
  readonly fetch: (argument: readonly [string, string, string, ...string[]], types: KernelTypes) => string | undefined;
}

/** The text at an address that a register has, or that stands at a place in a structure. */
const text = (address: string) => `+0(${address}):string`;

const POINTS: readonly CallPoint[] = [
  {
    name: 'name_memfd',
    function: 'shmem_file_setup',
    handed: ['char *'],
    fetch: ([name]) => `name=${text(name)}`,
  },
  {
    name: 'name_memfd_huge',
    function: 'hugetlb_file_setup',
    handed: ['char *'],
    fetch: ([name]) => `name=${text(name)}`,
  },
  {
    name: 'name_mount',
    function: 'path_mount',
    handed: ['char *', 'path *', 'char *'],
    fetch: ([source, , type]) => `source=${text(source)} type=${text(type)}`,
  },
  {
    name: 'place_mount',
    function: 'path_mount',
    handed: ['char *', 'path *', 'char *'],
    fetch: ([, path], types) => placeFetch(types, path),
  },
  {
    name: 'place_umount',
    function: 'path_umount',
    handed: ['path *'],
    fetch: ([path], types) => placeFetch(types, path),
  },
  {
    name: 'name_fsopen',
    function: 'get_fs_type',
    handed: ['char *'],
    fetch: ([type]) => `type=${text(type)}`,
  },
  {
    name: 'name_fsconfig',
    function: 'vfs_get_tree',
    handed: ['fs_context *'],
    fetch: ([context], types) => {
      const source = types.offset('fs_context', 'source');
      const type = types.offset('fs_context', 'fs_type');
      const name = types.offset('file_system_type', 'name');
      if (source === undefined || type === undefined || name === undefined) return undefined;
      return `source=${text(`+${source}(${context})`)} type=${text(`+${name}(+${type}(${context}))`)}`;
    },
  },
  {
    name: 'name_move_mount',
    function: 'security_move_mount',
    handed: ['path *', 'path *'],
    fetch: ([from], types) => mountedFetch(types, from),
  },
  {
    name: 'place_move_mount',
    function: 'security_move_mount',
    handed: ['path *', 'path *'],
    fetch: ([, to], types) => placeFetch(types, to),
  },
];

/** All, whatever this kernel has. */
export const CALL_POINTS: readonly string[] = POINTS.map(({ name }) => name);

/** Of the mount that a path is in: its source and its filesystem's type. */
function mountedFetch(types: KernelTypes, path: string): string | undefined {
  const seen = types.offset('path', 'mnt');
  const inMount = types.offset('mount', 'mnt');
  const source = types.offset('mount', 'mnt_devname');
  const [filesystem, type, name] = [
    types.offset('vfsmount', 'mnt_sb'),
    types.offset('super_block', 's_type'),
    types.offset('file_system_type', 'name'),
  ];
  if ([seen, inMount, source, filesystem, type, name].includes(undefined)) return undefined;
  const fromSeen = source! - inMount!;
  const mount = `+${seen}(${path})`;
  const kind = `+${name}(+${type}(+${filesystem}(${mount})))`;
  return `source=${text(`${fromSeen < 0 ? '-' : '+'}${Math.abs(fromSeen)}(${mount})`)} type=${text(kind)}`;
}

export interface CallPoints {
  /** `group/event` of those that there are. */
  readonly events: readonly string[];
  /** Why the others are not there, by name. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Defines them. Those that an agent of this recorder left stay as they are. */
export function defineCallPoints(tracefs: string, recorderId: string): CallPoints {
  const group = recordedGroup(recorderId);
  const there = allDefinitions(tracefs) ?? [];
  const missing = POINTS.filter(({ name }) => !there.includes(`${group}/${name}`));
  const refused = new Map<string, string>();
  const registers = OWN_ARCHITECTURE?.registers;
  const hasProbes = registers !== undefined && existsSync(join(tracefs, 'kprobe_events'));
  const types = hasProbes && missing.length > 0 ? kernelTypes() : undefined;
  for (const point of missing) {
    const cause = hasProbes ? refusal(point, types, registers, tracefs, group) : 'this kernel has no kprobes';
    if (cause !== undefined) refused.set(point.name, cause);
  }
  return { events: POINTS.flatMap(({ name }) => (refused.has(name) ? [] : [`${group}/${name}`])), refused };
}

/** As what they are defined, where they are. */
export function callsDefinedAs(recorderId: string): DefinedAs[] {
  const [registers, types] = [OWN_ARCHITECTURE?.registers, kernelTypes()];
  if (registers === undefined || types === undefined) return [];
  return POINTS.flatMap(({ name, function: place, fetch }): DefinedAs[] => {
    const fetched = fetch(registers, types);
    return fetched === undefined ? [] : [[`${recordedGroup(recorderId)}/${name}`, [`${place} ${fetched}`]]];
  });
}

/** By event type: what is not known of what its calls name, and why. */
export function unnamedOf(refused: CallPoints['refused']): ReadonlyMap<string, string> {
  const entries = [...CATALOGUE.values()].flatMap(({ type, pathPoint }) => {
    const points = pathPoint === undefined ? [] : [pathPoint.name, ...pathPoint.beside];
    const missing = points.filter((point) => refused.has(point));
    if (missing.length === 0) return [];
    const causes = [...new Set(missing.map((point) => refused.get(point)))].join(', ');
    // Without the first, calls are told as they begin, without any.
    const what = refused.has(points[0]!)
      ? 'what it names is not known'
      : `of what it names ${missing.join(', ')} is not known`;
    return [[type, `${what}, as the kernel's own copy cannot be had: ${causes}`] as const];
  });
  return new Map(entries);
}

/** Defines one; says why it is not there, where it is not. */
function refusal(
  point: CallPoint,
  types: KernelTypes | undefined,
  registers: readonly [string, string, string, ...string[]],
  tracefs: string,
  group: string,
): string | undefined {
  if (types === undefined) return 'this kernel does not describe itself (CONFIG_DEBUG_INFO_BTF)';
  const handed = types.parameters(point.function);
  if (handed === undefined) return `this kernel has no ${point.function}`;
  if (point.handed.some((type, at) => handed[at] !== type)) {
    return `${point.function} is handed ${handed.map((type) => type || 'a number').join(', ')}`;
  }
  const fetch = point.fetch(registers, types);
  if (fetch === undefined) return 'this kernel does not say where its structures have what is needed';
  try {
    define(tracefs, `${group}/${point.name}`, point.function, fetch);
    return undefined;
  } catch (cause) {
    return (cause as Error).message;
  }
}
