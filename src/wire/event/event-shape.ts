/** The schema's messages as tables, for code that checks encoded messages without decoding them. */
import { packageDefinition } from '../schema.js';

/** 9999-12-31T23:59:59Z, the last second a Timestamp may name. */
export const SECONDS_MAX = 253_402_300_799;
export const NANOS_MAX = 999_999_999;

/** The kinds of fields. */
export const UNKNOWN = 0;
export const NUMBER = 1;
export const WIDE = 2;
export const NARROW = 3;
export const STRING = 4;
export const BYTES = 5;
export const MESSAGE = 6;
/** Repeated numbers: packed, or one by one. */
export const NUMBERS = 7;
export const WIDES = 8;
export const NARROWS = 9;
/** A number of at most 32 bits. */
export const NUMBER32 = 10;
/** Fields of a Timestamp: values out of range have no text form. */
export const SECONDS = 11;
export const NANOS = 12;

export interface EventShape {
  /** By field number. */
  readonly kinds: Uint8Array;
  readonly inner: (EventShape | undefined)[];
}

interface Descriptor {
  readonly name: string;
  readonly field: readonly FieldDescriptor[];
  readonly nestedType: readonly Descriptor[];
}

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}

const KINDS: Readonly<Record<string, number>> = {
  TYPE_STRING: STRING,
  TYPE_BYTES: BYTES,
  TYPE_MESSAGE: MESSAGE,
  TYPE_FIXED64: WIDE,
  TYPE_SFIXED64: WIDE,
  TYPE_DOUBLE: WIDE,
  TYPE_FIXED32: NARROW,
  TYPE_SFIXED32: NARROW,
  TYPE_FLOAT: NARROW,
  TYPE_INT32: NUMBER32,
  TYPE_UINT32: NUMBER32,
  TYPE_SINT32: NUMBER32,
  TYPE_BOOL: NUMBER32,
  TYPE_ENUM: NUMBER32,
};
const TIMESTAMP: Readonly<Record<string, number>> = { seconds: SECONDS, nanos: NANOS };
const REPEATED: Readonly<Record<number, number>> = {
  [NUMBER]: NUMBERS,
  [NUMBER32]: NUMBERS,
  [WIDE]: WIDES,
  [NARROW]: NARROWS,
};

/** `name` is that of a message in backplane.v1. */
export function shapeOfMessage(name: string): EventShape {
  return shapeOf(descriptorOf(name), new Map());
}

function descriptorOf(name: string): Descriptor {
  const definition = packageDefinition[name] ?? packageDefinition[`backplane.v1.${name}`];
  if (definition === undefined || !('type' in definition)) throw new Error(`the schema has no message ${name}`);
  return definition.type as Descriptor;
}

function shapeOf(descriptor: Descriptor, known: Map<Descriptor, EventShape>): EventShape {
  const before = known.get(descriptor);
  if (before !== undefined) return before;
  const size = 1 + Math.max(...descriptor.field.map(({ number }) => number));
  const shape: EventShape = {
    kinds: new Uint8Array(size),
    inner: new Array<EventShape | undefined>(size).fill(undefined),
  };
  known.set(descriptor, shape);
  for (const { name, number, label, type, typeName } of descriptor.field) {
    const kind = (descriptor.name === 'Timestamp' ? TIMESTAMP[name] : undefined) ?? KINDS[type] ?? NUMBER;
    shape.kinds[number] = label === 'LABEL_REPEATED' ? (REPEATED[kind] ?? kind) : kind;
    if (kind !== MESSAGE) continue;
    const nested = descriptor.nestedType.find((each) => each.name === typeName);
    shape.inner[number] = shapeOf(nested ?? descriptorOf(typeName), known);
  }
  return shape;
}
