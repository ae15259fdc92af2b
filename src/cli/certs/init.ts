/** `backplane certs init`: an authority of one's own, and the certificate of a broker. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Authority, newAuthority } from '../../access/authority.js';
import { addFileOptions, checkAbsent, type FileOptions, validMs, writeNewFiles } from './certificate-files.js';
import { addHostOptions, type HostOptions, hostsOf } from './hosts.js';

export const AUTHORITY_FILES = { cert: 'ca.crt', key: 'ca.key' } as const;

export function defineInit(command: Command): void {
  addHostOptions(command);
  addFileOptions(command);
  command.action(() => init(command.opts<FileOptions & HostOptions>()));
}

async function init(options: FileOptions & HostOptions): Promise<void> {
  const { dir } = options;
  const [hosts, lastsMs, nowMs] = [hostsOf(options), validMs(options), Date.now()];
  const { cert, key } = AUTHORITY_FILES;
  // Before anything is written: an authority that is replaced makes all its certificates worthless.
  checkAbsent(options, [cert, key, 'broker.crt', 'broker.key']);
  const made = await newAuthority(`Backplane CA of ${hostname()}`, nowMs);
  writeNewFiles(options, [
    { name: cert, text: made.cert },
    { name: key, text: made.key },
  ]);
  const authority = new Authority(join(dir, cert), join(dir, key));
  const broker = await authority.issue({ kind: 'broker', name: 'broker', hosts }, lastsMs, nowMs);
  writeNewFiles(options, [
    { name: 'broker.crt', text: broker.cert },
    { name: 'broker.key', text: broker.key },
  ]);
  const told = [
    `${join(dir, cert)}: the authority, for all nodes and clients (--tls-ca) and the broker (--tls-client-ca)`,
    `${join(dir, key)}: its key, which nobody else may read`,
    `${join(dir, 'broker.crt')}, ${join(dir, 'broker.key')}: the broker's (--tls-cert, --tls-key), reached as ${hosts.join(', ')}`,
  ];
  process.stdout.write(`${told.join('\n')}\n`);
}
