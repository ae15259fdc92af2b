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

test('what streams may take of the store of each server is said, and where it is too much', { skip }, async () => {
  const { urls, first } = servers;
  const store = `store at ${address(first.monitorUrl)}`;
  const rule = 'at most 70 % is safe: a server whose disk is full takes nothing until it is restarted';
  const nobody = await ownAddress();
  const monitors = ['--nats-monitor', `${first.monitorUrl},http://${nobody}`];

  const sound = await cluster('check', [urls], ...monitors);
  assert.equal(sound.code, 0, sound.out + sound.err);
  const said = (out: string) => out.split('\n').filter((line) => line.startsWith('store'));
  assert.deepEqual(said(sound.out), [
    `${store}: streams may take 3.3 GiB of 5.0 GiB, 65 %`,
    `store at ${nobody}: unknown: connect ECONNREFUSED ${nobody}`,
  ]);
  assert.deepEqual(said((await cluster('check', [urls])).out), []);

  const tooMuch = `${store}: streams may take 3.8 GiB of 5.0 GiB, 75 %: ${rule}`;
  const set = await cluster('set', [urls], '--log-bytes-max', '1GiB', ...monitors);
  assert.deepEqual(set, { code: 0, out: 'cluster prod is changed\n', err: `backplane: ${tooMuch}\n` });
  const full = await cluster('check', [urls], ...monitors);
  assert.equal(full.code, 1);
  assert.deepEqual(said(full.out)[0], tooMuch);
  const again = await cluster('init', [urls], '--if-missing', ...monitors);
  assert.deepEqual(again, { code: 0, out: 'cluster prod is there\n', err: `backplane: ${tooMuch}\n` });
});
