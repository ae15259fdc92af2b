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
import { didYouMean } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { isAppTopic } from '../../wire/event/document-topics.js';
import type { PublishResponse } from '../../wire/messages.js';
import type { PublishBatch } from '../../wire/publish-request.js';
import type { Identity } from '../access/gate.js';
import type { NewBatch } from '../log/documents/document-batch.js';
import type { DocumentLogs } from '../log/documents/document-logs.js';
import type { IdWindow, IdWindows } from '../log/documents/known-ids.js';
import { type PublishRate, PublishRates } from './publish-rates.js';
import { documentOf } from './published-event.js';
import { publisherName } from './publisher-name.js';

export interface PublisherOptions extends IdWindows {
  readonly rate: PublishRate;
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

  constructor(logs: DocumentLogs, { rate }: Pick<PublisherOptions, 'rate'>) {
    this.#logs = logs;
    this.#rates = new PublishRates(rate);
  }

  /**
   * Throws invalid_argument, too_large, and resource_exhausted when the identity is over its rates; rejects as
   * DocumentLog.append does, and otherwise resolves once the whole batch is safe. Of one caller they take effect in the order
   * of the calls.
   */
  publish({ name: identity, kind }: Identity, { seq, topic, events, bytes }: PublishBatch): Promise<PublishResponse> {
    const name = logOf(topic);
    if (events.length === 0) throw invalid('events', `must be 1 to ${PUBLISH_EVENTS_MAX}, got none`);
    this.#rates.admit(`${kind} ${identity}`, bytes, events.length);
    const one = events.length === 1;
    const documents = events.map((event, at) => documentOf(event, topic, identity, one ? '' : `events[${at}]`));
    const batch = { node: publisherName(identity), topic, documents, by: kind };
    return this.#append(name, batch, seq);
  }

  async #append(name: PublishedLog, batch: NewBatch, seq: PublishBatch['seq']): Promise<PublishResponse> {
    const { offset, duplicates } = await this.#logs.of(name).append(batch);
    this.duplicates += duplicates;
    this.published.set(name, (this.published.get(name) ?? 0) + batch.documents.length - duplicates);
    return { seq, offset, duplicates };
  }
}

function logOf(topic: string): PublishedLog {
  if (topic === 'alert') return topic;
  if (isAppTopic(topic)) return 'app';
  const meant = isAppTopic(`app.${topic}`) && !topic.startsWith('app.') ? `app.${topic}` : undefined;
  const form = 'must be app.NAME, with a NAME of a-z, 0-9, ".", "_" and "-"';
  throw invalid('topic', `${form}, got ${shown(topic)}${didYouMean(meant)}`, { suggestion: meant });
}
