/** The configurations of servers that deploy/ has as plain processes: who may use them, and who not. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TestAuthority } from '../harness/access/certificates.js';
import { run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { type Configuration, serverAddresses, startConfigured } from '../harness/nats/configured-servers.js';
import { needsNats } from '../harness/nats/nats-package.js';

const KUBERNETES = readFileSync('deploy/kubernetes/nats/nats.conf', 'utf8');
const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats();

async function prepared(text: string) {
  const own = await TestAuthority.make('authority');
  const addresses = await serverAddresses();
  const hosts = addresses.flatMap((server) => Object.values(server) as string[]).map((at) => at.split(':')[0]!);
  const { cert, key } = own.write(
    await own.authority.issue({ kind: 'nats', name: 'nats', hosts }, 3_600_000, Date.now()),
  );
  const files = {
    ...{ '/etc/nats/certificate/nats.crt': cert, '/etc/nats/certificate/nats.key': key },
    ...{ '/etc/nats/authority/ca.crt': own.ca },
    ...{ '/certs/own.crt': cert, '/certs/own.key': key, '/certs/ca.crt': own.ca },
  };
  const names = [0, 1, 2].map((at) => `backplane-nats-${at}.backplane-nats.backplane.svc`);
  const dir = scratchDirectory('nats');
  const configuration: Configuration = { text, names, variable: 'POD_NAME', dir, addresses, files };
  return { own, configuration };
}

const skipLong = skip || (IS_LONG ? false : 'takes seconds: npm run check');

test('the servers make a cluster for whoever has the certificate of brokers, and nobody else', {
  skip: skipLong,
}, async (t) => {
  const { own, configuration } = await prepared(KUBERNETES);
  t.after(await startConfigured(configuration, own.ca));
  const cluster = async (verb: string, identity: string) => {
    const { cert, key } = await own.client(identity);
    const urls = configuration.addresses.map(({ client }) => `tls://${client}`).join(',');
    const flags = ['--cluster', 'k', '--nats-ca', own.ca, '--nats-cert', cert, '--nats-key', key];
    return run(['cluster', verb, '--nats', urls, ...flags]);
  };
  const made = await cluster('init', 'broker');
  assert.equal(made.code, 0, made.err);
  const checked = await cluster('check', 'broker');
  assert.equal(checked.code, 0, checked.out + checked.err);
  const refused = await cluster('check', 'web-1');
  assert.notEqual(refused.code, 0);
  assert.match(refused.err, /[Aa]uthoriz|cannot be used|can be used/);
});
