/** What calls of the profile `security` name: what is mounted where, what a memfd and a module are called. */
import { FILE_PATHS_BYTES_MAX } from '../../../limits.js';
import type { BusEvent, MountContext, ObjectContext } from '../../../wire/event/event.js';
import { copiedText } from '../../source/pages/copied-text.js';
import type { FieldValues } from '../../source/pages/decoder.js';
import { mountedPlace } from '../../source/paths/mounted-place.js';
import { cut } from '../../source/process-text.js';

/** The kernel writes it before the name of each. */
const MEMFD = 'memfd:';
/** FSCONFIG_CMD_CREATE and FSCONFIG_CMD_CREATE_EXCL: include/uapi/linux/mount.h */
const MAKES_FILESYSTEM: readonly bigint[] = [6n, 8n];

type Named = Pick<BusEvent, 'mount' | 'object'>;
type Names = ReadonlyMap<string, FieldValues>;

/** By type. `begin`: the values of the call's begin, where they are known. */
const NAMED: Readonly<Record<string, (named: Names, begin: FieldValues | undefined) => Named>> = {
  'security.mount': (named, begin) => {
    const [names, target] = [named.get('name_mount'), placeOf(named.get('place_mount'))];
    // A program need not give them: their address is 0 then.
    const [source, type] = [copiedText(names?.['source']), copiedText(names?.['type'])];
    const left = (field: string) => begin !== undefined && Number(begin[field]) === 0;
    const known =
      names !== undefined && (source !== undefined || left('dev_name')) && (type !== undefined || left('type'));
    return mounted({ source, target, type }, known && target !== undefined);
  },
  'security.umount': (named) => {
    const target = placeOf(named.get('place_umount'));
    return mounted({ target }, target !== undefined);
  },
  'security.fsopen': (named) => {
    const type = copiedText(named.get('name_fsopen')?.['type']);
    return mounted({ type }, type !== undefined);
  },
  'security.fsconfig': (named, begin) => {
    const names = named.get('name_fsconfig');
    const makes = begin !== undefined && MAKES_FILESYSTEM.includes(BigInt.asUintN(32, BigInt(begin['cmd'] as bigint)));
    if (names === undefined && !makes) return {};
    // A filesystem need not have a source.
    const [source, type] = [copiedText(names?.['source']), copiedText(names?.['type'])];
    return mounted({ source, type }, type !== undefined);
  },
  'security.move_mount': (named) => {
    const [names, target] = [named.get('name_move_mount'), placeOf(named.get('place_move_mount'))];
    const [source, type] = [copiedText(names?.['source']), copiedText(names?.['type'])];
    return mounted({ source, target, type }, source !== undefined && type !== undefined && target !== undefined);
  },
  'security.memfd_create': (named) => {
    const name = copiedText((named.get('name_memfd') ?? named.get('name_memfd_huge'))?.['name']);
    if (name === undefined || !name.startsWith(MEMFD)) return { object: { name: '', nameMissed: true } };
    return { object: object(name.slice(MEMFD.length)) };
  },
};

/** What a call names; nothing for those that name nothing. */
export function namedBy(type: string, named: Names, begin: FieldValues | undefined): Named {
  return Object.hasOwn(NAMED, type) ? NAMED[type]!(named, begin) : {};
}

/** Of a module's tracepoint. */
export function moduleObject(values: FieldValues): ObjectContext {
  return object(copiedText(values['name']) ?? '');
}

function object(name: string): ObjectContext {
  return { name: cut(name), nameMissed: false };
}

function placeOf(values: FieldValues | undefined): string | undefined {
  return values && mountedPlace(values)?.path;
}

/** What an event has no room for beside the rest is said to be missed. */
function mounted(
  given: { [part in Exclude<keyof MountContext, 'missed'>]?: string | undefined },
  known: boolean,
): Named {
  const parts = { source: cut(given.source ?? ''), target: cut(given.target ?? ''), type: cut(given.type ?? '') };
  const bytes = (text: string) => Buffer.byteLength(text);
  const room = bytes(parts.source) + bytes(parts.target) + bytes(parts.type) <= FILE_PATHS_BYTES_MAX;
  return { mount: room ? { ...parts, missed: !known } : { source: '', target: parts.target, type: '', missed: true } };
}
