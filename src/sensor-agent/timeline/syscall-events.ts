/**
 * Turns system calls, and other events that are recorded only while somebody
 * asks for them, into parts of typed events. None of them carries context that
 * others need, so they are decoded only where somebody wants their type.
 */
import { constants } from 'node:os';
import { EVENT_STRING_BYTES_MAX, FILE_PATHS_BYTES_MAX } from '../../limits.js';
import { CATALOGUE, type CatalogueEntry, type RawRef } from '../../subscriptions/pushdown/catalogue.js';
import type { BusEvent, FileContext, SyscallContext } from '../../wire/event/event.js';
import type { FieldValue, FieldValues } from '../source/pages/decoder.js';
import { syscallName } from './syscall-names.js';

/** Types of the profiles beyond `lite`, by `group/event`; the agent's own points, whose group is the recorder's, by name. */
export const ON_DEMAND: ReadonlyMap<string, CatalogueEntry> = new Map(
  [...CATALOGUE.values()]
    .filter(({ profile }) => profile !== 'lite')
    .flatMap((entry) =>
      [entry.traceEvent, ...entry.alsoTraced, entry.pathPoint?.name].map((name) => [name, entry] as const),
    )
    .filter((pair): pair is readonly [string, CatalogueEntry] => pair[0] !== undefined),
);

