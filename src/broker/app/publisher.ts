/** Takes what applications publish: checks it, within the identity's rates, and stores what is not known yet. */
import { invalid } from '../../errors.js';
import {
  KNOWN_ALERT_IDS_MS,
  KNOWN_IDS_MAX_DEFAULT,
  KNOWN_IDS_MS_DEFAULT,
  PUBLISH_BURST_MS_DEFAULT,
  PUBLISH_BYTES_PER_SECOND_DEFAULT,
  PUBLISH_EVENTS_MAX,
  PUBLISH_EVENTS_PER_SECOND_DEFAULT,
} from '../../limits.js';
import { msToNs, nsToMs, wallNowNs } from '../../nanoseconds.js';
import { didYouMean } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { isAppTopic } from '../../wire/event/document-topics.js';
import type { PublishResponse } from '../../wire/messages.js';
import type { PublishBatch } from '../../wire/publish-request.js';
import type { Identity } from '../access/gate.js';
import type { Document } from '../log/documents/document-batch.js';
import type { DocumentLogs } from '../log/documents/document-logs.js';
import { type IdWindow, KnownIds } from './known-ids.js';
import { type PublishRate, PublishRates } from './publish-rates.js';
import { documentOf } from './published-event.js';
import { publisherName } from './publisher-name.js';

export interface PublisherOptions {
  readonly rate: PublishRate;
  /** How long ids of a topic are remembered, and how many. */
  readonly windowOf: (topic: string) => IdWindow;
  /** The longest time of any topic of a log. */
  readonly windowMsMax: Readonly<Record<PublishedLog, number>>;
}

const APP_WINDOW: IdWindow = { ageMsMax: KNOWN_IDS_MS_DEFAULT, countMax: KNOWN_IDS_MAX_DEFAULT };
const ALERT_WINDOW: IdWindow = { ageMsMax: KNOWN_ALERT_IDS_MS, countMax: KNOWN_IDS_MAX_DEFAULT };

export const PUBLISHING: PublisherOptions = {
  rate: {
    bytesPerSecond: PUBLISH_BYTES_PER_SECOND_DEFAULT,
    eventsPerSecond: PUBLISH_EVENTS_PER_SECOND_DEFAULT,
    burstMs: PUBLISH_BURST_MS_DEFAULT,
  },
  windowOf: (topic) => (topic === 'alert' ? ALERT_WINDOW : APP_WINDOW),
  windowMsMax: { app: KNOWN_IDS_MS_DEFAULT, alert: KNOWN_ALERT_IDS_MS },
};

type PublishedLog = 'app' | 'alert';

export class Publisher {
  /** Events stored since the start, by log; and those that were known already. */
  readonly published = new Map<PublishedLog, number>([
    ['app', 0],
    ['alert', 0],
  ]);
  duplicates = 0;
  readonly #logs: DocumentLogs;
  readonly #rates: PublishRates;
  readonly #ids: KnownIds;

  /** Reads the ids of the last time from the logs. */
  constructor(logs: DocumentLogs, { rate, windowOf, windowMsMax }: PublisherOptions) {
    this.#logs = logs;
    this.#rates = new PublishRates(rate);
    this.#ids = new KnownIds(windowOf);
    for (const name of this.published.keys()) {
      const sinceNs = wallNowNs() - msToNs(windowMsMax[name]);
      for (const { node, topic, documents, by, offset, timeNs } of logs.of(name).since(sinceNs)) {
        for (const { id } of documents) this.#ids.add(publisherKey(by, node), topic, id, offset, nsToMs(timeNs));
      }
    }
  }

  /**
   * Takes a batch whole, or throws and takes nothing of it: invalid_argument, too_large, resource_exhausted when the
   * identity is over its rates or the disk is full, unavailable when the disk fails. The promise resolves once the batch
   * is on the disk; those of one caller resolve in the order of the calls.
   */
  publish({ name: identity, kind }: Identity, { seq, topic, events, bytes }: PublishBatch): Promise<PublishResponse> {
    const name = logOf(topic);
    if (events.length === 0) throw invalid('events', `must be 1 to ${PUBLISH_EVENTS_MAX}, got none`);
    this.#rates.admit(`${kind} ${identity}`, bytes, events.length);
    const one = events.length === 1;
    const documents = events.map((event, at) => documentOf(event, topic, identity, one ? '' : `events[${at}]`));
    const log = this.#logs.of(name);
    const node = publisherName(identity);
    const publisher = publisherKey(kind, node);
    const { fresh, knownAt } = this.#fresh(publisher, topic, documents);
    const duplicates = documents.length - fresh.length;
    this.duplicates += duplicates;
    if (fresh.length === 0) return this.#acknowledge(log.settled(), { seq, offset: knownAt, duplicates });
    const { offset, durable } = log.append({ node, topic, documents: fresh, by: kind });
    const nowMs = Date.now();
    for (const { id } of fresh) this.#ids.add(publisher, topic, id, offset, nowMs);
    this.published.set(name, (this.published.get(name) ?? 0) + fresh.length);
    return this.#acknowledge(durable, { seq, offset, duplicates });
  }

  /** A duplicate may be of a batch that is not on the disk yet: it is acknowledged no earlier. */
  async #acknowledge(durable: Promise<void>, response: PublishResponse): Promise<PublishResponse> {
    await durable;
    return response;
  }

  /** The documents whose ids are not known, each id once; and the offset of the last known one. */
  #fresh(publisher: string, topic: string, documents: readonly Document[]) {
    const nowMs = Date.now();
    const fresh = new Map<string, Document>();
    let knownAt = 0;
    for (const document of documents) {
      const known = this.#ids.offset(publisher, topic, document.id, nowMs);
      if (known !== undefined) knownAt = known;
      else if (!fresh.has(document.id)) fresh.set(document.id, document);
    }
    return { fresh: [...fresh.values()], knownAt };
  }
}

/** Whoever issues web tokens chooses their names: what one publishes must not pass for known because of another's. */
function publisherKey(kind: string, node: string): string {
  return `${kind} ${node}`;
}

function logOf(topic: string): PublishedLog {
  if (topic === 'alert') return topic;
  if (isAppTopic(topic)) return 'app';
  const meant = isAppTopic(`app.${topic}`) && !topic.startsWith('app.') ? `app.${topic}` : undefined;
  const form = 'must be app.NAME, with a NAME of a-z, 0-9, ".", "_" and "-"';
  throw invalid('topic', `${form}, got ${shown(topic)}${didYouMean(meant)}`, { suggestion: meant });
}
