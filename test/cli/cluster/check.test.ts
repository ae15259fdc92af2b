/** What `backplane cluster check` says of servers, against real ones. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { run } from '../../harness/bus/command.js';
import { InfoRelay } from '../../harness/nats/info-relay.js';
import { natsProgram, needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { ownAddress } from '../../harness/own-address.js';

const skip = needsNats();
const GIB = 2 ** 30;
let servers: NatsServers;
/** Another address of the same server. */
let relay: InfoRelay;

before(async () => {
  if (skip !== false) return;
  servers = await NatsServers.start({ storeBytesMax: 5 * GIB });
  relay = await InfoRelay.start(servers.first.url);
  const made = await cluster('init', [servers.urls], '--log-bytes-max', '512MiB');
  assert.equal(made.code, 0, made.err);
});
after(async () => {
  relay?.close();
  await servers?.destroy();
});

const cluster = (verb: string, urls: readonly string[], ...flags: string[]) =>
  run(['cluster', verb, '--nats', urls.join(','), '--cluster', 'prod', ...flags]);
const address = (url: string) => new URL(url).host;

test('each server that is named is looked at', { skip }, async () => {
  const { version } = natsProgram();
  const { url } = servers.first;
  const first = `nats-server at ${address(url)}: ${version}`;
  const both = await cluster('check', [url, relay.url]);
  assert.equal(both.code, 0, both.out + both.err);
  assert.deepEqual(both.out.split('\n').slice(0, 2), [first, `nats-server at ${address(relay.url)}: ${version}`]);

  relay.told = { version: '2.10.26' };
  const tooOld = `nats-server at ${address(relay.url)} is 2.10.26, it must be at least 2.10.27: earlier ones lose what they acknowledged`;
  const old = await cluster('check', [relay.url, url]);
  assert.equal(old.code, 1);
  assert.deepEqual(old.out.split('\n').slice(0, 2), [tooOld, first]);
  assert.match(old.out, /^BP_prod_0: .*: as it must be$/m, 'the other one is asked about streams');
  assert.deepEqual(await cluster('check', [relay.url]), { code: 1, out: '', err: `backplane: ${tooOld}\n` });
  relay.told = {};

  const away = `nats://${await ownAddress()}`;
  const less = await cluster('check', [url, away]);
  assert.equal(less.code, 1);
  assert.deepEqual(less.out.split('\n').slice(0, 2), [first, `nats: none of ${away} can be used: connection refused`]);
});
