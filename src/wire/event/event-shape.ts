/** The schema's messages as tables, for code that checks encoded messages without decoding them. */
import { type MessageField, messageFields } from '../schema.js';

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
  /** Number of a field without which nobody can decode the message: the value of an entry of a map; 0: none. */
  readonly required: number;
}

const KINDS: Readonly<Record<string, number>> = {
  string: STRING,
  bytes: BYTES,
  fixed64: WIDE,
  sfixed64: WIDE,
  double: WIDE,
  fixed32: NARROW,
  sfixed32: NARROW,
  float: NARROW,
  int32: NUMBER32,
  uint32: NUMBER32,
  sint32: NUMBER32,
  bool: NUMBER32,
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
  return shapeOf(`.backplane.v1.${name}`, new Map());
}

function shapeOf(fullName: string, known: Map<string, EventShape>): EventShape {
  const before = known.get(fullName);
  if (before !== undefined) return before;
  const fields = messageFields(fullName)!;
  const shape = emptyShape(Math.max(...fields.map(({ id }) => id)));
  known.set(fullName, shape);
  for (const field of fields) {
    const { id, keyType, of } = field;
    if (keyType !== undefined) {
      // Each entry is a message of its own.
      shape.kinds[id] = MESSAGE;
      const entry = emptyShape(2, of !== undefined && messageFields(of) ? 2 : 0);
      shape.inner[id] = entry;
      entry.kinds[1] = KINDS[keyType] ?? NUMBER;
      addField(entry, 2, field, fullName, known);
    } else addField(shape, id, field, fullName, known);
  }
  return shape;
}

function emptyShape(numberMax: number, required = 0): EventShape {
  const size = numberMax + 1;
  return { kinds: new Uint8Array(size), inner: new Array<EventShape | undefined>(size).fill(undefined), required };
}

function addField(
  shape: EventShape,
  number: number,
  { name, type, repeated, of }: MessageField,
  parent: string,
  known: Map<string, EventShape>,
): void {
  if (of !== undefined && messageFields(of)) {
    shape.kinds[number] = MESSAGE;
    shape.inner[number] = shapeOf(of, known);
    return;
  }
  const ofTime = parent === '.google.protobuf.Timestamp' ? TIMESTAMP[name] : undefined;
  const kind = ofTime ?? (of === undefined ? (KINDS[type] ?? NUMBER) : NUMBER32);
  shape.kinds[number] = repeated ? (REPEATED[kind] ?? kind) : kind;
}
