/**
 * The kernel's `format` files: what an event's payload looks like. Parsed
 * from text that may come from a capture or an old segment, so everything is
 * checked before a decoder is generated from it.
 *
 * File  := "name: " NAME  "ID: " u16  "format:" Field*  "print fmt: " text
 * Field := "field:" C declaration ";" "offset:" n ";" "size:" n ";" "signed:" 0|1 ";"
 */
import { BackplaneError } from '../../../errors.js';
import { FORMAT_BYTES_MAX, FORMAT_FIELDS_MAX, FORMATS_MAX, PAGE_BYTES_MAX } from '../../../limits.js';
import { compileDecoder, type Decoder } from './decoder.js';
import type { TraceField } from './field.js';

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const FIELD_LINE = /^\tfield:([^;]+);\toffset:(\d+);\tsize:(\d+);(?:\tsigned:(\d+);)?$/;
const BYTE_TYPES = /^(?:const )?(?:(?:__)?[us]8|unsigned char|signed char|uint8_t)$/;

/** One event's payload layout. `decode` is generated at first use. */
export class EventFormat {
  #decoder: Decoder | undefined;

  constructor(
    readonly id: number,
    readonly group: string,
    readonly name: string,
    /** Without the common fields; see `eventPid` for the one that matters. */
    readonly fields: readonly TraceField[],
    readonly text: string,
  ) {}

  field(name: string): TraceField | undefined {
    return this.fields.find((field) => field.name === name);
  }

  /** Values of all fields; 64-bit ones as bigint. Nothing outside [at, at + length) is read. */
  get decode(): Decoder {
    this.#decoder ??= compileDecoder(this.fields);
    return this.#decoder;
  }
}

/**
 * The events that a source or a segment holds, by id and by name.
 * Plain form: `{"sched/sched_process_exec": "<text of the format file>"}`.
 */
export class FormatTable {
  readonly #byId = new Map<number, EventFormat>();
  readonly #byName = new Map<string, EventFormat>();

  constructor(formats: Iterable<EventFormat>) {
    for (const format of formats) {
      this.#byId.set(format.id, format);
      this.#byName.set(format.name, format);
      this.#byName.set(`${format.group}/${format.name}`, format);
    }
  }

  /** Throws `damaged` naming the event whose text is not a format file. */
  static parse(texts: Readonly<Record<string, string>>): FormatTable {
    const entries = Object.entries(texts);
    if (entries.length > FORMATS_MAX) {
      throw new BackplaneError('damaged', `formats must be at most ${FORMATS_MAX}, got ${entries.length}`);
    }
    return new FormatTable(entries.map(([key, text]) => parseFormat(key, text)));
  }

  texts(): Record<string, string> {
    return Object.fromEntries(this.all().map((format) => [`${format.group}/${format.name}`, format.text]));
  }