/** Entries by the event's own name, which is unique among all events that are followed. */
const BY_NAME = new Map([...ON_DEMAND].map(([name, entry]) => [name.replace(/^.*\//, ''), entry]));

/** The type of such a trace event, by its own name; undefined for all others. */
export function onDemandType(name: string): string | undefined {
  return BY_NAME.get(name)?.type;
}

/** Which tells the path of an open whose return follows. */
export const OPEN_POINT = CATALOGUE.get('file.open')!.pathPoint!.name;

/**
 * The descriptor that a call returned, whose path can be looked up; undefined for all other events and failed calls.
 */
export function openedDescriptor(name: string, values: FieldValues): number | undefined {
  if (name === OPEN_POINT || BY_NAME.get(name)?.type !== 'file.open') return undefined;
  const result = Number(integer(values['ret']));
  return result >= 0 ? result : undefined;
}

/** What is known of an open beside its return: the link of its descriptor, and what the kernel was given. */
export interface OpenedPath {
  readonly link?: string | undefined;
  readonly given?: FileContext | undefined;
}

/** The parts of an event other than its process. `name` must have an onDemandType. */
export function onDemandParts(
  name: string,
  values: FieldValues,
  opened: OpenedPath = {},
): Pick<BusEvent, 'syscall' | 'file' | 'raw'> {
  const entry = BY_NAME.get(name)!;
  if (name === entry.pathPoint?.name) return { file: namedFile(values) };
  if (entry.type === 'file.open') return { file: openedFile(values, opened) };
  if (entry.profile === 'file') return { file: fileOf(entry.type, values) };
  if (entry.traceEvent.startsWith('module/')) return { raw: { name, fields: textOf(values) } };
  return { syscall: syscallOf(entry, values) };
}

function syscallOf(entry: CatalogueEntry, values: FieldValues): SyscallContext {
  const { raw } = entry;
  const id = integer(raw.has('syscall.id') ? refValue(raw.get('syscall.id')!, values) : values['__syscall_nr']);
  const args: bigint[] = [];
  for (let at = 0; raw.has(`syscall.arg${at}`); at++)
    args.push(integer(refValue(raw.get(`syscall.arg${at}`)!, values)));
  const result = raw.get('syscall.result');
  return {
    id,
    name: syscallName(id) || (entry.profile === 'security' ? entry.type.slice('security.'.length) : ''),
    args,
    result: result === undefined ? 0n : integer(refValue(result, values)),
    returned: result !== undefined,
  };
}

/** AT_FDCWD: older calls have no directory among their arguments and start from the working directory. */
const WORKING_DIRECTORY = -100;

/** Of a call's begin, whose paths are pointers. The parameters are ints, so only 32 bits of an argument register count. */
const FILE_FIELDS: Readonly<Record<string, { descriptor: string; flags?: string; mode?: string }>> = {
  'file.unlink': { descriptor: 'dfd', flags: 'flag' },
  'file.rmdir': { descriptor: 'dfd' },
  'file.rename': { descriptor: 'olddfd', flags: 'flags' },
  'file.mkdir': { descriptor: 'dfd', mode: 'mode' },
  'file.link': { descriptor: 'olddfd', flags: 'flags' },
  'file.symlink': { descriptor: 'newdfd' },
  'file.chmod': { descriptor: 'dfd', mode: 'mode' },
};

function fileOf(type: string, values: FieldValues): FileContext {
  const { descriptor, flags, mode } = FILE_FIELDS[type]!;
  return {
    path: '',
    pathMissed: true,
    descriptor: descriptor in values ? narrow(values[descriptor]) : WORKING_DIRECTORY,
    flags: flags === undefined ? 0 : narrow(values[flags]),
    mode: mode === undefined ? 0 : narrow(values[mode]),
  };
}

/** The kernel writes this where it could not copy a text. */
const NOT_COPIED = '(fault)';

/** What a point tells (source/probe/path-points.ts). */
export function namedFile(values: FieldValues): FileContext {
  const path = givenPath(values['path']);
  const second = givenPath(values['new_path']);
  const newPath = Buffer.byteLength(path) + Buffer.byteLength(second) > FILE_PATHS_BYTES_MAX ? '' : second;
  const named = {
    path,
    pathMissed: path === '' || ('new_path' in values && newPath === ''),
    descriptor: narrow(values['directory'] ?? values['new_directory']),
    flags: narrow(values['flags']),
    mode: narrow(values['mode']),
  };
  return newPath === '' ? named : { ...named, newPath };
}

function givenPath(value: FieldValue | undefined): string {
  return typeof value !== 'string' || value === NOT_COPIED ? '' : value.slice(0, EVENT_STRING_BYTES_MAX);
}

/** The kernel adds it to every open of a 64-bit program: O_LARGEFILE. */
const ADDED_FLAGS: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 0x8000, arm64: 0x2_0000 };

/** An absolute path is told as it was given; of a relative one the link says where it is. */
function openedFile(values: FieldValues, { given, link = '' }: OpenedPath): FileContext {
  const result = narrow(values['ret']);
  const asGiven = given !== undefined && !given.pathMissed && !FAILS_BEFORE.has(-result) ? given : undefined;
  const { flags = 0, mode = 0 } = asGiven ?? {};
  const resolved = link !== '' && asGiven?.path.startsWith('/') !== true;
  const path = resolved ? link : (asGiven?.path ?? '');
  const asked = flags & ~(ADDED_FLAGS[process.arch] ?? 0);
  const opened = { path, pathMissed: path === '', descriptor: result, flags: asked, mode };
  return resolved ? { ...opened, pathResolved: true } : opened;
}

/** Errors of a call that ends before the kernel has looked at its path: what was given then was another call's. */
const FAILS_BEFORE: ReadonlySet<number> = new Set(
  (['EFAULT', 'ENAMETOOLONG', 'EMFILE', 'EINVAL', 'ENOMEM'] as const).map((name) => constants.errno[name]),
);

function narrow(value: FieldValue | undefined): number {
  return Number(BigInt.asIntN(32, integer(value)));
}

function textOf(values: FieldValues): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

function refValue({ field, element }: RawRef, values: FieldValues): FieldValue | undefined {
  const value = values[field];
  return element === undefined ? value : (value as readonly bigint[] | undefined)?.[element];
}

/** A field's value as a signed 64-bit integer; 0 where a kernel's event has no such field. */
function integer(value: FieldValue | undefined): bigint {
  return typeof value === 'bigint' || typeof value === 'number' ? BigInt.asIntN(64, BigInt(value)) : 0n;
}
