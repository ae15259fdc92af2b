/**
 * Turns system calls, and other events that are recorded only while somebody
 * asks for them, into parts of typed events. None of them carries context that
 * others need, so they are decoded only where somebody wants their type.
 */
import { CATALOGUE, type CatalogueEntry, type RawRef } from '../../subscriptions/pushdown/catalogue.js';
import type { BusEvent, FileContext, SyscallContext } from '../../wire/event/event.js';
import type { FieldValue, FieldValues } from '../source/pages/decoder.js';
import { syscallName } from './syscall-names.js';

/** Types of the profiles beyond `lite`, by `group/event`. */
export const ON_DEMAND: ReadonlyMap<string, CatalogueEntry> = new Map(
  [...CATALOGUE.values()]
    .filter(({ profile }) => profile !== 'lite')
    .flatMap((entry) => [entry.traceEvent, ...entry.alsoTraced].map((name) => [name, entry] as const)),
);

/** Entries by the event's own name, which is unique among all events that are followed. */
const BY_NAME = new Map([...ON_DEMAND].map(([name, entry]) => [name.replace(/^.*\//, ''), entry]));

/** The type of such a trace event, by its own name; undefined for all others. */
export function onDemandType(name: string): string | undefined {
  return BY_NAME.get(name)?.type;
}

/**
 * The descriptor that a call returned, whose path can be looked up; undefined for all other events and failed calls.
 */
export function openedDescriptor(name: string, values: FieldValues): number | undefined {
  if (BY_NAME.get(name)?.type !== 'file.open') return undefined;
  const result = Number(integer(values['ret']));
  return result >= 0 ? result : undefined;
}

/** The parts of an event other than its process. `name` must have an onDemandType; `path` was read beside the event. */
export function onDemandParts(
  name: string,
  values: FieldValues,
  path?: string,
): Pick<BusEvent, 'syscall' | 'file' | 'raw'> {
  const entry = BY_NAME.get(name)!;
  if (entry.profile === 'file') return { file: fileOf(entry.type, values, path) };
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

/** Fields by type. The parameters are ints, so only 32 bits of an argument register count. */
const FILE_FIELDS: Readonly<Record<string, { descriptor: string; flags?: string; mode?: string }>> = {
  'file.open': { descriptor: 'ret' },
  'file.unlink': { descriptor: 'dfd', flags: 'flag' },
  'file.rename': { descriptor: 'olddfd', flags: 'flags' },
  'file.chmod': { descriptor: 'dfd', mode: 'mode' },
};

/** AT_FDCWD: older calls have no directory among their arguments and start from the working directory. */
const WORKING_DIRECTORY = -100;

function fileOf(type: string, values: FieldValues, path = ''): FileContext {
  const { descriptor, flags, mode } = FILE_FIELDS[type]!;
  const number = (name: string | undefined) =>
    name === undefined ? 0 : Number(BigInt.asIntN(32, integer(values[name])));
  return {
    path,
    pathMissed: path === '',
    descriptor: descriptor in values ? number(descriptor) : WORKING_DIRECTORY,
    flags: number(flags),
    mode: number(mode),
  };
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
