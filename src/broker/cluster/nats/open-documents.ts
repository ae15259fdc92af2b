/** The logs of documents of a cluster of brokers, on NATS JetStream. */
import type { Logger } from 'pino';
import type { BackplaneError } from '../../../errors.js';
import { DOCUMENT_LOGS } from '../../../wire/event/document-topics.js';
import { DocumentLogs } from '../../log/documents/document-logs.js';
import { JetStreamDocumentLog } from '../../log/documents/jetstream-document-log.js';
import type { IdWindows } from '../../log/documents/known-ids.js';
import { AppendBounds } from '../../log/jetstream/appender.js';
import { CatchUpTurns } from '../../log/jetstream/catch-up-turns.js';
import type { NatsLink } from '../../nats/nats-link.js';

export interface JetStreamDocumentsOptions {
  readonly cluster: string;
  readonly link: NatsLink;
  /** Which ids are remembered: the same at all brokers. */
  readonly ids: IdWindows;
  readonly logger: Logger;
  /** A stream is gone, or is not the one that was: the broker cannot go on. */
  readonly onLost: (cause: BackplaneError) => void;
}

/** Rejects as JetStreamDocumentLog.open does. */
export async function openJetStreamDocuments(options: JetStreamDocumentsOptions): Promise<DocumentLogs> {
  const { cluster, link, ids, logger, onLost } = options;
  const shared = { cluster, link, onLost, bounds: new AppendBounds(), turns: new CatchUpTurns() };
  const opened = await Promise.allSettled(
    DOCUMENT_LOGS.map((name) =>
      JetStreamDocumentLog.open({
        ...shared,
        name,
        ids: name === 'audit' ? undefined : ids,
        onTrouble: (reason) => {
          if (reason === undefined) logger.info(`the log of ${name} is read again`);
          else logger.error(reason);
        },
        onRewound: (stream, offset) => {
          logger.error(`the stream ${stream} has lost what it had from ${offset} on: nobody can send it again`);
        },
      }),
    ),
  );
  const logs = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const close = async () => {
    await Promise.all(logs.map((log) => log.close()));
  };
  for (const one of opened) {
    if (one.status === 'fulfilled') continue;
    await close();
    throw one.reason;
  }
  return new DocumentLogs(logs, close);
}
