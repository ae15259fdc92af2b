/**
 * Events that are born in the broker, encoded: by hand, as the body of an application's event is encoded once and spliced.
 *
 *   Event  := type 1 | time 2 | position 3 | part
 *   part   := (app 17 | alert 18 | audit 19)*
 */

import { encodeJsonValue, type JsonValue } from '../json-value.js';
import { type EventMessage, eventCodec, type TimestampFields, timestampToNs } from '../messages.js';
import type { Position } from '../position.js';
import { writePosition, writeTimestamp } from '../position-codec.js';
import { LENGTH, ProtoWriter, varintBytes } from '../protobuf.js';
import type { AlertContext, AppContext, AuditContext, BusEvent } from './event.js';
import { valueToJson } from './event-json.js';

/** The parts of an Event that only documents have. */
export type DocumentPart = Pick<BusEvent, 'app' | 'alert' | 'audit'>;

const APP = 17;
const ALERT = 18;
const AUDIT = 19;
/** The tag of `EventBatch.events`. */
const EVENTS = 5;
/** What a number, a time or a position takes at most, and a field's tag and length. */
const NUMBER_BYTES_MAX = 40;
const HEAD_BYTES_MAX = 8;

export function encodePart({ app, alert, audit }: DocumentPart): Buffer {
  const parts: Buffer[] = [];
  if (app !== undefined) parts.push(encodeApp(app));
  if (alert !== undefined) parts.push(encodeAlert(alert));
  if (audit !== undefined) parts.push(encodeAudit(audit));
  return Buffer.concat(parts);
}

function encodeApp({ id, source, subject, timeNs, traceparent, key, body }: AppContext): Buffer {
  return message(APP, [id, source, subject, traceparent, key], body, (writer, value) => {
    writer.stringField(1, id);
    writer.stringField(2, source);
    writer.stringField(3, subject ?? '');
    if (timeNs !== undefined) writeTimestamp(writer, 4, timeNs);
    writer.stringField(5, traceparent ?? '');
    writer.stringField(6, key ?? '');
    writer.bytesField(7, value);
  });
}

function encodeAlert(alert: AlertContext): Buffer {
  const { id, state, ruleId, ruleVersion, title, key, nodes = [], firstSeenNs, lastSeenNs } = alert;
  return message(ALERT, [id, state, ruleId, ruleVersion, title, key, ...nodes], alert.details, (writer, details) => {
    writer.stringField(1, id);
    writer.uintField(2, alert.revision ?? 0);
    writer.stringField(3, state ?? '');
    writer.stringField(4, ruleId ?? '');
    writer.stringField(5, ruleVersion ?? '');
    writer.stringField(6, title ?? '');
    writer.uintField(7, alert.severity ?? 0);
    writer.stringField(8, key ?? '');
    for (const node of nodes) writer.stringField(9, node);
    if (firstSeenNs !== undefined) writeTimestamp(writer, 10, firstSeenNs);
    if (lastSeenNs !== undefined) writeTimestamp(writer, 11, lastSeenNs);
    writer.uintField(12, alert.occurrences ?? 0);
    writer.bytesField(13, details);
  });
}

function encodeAudit({ action, identity, peer, outcome, code, message: why, count, details }: AuditContext): Buffer {
  return message(AUDIT, [action, identity, peer, outcome, code, why], details, (writer, value) => {
    writer.stringField(1, action);
    writer.stringField(2, identity ?? '');
    writer.stringField(3, peer ?? '');
    writer.stringField(4, outcome);
    writer.stringField(5, code ?? '');
    writer.stringField(6, why ?? '');
    writer.uintField(7, count ?? 0);
    writer.bytesField(8, value);
  });
}

function message(
  field: number,
  texts: readonly (string | undefined)[],
  json: JsonValue | undefined,
  write: (writer: ProtoWriter, json: Buffer) => void,
): Buffer {
  const value = json === undefined ? Buffer.alloc(0) : encodeJsonValue(json);
  const bytes = texts.reduce((sum, text = '') => sum + text.length * 3 + HEAD_BYTES_MAX, value.length + HEAD_BYTES_MAX);
  const inner = new ProtoWriter(bytes + 4 * NUMBER_BYTES_MAX);
  write(inner, value);
  const content = inner.finish();
  const outer = new ProtoWriter(content.length + HEAD_BYTES_MAX);
  outer.tag(field, LENGTH);
  outer.varint(content.length);
  outer.bytes.set(content, outer.offset);
  outer.offset += content.length;
  return outer.finish();
}

/** One element of EventBatch.events. `part` is encoded. */
export function documentElement(type: string, wallNs: bigint, position: Position, part: Buffer): Buffer {
  const writer = new ProtoWriter(Buffer.byteLength(type) + part.length + HEAD_BYTES_MAX + 2 * NUMBER_BYTES_MAX);
  writer.stringField(1, type);
  writeTimestamp(writer, 2, wallNs);
  writePosition(writer, 3, position);
  writer.bytes.set(part, writer.offset);
  writer.offset += part.length;
  const event = writer.finish();
  const outer = new ProtoWriter(event.length + 1 + varintBytes(event.length));
  outer.bytesField(EVENTS, event);
  return outer.finish();
}

/** For filters. `part` is of this log, so that it can be decoded. */
export function decodePart(part: Buffer): DocumentPart {
  const { app, alert, audit } = eventCodec.decode(part, part.length);
  return {
    ...(app ? { app: appOf(app) } : {}),
    ...(alert ? { alert: alertOf(alert) } : {}),
    ...(audit ? { audit: auditOf(audit) } : {}),
  };
}

function appOf({ time, body, ...texts }: NonNullable<EventMessage['app']>): AppContext {
  return { ...texts, timeNs: nsOf(time), body: body ? valueToJson(body) : undefined };
}

function alertOf(alert: NonNullable<EventMessage['alert']>): AlertContext {
  const { firstSeen, lastSeen, occurrences, details, ...others } = alert;
  return {
    ...others,
    firstSeenNs: nsOf(firstSeen),
    lastSeenNs: nsOf(lastSeen),
    occurrences: Number(occurrences),
    details: details ? valueToJson(details) : undefined,
  };
}

function auditOf({ outcome, details, ...others }: NonNullable<EventMessage['audit']>): AuditContext {
  const json = details ? valueToJson(details) : undefined;
  return { ...others, outcome: outcome === 'refused' ? 'refused' : 'done', details: json };
}

function nsOf(time: TimestampFields | null | undefined): bigint | undefined {
  return time ? timestampToNs('time', time) : undefined;
}
