/**
 * Turns system calls, and other events that are recorded only while somebody
 * asks for them, into parts of typed events. None of them carries context that
 * others need, so they are decoded only where somebody wants their type.
 */
import { posix } from 'node:path';
import { syscallName } from '../../architecture/architecture.js';
import {
  CATALOGUE,
  type CatalogueEntry,
  isCallEvent,
  pathPointsOf,
  type RawRef,
  tracedEvents,
} from '../../subscriptions/pushdown/catalogue.js';
import type { BusEvent, FileContext, SyscallContext } from '../../wire/event/event.js';
import type { FieldValue, FieldValues } from '../source/pages/decoder.js';
import type { JoinedCall } from './calls/call-join.js';
import { callNumbers } from './calls/call-numbers.js';
import { moduleObject, namedBy } from './calls/named-call.js';
import type { GivenPaths } from './paths/path-join.js';

/** Types of the profiles beyond `lite`, by `group/event`; the agent's own points, whose group is the recorder's, by name. */
export const ON_DEMAND: ReadonlyMap<string, CatalogueEntry> = new Map(
  [...CATALOGUE.values()]
    // Which datagram is a socket's first to a peer depends on all before it: they are followed.
    .filter(({ profile }) => profile !== 'lite' && profile !== 'udp')
    .flatMap((entry) => eventsOf(entry).map((name) => [name, entry] as const)),
);

function eventsOf(entry: CatalogueEntry): readonly string[] {
  return [...tracedEvents(entry), ...pathPointsOf(entry).flatMap(({ name, beside }) => [name, ...beside])];
}

const RETURNS = /^sys_exit_/;

