/**
 * JSON as google.protobuf.Value, which is JSON itself in protojson: what applications publish as the body of an event.
 *
 *   Value     := null_value 1 varint | number_value 2 double | string_value 3 | bool_value 4 varint
 *              | struct_value 5 Struct | list_value 6 ListValue
 *   Struct    := fields 1 (key 1 | value 2 Value)*
 *   ListValue := values 1 Value*
 */
import { isUtf8 } from 'node:buffer';
import { invalid } from '../errors.js';
import { JSON_DEPTH_MAX } from '../limits.js';
import { FIXED64, LENGTH, ProtoReader, ProtoWriter, VARINT, varintBytes } from './protobuf.js';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

const NULL = 1;
const NUMBER = 2;
const STRING = 3;
const BOOL = 4;
const STRUCT = 5;
const LIST = 6;

/** Text that has half of a surrogate pair has no UTF-8. */
const SURROGATE = /\p{Cs}/u;

/**
 * Checks what JSON.parse, or decodeJsonValue, made, without going deeper than JSON_DEPTH_MAX. Throws invalid_argument that
 * names the place below `path`.
 */
export function checkJsonValue(value: unknown, path: string, depth = 1): asserts value is JsonValue {
  if (typeof value === 'string') {
    if (SURROGATE.test(value)) throw invalid(path, 'is not valid Unicode (a lone surrogate)');
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw invalid(path, 'must be a number of 64 bits: it is too large');
  } else if (typeof value === 'object' && value !== null) {
    if (depth > JSON_DEPTH_MAX) throw invalid(path.slice(0, 64), `must be at most ${JSON_DEPTH_MAX} deep`);
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) checkJsonValue(item, `${path}[${index}]`, depth + 1);
    } else checkJsonObject(value, path, depth);
  }
}

function checkJsonObject(value: object, path: string, depth: number): void {
  for (const [name, item] of Object.entries(value)) {
    // Programs that copy it into an object of theirs would give that object another prototype.
    if (name === '__proto__') throw invalid(path, 'must not have the name __proto__');
    if (SURROGATE.test(name)) throw invalid(path, 'has a name that is not valid Unicode (a lone surrogate)');
    checkJsonValue(item, `${path}.${name.slice(0, 64)}`, depth + 1);
  }
}

export function encodeJsonValue(value: JsonValue): Buffer {
  const sizes: number[] = [];
  const writer = new ProtoWriter(measure(value, sizes));
  write(value, writer, sizes.values());
  return writer.finish();
}

/** Size of the encoded value. `sizes` gets those of all structs, lists, entries and values in them, in order. */
function measure(value: JsonValue, sizes: number[]): number {
  if (value === null || typeof value === 'boolean') return 2;
  if (typeof value === 'number') return 9;
  if (typeof value === 'string') return chunkBytes(Buffer.byteLength(value));
  const at = sizes.push(0) - 1;
  let bytes = 0;
  for (const [name, item] of itemsOf(value)) {
    const itemAt = sizes.push(0) - 1;
    const itemBytes = measure(item, sizes);
    const entryBytes = name === undefined ? itemBytes : entrySize(name, itemBytes);
    sizes[itemAt] = itemBytes;
    bytes += chunkBytes(entryBytes);
  }
  sizes[at] = bytes;
  return chunkBytes(bytes);
}

function entrySize(name: string, valueBytes: number): number {
  return chunkBytes(Buffer.byteLength(name)) + chunkBytes(valueBytes);
}

function chunkBytes(length: number): number {
  return 1 + varintBytes(length) + length;
}

function itemsOf(value: readonly JsonValue[] | JsonObject): readonly (readonly [string | undefined, JsonValue])[] {
  return Array.isArray(value) ? value.map((item) => [undefined, item] as const) : Object.entries(value);
}

