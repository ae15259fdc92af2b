/** Checks an event that somebody publishes, and encodes it as a document of its log. */
import { BackplaneError, invalid } from '../../errors.js';
import {
  ALERT_NODES_MAX,
  NAME_BYTES_MAX,
  PUBLISH_BODY_BYTES_MAX,
  PUBLISH_ID_BYTES_MAX,
  PUBLISH_TEXT_BYTES_MAX,
  PUBLISH_TYPE_BYTES_MAX,
} from '../../limits.js';
import { timestampNs } from '../../subscriptions/timestamp.js';
import { encodePart } from '../../wire/event/document-event.js';
import type { AlertContext, AppContext } from '../../wire/event/event.js';
import { readMessage } from '../../wire/json-reader.js';
import { checkJsonValue, type JsonValue } from '../../wire/json-value.js';
import type { PublishDraft } from '../../wire/publish-request.js';
import { messageType } from '../../wire/schema.js';
import type { Document } from '../log/documents/document-batch.js';

/** CloudEvents forbids them in attributes: controls, half of a surrogate pair, and what is no character. */
const UNFIT = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;
/** W3C Trace Context, version 00 and what later ones begin with. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const ALERT_TEXTS = ['id', 'state', 'ruleId', 'ruleVersion', 'title', 'key'] as const;
const SEVERITY_MAX = 5;

/**
 * `at` is where it stands in the request: empty, or "events[3]". Throws invalid_argument that names the field, the bound
 * and the value; too_large for a body.
 */
export function documentOf(draft: PublishDraft, topic: string, identity: string, at: string): Document {
  const { id, subject, traceparent, key, timeNs } = draft;
  const field = (name: string) => (at === '' ? name : `${at}.${name}`);
  if (id === '') throw invalid(field('id'), 'must be given: by it an event that comes again is recognised');
  const source = draft.source || identity;
  const type = draft.type || topic;
  checkText(field('id'), id, PUBLISH_ID_BYTES_MAX);
  checkText(field('source'), source, PUBLISH_TEXT_BYTES_MAX);
  checkText(field('type'), type, PUBLISH_TYPE_BYTES_MAX);
  checkText(field('subject'), subject, PUBLISH_TEXT_BYTES_MAX);
  checkText(field('key'), key, NAME_BYTES_MAX);
  if (traceparent !== '' && !TRACEPARENT.test(traceparent))
    throw invalid(field('traceparent'), 'must be like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  const body = checkedBody(field('body'), draft.body);
  const app: AppContext = { id, source, subject, traceparent, key, timeNs };
  if (topic !== 'alert') return { type, id, key, part: encodePart({ app: { ...app, body } }) };
  return { type, id, key, part: encodePart({ app, alert: alertOf(field('body'), body) }) };
}

function checkText(field: string, text: string, bytesMax: number): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) throw invalid(field, `must be at most ${bytesMax} bytes, got ${bytes}`);
  if (UNFIT.test(text)) throw invalid(field, 'must not have control characters or what is no character');
}

function checkedBody(field: string, body: unknown): JsonValue | undefined {
  if (body === undefined) return undefined;
  checkJsonValue(body, field);
  const bytes = Buffer.byteLength(JSON.stringify(body));
  if (bytes <= PUBLISH_BODY_BYTES_MAX) return body;
  const problem = `${field}: must be at most ${PUBLISH_BODY_BYTES_MAX} bytes as JSON, got ${bytes}`;
  throw new BackplaneError('too_large', problem, { field });
}

interface AlertFields {
  readonly [name: string]: unknown;
  readonly nodes?: readonly string[];
  readonly firstSeen?: { readonly seconds: string; readonly nanos: number };
  readonly lastSeen?: { readonly seconds: string; readonly nanos: number };
}

/** The body of an alert: the fields of Alert in protojson. */
function alertOf(field: string, body: JsonValue | undefined): AlertContext {
  if (body === undefined) throw invalid(field, 'must be given: the fields of an alert');
  const { nodes = [], firstSeen, lastSeen, ...given } = readMessage(messageType('Alert'), body, field) as AlertFields;
  if (nodes.length > ALERT_NODES_MAX)
    throw invalid(`${field}.nodes`, `must be at most ${ALERT_NODES_MAX}, got ${nodes.length}`);
  for (const name of ALERT_TEXTS) checkText(`${field}.${name}`, String(given[name] ?? ''), PUBLISH_TEXT_BYTES_MAX);
  for (const node of nodes) checkText(`${field}.nodes`, node, NAME_BYTES_MAX);
  const severity = Number(given.severity ?? 0);
  if (severity > SEVERITY_MAX) throw invalid(`${field}.severity`, `must be 1 to ${SEVERITY_MAX}, got ${severity}`);
  const occurrences = Number(given.occurrences ?? 0);
  if (!Number.isSafeInteger(occurrences))
    throw invalid(`${field}.occurrences`, `must be below 2^53, got ${given.occurrences}`);
  return {
    ...(given as Partial<AlertContext>),
    id: String(given.id ?? ''),
    revision: Number(given.revision ?? 0),
    severity,
    occurrences,
    nodes,
    firstSeenNs: firstSeen && timestampNs(firstSeen),
    lastSeenNs: lastSeen && timestampNs(lastSeen),
  };
}
