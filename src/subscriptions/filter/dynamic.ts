/**
 * Fields of any JSON, such as the body of an application's event: what stands below them has the type that its place in
 * the filter wants. Where the event has another type there, or nothing, the expression has no value.
 */
import { ARGUMENTS_MAX, JSON_DEPTH_MAX } from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import type { JsonValue } from '../../wire/json-value.js';
import type { CheckedExpr, ValueType } from './checked.js';
import { fail } from './closures.js';
import type { Field } from './schema.js';

type Dynamic = Extract<CheckedExpr, { kind: 'dyn' }>;

/** What can be read below a name. */
const ROOTS: ReadonlyMap<string, (event: BusEvent) => JsonValue | undefined> = new Map([
  ['app.body', (event: BusEvent) => event.app?.body],
  ['alert.details', (event: BusEvent) => event.alert?.details],
  ['audit.details', (event: BusEvent) => event.audit?.details],
]);
export const DYNAMIC_NAMES: readonly string[] = [...ROOTS.keys()];

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const KEYWORDS = new Set(['true', 'false', 'null', 'in']);
/** Of the whole numbers that JSON can have all are exact within this. */
const BOUND = Number.MAX_SAFE_INTEGER;

/** The expression of a name such as `app.body.version`; undefined for any other name. Names below keep their spelling. */
export function dynamicOf(name: string): Dynamic | undefined {
  const root = DYNAMIC_NAMES.find((each) => name === each || name.startsWith(`${each}.`));
  if (root === undefined) return undefined;
  return { kind: 'dyn', type: 'dyn', root, path: name === root ? [] : name.slice(root.length + 1).split('.') };
}

/** What stands in it under a name, or in a list at an index; undefined where it would be too deep to exist. */
export function below(expr: Dynamic, part: string | number): Dynamic | undefined {
  return expr.path.length < JSON_DEPTH_MAX ? { ...expr, path: [...expr.path, part] } : undefined;
}

/** As filters have it. */
export function dynamicName({ root, path }: Dynamic): string {
  const parts = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`;
    return NAME.test(part) && !KEYWORDS.has(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  });
  return root + parts.join('');
}

/** Undefined where there is nothing. */
export function dynamicValue({ root, path }: Dynamic): (event: BusEvent) => JsonValue | undefined {
  const read = ROOTS.get(root)!;
  return (event) => {
    let value = read(event);
    for (const part of path) value = partOf(value, part);
    return value;
  };
}

function partOf(value: JsonValue | undefined, part: string | number): JsonValue | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) return typeof part === 'number' ? value[part] : undefined;
  const entries = value as Readonly<Record<string, JsonValue>>;
  return typeof part === 'string' && Object.hasOwn(entries, part) ? entries[part] : undefined;
}

/** Whether there is a value, whatever its type. */
export function hasDynamic(expr: Dynamic): CheckedExpr {
  const value = dynamicValue(expr);
  return { kind: 'has', type: 'bool', name: dynamicName(expr), present: (event) => isPresent(value(event)) };
}

/** The expression as one of a type; unchanged where it is none of any JSON, or JSON has no such type. */
export function coerced(expr: CheckedExpr, type: ValueType): CheckedExpr {
  if (expr.kind !== 'dyn') return expr;
  const field = fieldOf(expr, type);
  return field === undefined ? expr : { kind: 'field', type: field.type, field };
}

function fieldOf(expr: Dynamic, type: ValueType): Field | undefined {
  const name = dynamicName(expr);
  const value = dynamicValue(expr);
  const common = { name, dynamic: true, present: (event: BusEvent) => isPresent(value(event)) } as const;
  switch (type) {
    case 'bool':
      return { ...common, type, read: (event) => only(value(event), isBool) };
    case 'int':
      return { ...common, type, bound: BOUND, read: (event) => only(value(event), isInt) };
    case 'string':
      return { ...common, type, read: (event) => only(value(event), isString) };
    case 'list(string)':
      return { ...common, type, read: (event) => only(value(event), isStrings) };
    default:
      return undefined;
  }
}

/** As in protobuf: null is nothing. */
function isPresent(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

function only<T extends JsonValue>(value: JsonValue | undefined, is: (value: JsonValue | undefined) => value is T): T {
  return is(value) ? value : fail();
}

function isBool(value: JsonValue | undefined): value is boolean {
  return typeof value === 'boolean';
}

function isInt(value: JsonValue | undefined): value is number {
  return Number.isSafeInteger(value);
}

function isString(value: JsonValue | undefined): value is string {
  return typeof value === 'string';
}

/** No longer than a list of arguments, for which the cost of filters is computed. */
function isStrings(value: JsonValue | undefined): value is readonly string[] {
  return Array.isArray(value) && value.length <= ARGUMENTS_MAX && value.every(isString);
}
