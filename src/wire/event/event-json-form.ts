/** What JSON makes of an event's fields, from the schema, as tables for event-json-bytes.ts. */
import { FIXED64, LENGTH, VARINT } from '../protobuf.js';
import { type MessageField, messageFields } from '../schema.js';

/** Kinds of values. */
export const TEXT = 1;
export const UINT32 = 2;
export const INT32 = 3;
export const FLAG = 4;
const UINT64 = 5;
export const INT64 = 6;
const FIXED = 7;
export const MESSAGE = 8;
export const TIME = 9;
export const TEXTS = 10;
const FIXEDS = 11;

const KINDS: Readonly<Record<string, number>> = {
  string: TEXT,
  uint32: UINT32,
  int32: INT32,
  bool: FLAG,
  uint64: UINT64,
  int64: INT64,
  fixed64: FIXED,
};

export interface FieldForm {
  readonly kind: number;
  readonly wireType: number;
  /** `"name":` */
  readonly key: Uint8Array;
  /** A value that is the default is written too. */
  readonly optional: boolean;
  readonly inner: MessageForm;
}

/** By field number; those that have no form here are left to the slow way. */
export type MessageForm = readonly (FieldForm | undefined)[];

function messageForm(fullName: string): MessageForm {
  const form: (FieldForm | undefined)[] = [];
  for (const field of messageFields(fullName)!) form[field.id] = fieldForm(field);
  return form;
}

function fieldForm(field: MessageField): FieldForm | undefined {
  const kind = kindOf(field);
  if (kind === undefined) return undefined;
  return {
    kind,
    wireType: kind === FIXED ? FIXED64 : kind === TEXT || kind >= MESSAGE ? LENGTH : VARINT,
    key: Buffer.from(`${JSON.stringify(field.name)}:`),
    optional: field.optional === true,
    inner: kind === MESSAGE ? messageForm(field.of!) : [],
  };
}

function kindOf({ type, repeated, of, keyType }: MessageField): number | undefined {
  if (keyType !== undefined) return undefined;
  // Any JSON, which nests.
  if (of === '.google.protobuf.Value') return undefined;
  if (repeated) return type === 'string' ? TEXTS : type === 'fixed64' ? FIXEDS : undefined;
  if (of !== undefined && messageFields(of)) return of === '.google.protobuf.Timestamp' ? TIME : MESSAGE;
  return KINDS[type];
}

const EVENT = messageForm('.backplane.v1.Event');
export const TOPIC = EVENT[14]!.key;
export const NODE = EVENT[15]!.key;
/** A batch has them, so that an event that has its own is unusual. */
export const EVENT_FORM = EVENT.slice(0, 14).concat([undefined, undefined], EVENT.slice(16));
