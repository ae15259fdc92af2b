/**
 * Reads protojson strictly: what is no field is refused with the nearest name, and so are values of another type. Field
 * names are those of JSON or those of the proto; null is a field that is not given. What requests have: messages, lists,
 * texts, flags, whole numbers, times, and any JSON.
 */
import protobuf from 'protobufjs/light.js';
import { type BackplaneError, invalid } from '../errors.js';
import { didYouMean, nearest, snakePath } from '../text/nearest.js';
import { shown } from '../text/shown.js';
import { parseTimestamp } from '../text/time-text.js';

const INTEGERS: Readonly<Record<string, readonly [min: bigint, max: bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
};
const NS_PER_S = 1_000_000_000n;
const INTEGER_TEXT = /^-?\d{1,20}$/;

/**
 * The message as `type.fromObject` takes it. `path`: where the value stands, empty for the whole. Throws
 * invalid_argument that names the field, as the proto does, and what came.
 */
export function readMessage(type: protobuf.Type, value: unknown, path = ''): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    if (path === '') throw invalid('body', `must be a JSON object, got ${kindOf(value)}`);
    throw wrong(path, 'an object', value);
  }
  const message: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(value)) {
    const field = fieldOf(type, name, path);
    const at = join(path, snakePath(field.name));
    if (Object.hasOwn(message, field.name)) throw invalid(at, 'is given twice, by both of its names');
    if (given !== null) message[field.name] = readField(field, given, at);
  }
  return message;
}

function fieldOf(type: protobuf.Type, name: string, path: string): protobuf.Field {
  const names = Object.keys(type.fields);
  const known = names.find((each) => each === name || snakePath(each) === name);
  if (known !== undefined) return type.fields[known]!;
  const meant = nearest(name, names);
  const at = join(path, name);
  throw invalid(shown(at), `is no field of ${type.name}${didYouMean(meant)}`, { field: at, suggestion: meant });
}

function readField(field: protobuf.Field, value: unknown, path: string): unknown {
  field.resolve();
  if (!field.repeated) return readValue(field, value, path);
  if (!Array.isArray(value)) throw wrong(path, 'a list', value);
  return value.map((item, index) => readValue(field, item, `${path}[${index}]`));
}

function readValue({ type, resolvedType }: protobuf.Field, value: unknown, path: string): unknown {
  // Any JSON, for whoever wants it to check.
  if (resolvedType?.fullName === '.google.protobuf.Value') return value;
  if (resolvedType?.fullName === '.google.protobuf.Timestamp') return readTime(value, path);
  if (resolvedType instanceof protobuf.Type) return readMessage(resolvedType, value, path);
  if (type === 'bool') return checked(typeof value === 'boolean', path, 'true or false', value);
  if (type === 'string') return checked(typeof value === 'string', path, 'text', value);
  return readInteger(type, value, path);
}

function readTime(value: unknown, path: string): unknown {
  const timeNs = typeof value === 'string' ? parseTimestamp(value) : undefined;
  if (timeNs === undefined || timeNs < 0n) throw wrong(path, 'a time such as "2026-01-31T12:00:00Z"', value);
  return { seconds: String(timeNs / NS_PER_S), nanos: Number(timeNs % NS_PER_S) };
}

function checked(isRight: boolean, path: string, wanted: string, value: unknown): unknown {
  if (!isRight) throw wrong(path, wanted, value);
  return value;
}

/** Numbers, and texts of them: a number beyond 2^53 is no longer what was written. */
function readInteger(type: string, value: unknown, path: string): string {
  const [min, max] = INTEGERS[type]!;
  const isWhole =
    typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'string' && INTEGER_TEXT.test(value);
  if (typeof value === 'number' && max > Number.MAX_SAFE_INTEGER && Math.abs(value) > Number.MAX_SAFE_INTEGER)
    throw wrong(path, `text beyond ${Number.MAX_SAFE_INTEGER}`, value);
  const number = isWhole ? BigInt(value as number | string) : undefined;
  if (number === undefined || number < min || number > max) {
    throw wrong(path, `a whole number from ${min} to ${max}`, value);
  }
  return number.toString();
}

function wrong(path: string, wanted: string, value: unknown): BackplaneError {
  return invalid(path, `must be ${wanted}, got ${kindOf(value)}`);
}

function kindOf(value: unknown): string {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return shown(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
