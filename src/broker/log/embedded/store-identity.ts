/**
 * The identity of a broker's log, which every cursor carries: 16 hex digits in
 * the file `identity`, and again in `identity.copy`. If it is lost, all cursors
 * given out before are refused. The copy keeps one damaged file from causing that.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { nodeFileOps, readSmallFile, writeSmallFile } from '../../../storage/file-ops.js';

const NAMES = ['identity', 'identity.copy'] as const;
const BYTES_MAX = 64;

/** The identity is durable when this returns. `warn` is called when a file was lost, with the consequence. */
export function storeIdentity(dir: string, hasLogs: boolean, warn: (message: string) => void): string {
  const files = NAMES.map((name) => path.join(dir, name));
  const known = files.map(readIdentity);
  const found = known.find((identity) => identity !== undefined);
  const identity = found ?? randomBytes(8).toString('hex');
  const [first] = files;
  if (found === undefined && (hasLogs || files.some((file) => existsSync(file)))) {
    warn(
      `${first} and its copy are lost or damaged: the log goes on under the new name ${identity}. What it holds is ` +
        'still delivered, but cursors that were given out before are refused: such subscriptions begin anew, with ' +
        'since or last',
    );
  } else if (found !== undefined && known[0] === undefined) {
    warn(`${first} was lost or damaged and is restored from its copy: cursors stay valid`);
  }
  for (const [at, file] of files.entries()) {
    if (known[at] !== identity) writeSmallFile(nodeFileOps, file, Buffer.from(`${identity}\n`), true);
  }
  nodeFileOps.syncDirectoryNow(dir);
  return identity;
}

function readIdentity(file: string): string | undefined {
  const text = readSmallFile(nodeFileOps, file, BYTES_MAX)?.toString('latin1').trim();
  return text !== undefined && /^[0-9a-f]{16}$/.test(text) ? text : undefined;
}
