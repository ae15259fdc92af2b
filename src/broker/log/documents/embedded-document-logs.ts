/** The logs of documents of one broker, in its directory. */
import path from 'node:path';
import { everySecond } from '../../../flow/long-timer.js';
import { LOG_RETENTION_INTERVAL_MS } from '../../../limits.js';
import { type FileOps, makeDirectory } from '../../../storage/file-ops.js';
import { DOCUMENT_LOGS, type DocumentLogName } from '../../../wire/event/document-topics.js';
import { type DocumentBounds, DocumentLogs } from './document-logs.js';
import { EmbeddedDocumentLog } from './embedded-document-log.js';
import type { IdWindows } from './known-ids.js';

export interface DocumentLogsOptions {
  readonly dir: string;
  readonly bounds: DocumentBounds;
  /** Which ids are remembered; none by default. */
  readonly ids?: IdWindows | undefined;
  readonly files?: FileOps | undefined;
  /** Called once for a log that takes no more batches until the broker is started again. */
  readonly onFailure: (log: DocumentLogName, cause: unknown) => void;
}

/** Opens or creates every log, and makes durable what a killed broker wrote but did not sync. */
export async function openEmbeddedDocuments(options: DocumentLogsOptions): Promise<DocumentLogs> {
  const { dir, bounds, ids, files, onFailure } = options;
  makeDirectory(dir);
  const logs = DOCUMENT_LOGS.map((name) => {
    // Who has filled the disk is not known: the audit is not what makes room for them.
    const givesWay = name !== 'audit';
    const own = { name, dir: path.join(dir, name), ...bounds[name], givesWay, files };
    return new EmbeddedDocumentLog({ ...own, ids: name === 'audit' ? undefined : ids });
  });
  const failed = new Set<EmbeddedDocumentLog>();
  const each = (run: (log: EmbeddedDocumentLog) => void) => {
    for (const log of logs) {
      try {
        run(log);
      } catch (cause) {
        if (failed.has(log)) continue;
        failed.add(log);
        onFailure(log.name, cause);
      }
    }
  };
  const retention = setInterval(() => each((log) => log.enforceRetention()), LOG_RETENTION_INTERVAL_MS).unref();
  const endLooks = everySecond(() => each((log) => log.checkPlace()));
  const close = async () => {
    clearInterval(retention);
    endLooks();
    await Promise.all(logs.map((log) => log.close()));
  };
  await Promise.all(logs.map((log) => log.settled()));
  return new DocumentLogs(logs, close);
}