  all(): EventFormat[] {
    return [...this.#byId.values()];
  }

  byId(id: number): EventFormat | undefined {
    return this.#byId.get(id);
  }

  /** By `sched_process_exec` or `sched/sched_process_exec`. */
  byName(name: string): EventFormat | undefined {
    return this.#byName.get(name);
  }

  /** For scanPage: 1 at the id of each named event that this table has. */
  wanted(names: Iterable<string>): Uint8Array {
    const ids = new Uint8Array(65_536);
    for (const name of names) {
      const format = this.byName(name);
      if (format !== undefined) ids[format.id] = 1;
    }
    return ids;
  }
}

/** The task that ran when the event was recorded (in interrupt context an innocent one). */
export function eventPid(page: Buffer, at: number, length: number): number {
  return length >= 8 ? page.readInt32LE(at + 4) : 0;
}

/** Flags of an event: 0x08 hardirq, 0x10 softirq. */
export function eventFlags(page: Buffer, at: number, length: number): number {
  return length >= 3 ? page[at + 2]! : 0;
}

/** Parses one format file. `key` is `group/event`; throws `damaged` with the key and what is wrong. */
export function parseFormat(key: string, text: string): EventFormat {
  if (text.length > FORMAT_BYTES_MAX) throw damaged(key, `at most ${FORMAT_BYTES_MAX} bytes, got ${text.length}`);
  const name = /^name: (\S+)$/m.exec(text)?.[1];
  const id = Number(/^ID: (\d{1,5})$/m.exec(text)?.[1]);
  const [group, event] = key.split('/');
  if (group === undefined || name === undefined || name !== event || !IDENTIFIER.test(name)) {
    throw damaged(key, `named group/event like its text, got ${name === undefined ? 'no name' : name.slice(0, 80)}`);
  }
  if (!(id > 0 && id < 65_536)) throw damaged(key, `given an ID from 1 to 65535`);
  const fields: TraceField[] = [];
  for (const line of text.split('\n')) {
    if (!line.startsWith('\tfield:')) continue;
    const match = FIELD_LINE.exec(line);
    if (match === null) throw damaged(key, `made of field lines, got ${line.trim().slice(0, 80)}`);
    fields.push(parseField(key, match[1]!, Number(match[2]), Number(match[3]), match[4] !== '0'));
    if (fields.length > FORMAT_FIELDS_MAX) throw damaged(key, `at most ${FORMAT_FIELDS_MAX} fields`);
  }
  const own = fields.filter((field) => !field.name.startsWith('common_'));
  checkCommon(key, fields);
  return new EventFormat(id, group, name, own, text);
}

/** eventPid and eventFlags read at fixed places, as every kernel has them. */
function checkCommon(key: string, fields: readonly TraceField[]): void {
  for (const [name, offset, size] of [
    ['common_type', 0, 2],
    ['common_flags', 2, 1],
    ['common_pid', 4, 4],
  ] as const) {
    const field = fields.find((candidate) => candidate.name === name);
    if (field?.offset !== offset || field.sizeBytes !== size) throw damaged(key, `given ${name} at offset ${offset}`);
  }
}

function parseField(key: string, declaration: string, offset: number, sizeBytes: number, signed: boolean): TraceField {
  if (offset + sizeBytes > PAGE_BYTES_MAX) throw damaged(key, `inside a page, got a field at offset ${offset}`);
  const array = /^(.*?)\s*\[([^\]]*)\]$/.exec(declaration.trim());
  const base = array === null ? declaration.trim() : array[1]!;
  const split = /^(.*?)\s*\b([A-Za-z_][A-Za-z0-9_]*)$/.exec(base);
  const name = split?.[2] ?? '';
  // __proto__ would become the prototype of the decoded object.
  if (!IDENTIFIER.test(name) || name === '__proto__') throw damaged(key, `given plain field names, got ${name}`);
  const type = split?.[1] ?? '';
  const common = { name, type: array === null ? type : `${type}[${array[2]}]`, offset, sizeBytes, signed };
  const loc = /^__(data|rel)_loc (.*)$/.exec(type);
  if (loc !== null && sizeBytes === 4) {
    const kind = /^char ?\[\]$/.test(loc[2]!) ? 'loc-string' : 'loc-bytes';
    return { ...common, type, kind, elementBytes: 1, relative: loc[1] === 'rel' };
  }
  return { ...common, ...scalarOrArray(type, array?.[2], sizeBytes), relative: false };
}

function scalarOrArray(
  type: string,
  bound: string | undefined,
  sizeBytes: number,
): Pick<TraceField, 'kind' | 'elementBytes'> {
  if (bound !== undefined) {
    if (type === 'char' || type === 'const char') return { kind: 'string', elementBytes: 1 };
    const count = Number(bound);
    const elementBytes = count > 0 ? sizeBytes / count : 1;
    if (BYTE_TYPES.test(type) || ![2, 4, 8].includes(elementBytes)) return { kind: 'bytes', elementBytes: 1 };
    return { kind: 'array', elementBytes };
  }
  if (type === 'bool' && sizeBytes === 1) return { kind: 'bool', elementBytes: 1 };
  if ([1, 2, 4, 8].includes(sizeBytes)) return { kind: 'int', elementBytes: sizeBytes };
  return { kind: 'bytes', elementBytes: 1 };
}

function damaged(key: string, must: string): BackplaneError {
  return new BackplaneError('damaged', `format ${key.slice(0, 120)} must be ${must}`);
}
