/**
 * `--field-mask time,process.pid,process.executable`: which fields of an event
 * are printed. Paths as in the proto (snake_case), in JSON (camelCase) or in filters (event.time).
 *
 *   Mask := path (',' path)*     path := name ('.' name)*
 */
import { protoPath } from '../../subscriptions/fields.js';
import { snakePath } from '../../text/nearest.js';
import { EVENT_FIELDS, withMarks } from '../../wire/event/field-mask.js';

/** Every leaf of backplane.v1.Event in its JSON form; raw.fields has names of its own below it. */
export const JSON_FIELDS: readonly string[] = EVENT_FIELDS.map(camelPath);

/** Paths in JSON form, each split at its dots, in the order given. */
export type ShownFields = readonly (readonly string[])[];

type JsonObject = Readonly<Record<string, unknown>>;

/** Fields that identify every event, and are always printed. */
export const WHEN_AND_WHERE: ShownFields = [['time'], ['node'], ['topic'], ['type']];
/** Fields that the proto promises in addition to those asked for. */
export const PROMISED: ShownFields = [...WHEN_AND_WHERE, ['position']];

/** @throws BackplaneError invalid_argument naming an unknown path and the nearest known one. */
export function parseFieldMask(text: string): ShownFields {
  return text.split(',').map((given) => camelPath(protoPath(given, '--field-mask')).split('.'));
}

/** With the mark of what may be inferred, which comes along. */
export function parseShownFields(text: string): ShownFields {
  const paths = text.split(',').map((given) => protoPath(given, '--field-mask'));
  return withMarks(paths).map((path) => camelPath(path).split('.'));
}

/** A path in JSON as filters and masks spell it. */
export function maskPath(path: string): string {
  return path.startsWith('raw.fields.') ? path : snakePath(path);
}

function camelPath(path: string): string {
  // Below raw.fields stand the kernel's names, which keep their underscores.
  if (path.startsWith('raw.fields.')) return path;
  return path.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Only the masked fields, nested as before. Fields that the event does not have are left out. */
export function applyFieldMask(event: JsonObject, mask: ShownFields): JsonObject {
  const result: Record<string, unknown> = {};
  for (const path of mask) {
    const value = valueAt(event, path);
    if (value === undefined) continue;
    let target = result;
    for (const name of path.slice(0, -1)) {
      const inner = Object.hasOwn(target, name) ? target[name] : undefined;
      // Copied, because the object may be the event's own, placed here whole by an earlier path.
      target[name] = isObject(inner) ? { ...inner } : {};
      target = target[name] as Record<string, unknown>;
    }
    target[path.at(-1) ?? ''] = value;
  }
  return result;
}

/** The value at a path, or undefined. */
export function valueAt(event: JsonObject, path: readonly string[]): unknown {
  let value: unknown = event;
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/** Every leaf of a JSON object with its dotted path, in order. Lists are leaves. */
export function* leaves(value: JsonObject, prefix = ''): Generator<readonly [string, unknown]> {
  for (const [name, part] of Object.entries(value)) {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    if (isObject(part)) yield* leaves(part, path);
    else yield [path, part];
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