/** Entries by the event's own name, which is unique among all events that are followed. */
const BY_NAME = new Map([...ON_DEMAND].map(([name, entry]) => [name.replace(/^.*\//, ''), entry]));

/** The type of such a trace event, by its own name; undefined for all others. */
export function onDemandType(name: string): string | undefined {
  return BY_NAME.get(name)?.type;
}

/** The descriptor that a call that opens files returned, negative where it failed; undefined for all other events. */
export function openedDescriptor(name: string, values: FieldValues): number | undefined {
  if (!RETURNS.test(name) || BY_NAME.get(name)?.type !== 'file.open') return undefined;
  return Number(integer(values['ret']));
}

/** What is known beside the event: the link of an opened descriptor, and what the kernel was given. */
export interface KnownPaths {
  readonly link?: string | undefined;
  readonly given?: GivenPaths | undefined;
}

type Parts = Pick<BusEvent, 'syscall' | 'file' | 'raw' | 'mount' | 'object'>;
const NOTHING_NAMED: ReadonlyMap<string, FieldValues> = new Map();

/** The parts of an event other than its process. `name` must have an onDemandType. */
export function onDemandParts(name: string, values: FieldValues, known: KnownPaths = {}): Parts {
  const entry = BY_NAME.get(name)!;
  if (isCallEvent(name)) return { file: calledFile(values, known.given) };
  if (entry.type === 'file.open') return { file: openedFile(values, known) };
  if (entry.profile === 'file') return { file: fileOf(entry.type, values) };
  if (entry.traceEvent?.startsWith('module/'))
    return { raw: { name, fields: textOf(values) }, object: moduleObject(values) };
  if (entry.raw.has('syscall.result')) return { syscall: syscallOf(entry, undefined, values) };
  return { syscall: syscallOf(entry, values), ...namedBy(entry.type, NOTHING_NAMED, values) };
}

/** From the values of a call's begin, where they are known, and of its return, where that is told. */
function syscallOf(entry: CatalogueEntry, begin: FieldValues | undefined, returned?: FieldValues): SyscallContext {
  const { raw, profile, type } = entry;
  const values = returned ?? begin ?? {};
  const id = integer(raw.has('syscall.id') ? refValue(raw.get('syscall.id')!, values) : values['__syscall_nr']);
  const args = begin === undefined ? [] : entry.args.map((ref) => integer(refValue(ref, begin)));
  const call = profile === 'security' ? type.slice('security.'.length) : syscallName(id);
  const name = syscallName(id) || call;
  const result = returned === undefined ? 0n : integer(returned['ret']);
  return { id, name, args, result, returned: returned !== undefined, ...callNumbers(call, args) };
}

/** The parts of a call that names something, as it returns with `values`. */
export function returnedParts({ type, begin, named }: JoinedCall, values: FieldValues): Parts {
  const entry = CATALOGUE.get(type)!;
  return { syscall: syscallOf(entry, begin, values), ...namedBy(type, named, begin) };
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
  'file.chown': { descriptor: 'dfd', flags: 'flag' },
  'file.truncate': { descriptor: 'dfd' },
};

/** What only chown and truncate have, by the names of a call's arguments or of a probe's. */
function numbersOf(values: FieldValues): Pick<FileContext, 'ownerId' | 'groupId' | 'size'> {
  const [owner, size] = ['owner' in values ? 'owner' : 'user', 'size' in values ? 'size' : 'length'];
  return {
    ...(owner in values && { ownerId: idOf(values[owner]) }),
    ...('group' in values && { groupId: idOf(values['group']) }),
    ...(size in values && { size: integer(values[size]) }),
  };
}

function fileOf(type: string, values: FieldValues): FileContext {
  const { descriptor, flags, mode } = FILE_FIELDS[type]!;
  return {
    path: '',
    pathMissed: true,
    descriptor: descriptor in values ? narrow(values[descriptor]) : WORKING_DIRECTORY,
    flags: flags === undefined ? 0 : narrow(values[flags]),
    mode: mode === undefined ? 0 : narrow(values[mode]),
    ...numbersOf(values),
  };
}

/** -1 leaves it as it is; all others are unsigned. */
function idOf(value: FieldValue | undefined): number {
  const id = narrow(value);
  return id === -1 ? -1 : id >>> 0;
}

/** ATTR_OPEN, include/linux/fs.h: an open that empties its file, which its flags tell. */
const TRUNCATES_AT_OPEN = 0x8000;

/** Whether an entry is of a call that another event tells: of truncating, as some kernels have one function for all. */
export function isOthersEvent(name: string, values: FieldValues): boolean {
  if (!isCallEvent(name) || !('file' in values)) return false;
  return integer(values['file']) === 0n || (narrow(values['attributes']) & TRUNCATES_AT_OPEN) !== 0;
}

/** Of a probe that has a call's numbers; its paths are another's. */
function calledFile(values: FieldValues, given: GivenPaths | undefined): FileContext {
  const { path = '', newPath, resolved, namespace } = given ?? {};
  const file = {
    path,
    pathMissed: path === '' || ('new_directory' in values && newPath === undefined),
    descriptor: 'directory' in values ? narrow(values['directory']) : WORKING_DIRECTORY,
    flags: narrow(values['flags']),
    mode: narrow(values['mode']),
    ...numbersOf(values),
    ...(resolved === true && path !== '' && { pathResolved: true }),
    ...(namespace !== undefined && { mountNamespace: namespace }),
  };
  return newPath === undefined ? file : { ...file, newPath };
}

/**
 * Whether a link may be of the file that a relative path names: the descriptor may have become another file's by the time
 * the link was read. Through a symbolic link it leads elsewhere, too, and is as little believed.
 */
function mayLead(link: string, relative: string): boolean {
  const named = posix.normalize(relative).replace(/^(\.\.\/)+|\/$/g, '');
  return named === '.' || named === '..' || link.endsWith(`/${named}`);
}

/** An absolute path is told as it was given; of a relative one the link says where it is. */
function openedFile(values: FieldValues, { given, link = '' }: KnownPaths): FileContext {
  const { path: asGiven = '', flags = 0, mode = 0 } = given ?? {};
  const resolved = link !== '' && (asGiven === '' || (!asGiven.startsWith('/') && mayLead(link, asGiven)));
  const path = resolved ? link : asGiven;
  const opened = { path, pathMissed: path === '', descriptor: narrow(values['ret']), flags, mode };
  return resolved ? { ...opened, pathResolved: true } : opened;
}

export function narrow(value: FieldValue | undefined): number {
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