function write(value: JsonValue, writer: ProtoWriter, sizes: Iterator<number>): void {
  if (value === null || typeof value === 'boolean') {
    writer.tag(value === null ? NULL : BOOL, VARINT);
    writer.varint(value === true ? 1 : 0);
  } else if (typeof value === 'number') {
    writer.tag(NUMBER, FIXED64);
    writer.offset = writer.bytes.writeDoubleLE(value, writer.offset);
  } else if (typeof value === 'string') {
    text(STRING, value, writer);
  } else {
    head(Array.isArray(value) ? LIST : STRUCT, sizes.next().value, writer);
    for (const [name, item] of itemsOf(value)) {
      const itemBytes = sizes.next().value as number;
      head(1, name === undefined ? itemBytes : entrySize(name, itemBytes), writer);
      if (name !== undefined) {
        text(1, name, writer);
        head(2, itemBytes, writer);
      }
      write(item, writer, sizes);
    }
  }
}

/** Tag and length of what follows. */
function head(field: number, length: number, writer: ProtoWriter): void {
  writer.tag(field, LENGTH);
  writer.varint(length);
}

/** Written also where it is empty: a field of a choice. */
function text(field: number, value: string, writer: ProtoWriter): void {
  head(field, Buffer.byteLength(value), writer);
  writer.offset += writer.bytes.write(value, writer.offset);
}

/** Throws invalid_argument for what is no Value, or deeper than JSON_DEPTH_MAX; check the result where it is not ours. */
export function decodeJsonValue(bytes: Buffer, what = 'body', depth = 1): JsonValue {
  const reader = new ProtoReader(bytes, what);
  if (depth > JSON_DEPTH_MAX + 1) throw reader.fail(`must be at most ${JSON_DEPTH_MAX} deep`);
  let value: JsonValue | undefined;
  while (reader.nextTag()) {
    // The last one of a choice counts.
    if (reader.field === NULL) value = readNull(reader);
    else if (reader.field === NUMBER) value = readDouble(reader);
    else if (reader.field === STRING) value = readText(reader);
    else if (reader.field === BOOL) value = reader.bool();
    else if (reader.field === STRUCT) value = readStruct(reader.chunk(), what, depth);
    else if (reader.field === LIST) value = readList(reader.chunk(), what, depth);
    else throw reader.fail(`has the unknown field ${reader.field}`);
  }
  if (value === undefined) throw reader.fail('has a value of no kind');
  return value;
}

function readNull(reader: ProtoReader): null {
  reader.uint();
  return null;
}

function readDouble(reader: ProtoReader): number {
  const at = reader.offset;
  reader.fixed64();
  return reader.bytes.readDoubleLE(at);
}

function readText(reader: ProtoReader): string {
  const chunk = reader.chunk();
  if (!isUtf8(chunk)) throw reader.fail('must be UTF-8');
  return chunk.toString('utf8');
}

function readStruct(bytes: Buffer, what: string, depth: number): JsonValue {
  const reader = new ProtoReader(bytes, what);
  const entries: [string, JsonValue][] = [];
  while (reader.nextTag()) {
    if (reader.field !== 1) throw reader.fail(`has the unknown field ${reader.field}`);
    entries.push(readEntry(reader.chunk(), what, depth));
  }
  // Own properties, whatever their names.
  return Object.fromEntries(entries);
}

function readEntry(bytes: Buffer, what: string, depth: number): [string, JsonValue] {
  const reader = new ProtoReader(bytes, what);
  let name = '';
  let value: JsonValue | undefined;
  while (reader.nextTag()) {
    if (reader.field === 1) name = readText(reader);
    else if (reader.field === 2) value = decodeJsonValue(reader.chunk(), what, depth + 1);
    else throw reader.fail(`has the unknown field ${reader.field}`);
  }
  if (value === undefined) throw reader.fail('has a name without a value');
  return [name, value];
}

function readList(bytes: Buffer, what: string, depth: number): JsonValue {
  const reader = new ProtoReader(bytes, what);
  const values: JsonValue[] = [];
  while (reader.nextTag()) {
    if (reader.field !== 1) throw reader.fail(`has the unknown field ${reader.field}`);
    values.push(decodeJsonValue(reader.chunk(), what, depth + 1));
  }
  return values;
}
