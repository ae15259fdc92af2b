/** Entries of the audit as documents: topic `audit`. */
import { encodePart } from '../../wire/event/document-event.js';
import type { JsonObject } from '../../wire/json-value.js';
import type { Document, NewBatch } from '../log/documents/document-batch.js';

/** What every entry may have; all else is a detail. */
interface Entry {
  readonly action?: unknown;
  readonly identity?: unknown;
  readonly peer?: unknown;
  readonly code?: unknown;
  /** Of a refusal: why. */
  readonly refused?: unknown;
  readonly count?: unknown;
  readonly time?: unknown;
}

export function auditBatch(entries: readonly object[]): NewBatch {
  return { node: NODE, topic: 'audit', documents: entries.map(documentOf), by: '' };
}

/** The broker speaks for itself: no identity has this name. */
const NODE = '@';

function documentOf(entry: Entry & object): Document {
  // Its time is the event's.
  const { action, identity, peer, code, refused, count, time: _time, ...facts } = entry;
  const outcome = refused === undefined ? 'done' : 'refused';
  // Values that JSON does not have are left out or written as text.
  const details = JSON.parse(
    JSON.stringify(facts, (_name, value) => (typeof value === 'bigint' ? String(value) : value)),
  );
  const part = encodePart({
    audit: {
      action: textOf(action),
      identity: textOf(identity),
      peer: textOf(peer),
      outcome,
      code: textOf(code),
      message: textOf(refused),
      count: Number(count ?? 0),
      details: details as JsonObject,
    },
  });
  return { type: `audit.${textOf(action) || 'entry'}`, id: '', key: '', part };
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
