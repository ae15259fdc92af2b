/** `backplane certs issue NAME`: a certificate signed by the authority that `certs init` made. */
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { Authority, type HolderKind, spiffeId } from '../../access/authority.js';
import { BackplaneError } from '../../errors.js';
import { NAME_BYTES_MAX } from '../../limits.js';
import { addFileOptions, checkAbsent, type FileOptions, validMs, writeNewFiles } from './certificate-files.js';
import { addHostOptions, type HostOptions, hostsOf } from './hosts.js';
import { AUTHORITY_FILES } from './init.js';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;

export function defineIssue(command: Command): void {
  command.argument('<name>', 'of the node, as its node.name, or of the client');
  command.addOption(
    new Option('--for <kind>', 'whose it is').choices(['client', 'node', 'broker', 'nats']).default('client'),
  );
  addHostOptions(command);
  addFileOptions(command);
  command.action((name: string) => issue(name, command.opts<FileOptions & HostOptions & { for: HolderKind }>()));
}

async function issue(name: string, options: FileOptions & HostOptions & { for: HolderKind }): Promise<void> {
  const { dir, for: kind } = options;
  if (name.length > NAME_BYTES_MAX || !NAME.test(name)) {
    const form = `at most ${NAME_BYTES_MAX} letters, digits, ".", "_" or "-"`;
    throw new BackplaneError('invalid_argument', `the name must be ${form}, got ${JSON.stringify(name.slice(0, 80))}`);
  }
  const isServer = kind === 'broker' || kind === 'nats';
  if (!isServer && options.name.length + options.address.length > 0) {
    const message = '--name and --address are those of a broker or a nats-server: give --for broker or --for nats';
    throw new BackplaneError('invalid_argument', message);
  }
  const hosts = isServer ? hostsOf(options) : [];
  const lastsMs = validMs(options);
  const [cert, key] = [`${name}.crt`, `${name}.key`];
  if (cert === AUTHORITY_FILES.cert)
    throw new BackplaneError('invalid_argument', 'the name "ca" is that of the authority');
  checkAbsent(options, [cert, key]);
  const authority = new Authority(join(dir, AUTHORITY_FILES.cert), join(dir, AUTHORITY_FILES.key));
  const made = await authority.issue({ kind, name, hosts }, lastsMs, Date.now());
  writeNewFiles(options, [
    { name: key, text: made.key },
    { name: cert, text: made.cert },
  ]);
  // By it the certificate can be revoked.
  const { serialNumber } = new X509Certificate(made.cert);
  process.stdout.write(`${join(dir, cert)}, ${join(dir, key)}: ${spiffeId({ kind, name })}, serial ${serialNumber}\n`);
}
