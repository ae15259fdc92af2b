/**
 * The logs of version 0.1: one per topic and partition, in directories like
 * `process-3`. They are not read any more, because recorders have their events.
 */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { makeDirectory, nodeFileOps, systemErrorCode } from '../../../storage/file-ops.js';
import { TOPICS } from '../../../wire/event/event.js';

const ASIDE = 'version-0.1';

/**
 * Moves old logs, and the identity that their cursors carry, into a separate folder. `warn` is called with the
 * consequence. Throws failed_precondition when they cannot be moved.
 */
export function putOldLogsAside(dir: string, warn: (message: string) => void): void {
  const old = readdirSync(dir).filter(isOld);
  if (old.length === 0) return;
  const aside = path.join(dir, ASIDE);
  try {
    makeDirectory(aside);
    for (const name of [...old, 'identity', 'identity.copy']) {
      if (existsSync(path.join(dir, name))) renameSync(path.join(dir, name), path.join(aside, name));
    }
    nodeFileOps.syncDirectoryNow(dir);
  } catch (cause) {
    throw new BackplaneError(
      'failed_precondition',
      `the log of version 0.1 in ${dir} cannot be moved to ${aside}: ${systemErrorCode(cause) ?? cause}`,
    );
  }
  warn(
    `the log of version 0.1 is kept in ${aside} and not read: what it held comes from the nodes' recorders again; ` +
      'cursors that were given out before are refused, such subscriptions begin anew with since or last. Remove it ' +
      'when nobody goes back to that version',
  );
}

function isOld(name: string): boolean {
  const [, topic = ''] = /^([a-z]+)-\d$/.exec(name) ?? [];
  return Object.hasOwn(TOPICS, topic);
}
