/** `backplane cluster`: the streams of brokers on NATS, against real servers. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiscardPolicy } from '@nats-io/jetstream';
import { nkeys } from 'nats';
import { JetStreamLogStore } from '../../src/broker/log/jetstream/jetstream-log-store.js';
import { fitCluster, makeCluster } from '../../src/broker/nats/cluster-streams.js';
import { connectNats } from '../../src/broker/nats/connect.js';
import { openLink } from '../../src/broker/nats/nats-link.js';
import { StreamWatch } from '../../src/broker/nats/stream-watch.js';
import { natsLogOptions } from '../../src/cli/process/broker-options.js';
import { loadConfig } from '../../src/config.js';
import { MiB } from '../../src/limits.js';
import { encodeFrame } from '../../src/wire/frame/frame.js';
import { frameOf } from '../contract/partition-log.js';
import { TestAuthority } from '../harness/access/certificates.js';
import { command, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { natsProgram, needsNats } from '../harness/nats/nats-package.js';
import { NatsServers } from '../harness/nats/nats-servers.js';
import { until } from '../harness/until.js';

for (const version of ['newest', 'floor'] as const) {
  test(`streams are made once, compared, and bounded anew (${version})`, { skip: needsNats(version) }, async () => {
    const servers = await NatsServers.start({ version });
    try {
      const cluster = (...args: string[]) => run(['cluster', ...args, '--nats', servers.urls, '--cluster', 'prod']);
      const none = await cluster('check');
      assert.equal(none.code, 1);
      assert.match(none.out, /^nats-server at [\d.:]+: [\d.]+\ndurability: unknown: a power cut may lose these/);
      assert.match(none.out, /^BP_prod_0: it is gone: brokers do not start$/m);
      assert.deepEqual(await cluster('init', '--log-bytes-max', '512MiB'), {
        code: 0,
        out: 'cluster prod is made\n',
        err: '',
      });
      const again = await cluster('init');
      assert.equal(again.code, 1);
      assert.match(again.err, /cluster prod exists: stream BP_prod_0 is there/);
      const there = await cluster('init', '--if-missing', '--log-bytes-max', '1GiB');
      assert.deepEqual(there, { code: 0, out: 'cluster prod is there\n', err: '' });
      assert.match((await cluster('check')).out, /^BP_prod_7: 0 of 64MiB/m, 'nothing is changed');
      assert.match((await cluster('set')).err, /needs what is to change: --log-bytes-max, --log-age-max or --replicas/);
      assert.equal((await cluster('set', '--log-bytes-max', '1GiB')).code, 0);
      const checked = await cluster('check');
      assert.equal(checked.code, 0, checked.out);
      assert.match(checked.out, /^BP_prod_7: 0 of 128MiB, 24h, 1 replica: as it must be$/m);
      await usedBy(servers.urls);
    } finally {
      await servers.destroy();
    }
  });
}

/** A broker's log is on all partitions; a stream that somebody changed is not taken. */
async function usedBy(urls: string): Promise<void> {
  const link = await openLink({ servers: urls.split(',') }, 'test');
  try {
    const options = { cluster: 'prod', broker: 'b1', link, onLost: assert.fail, onRewound: () => assert.fail() };
    const store = await JetStreamLogStore.open(options);
    const frame = frameOf(0, 1, 100);
    await Promise.all(
      Array.from({ length: 20 }, (_, at) => store.of(`n${at}`).append(`n${at}`, frame, encodeFrame(frame))),
    );
    await store.close();
    const again = await JetStreamLogStore.open({ ...options, broker: 'b2' });
    for (let at = 0; at < 20; at++) assert.deepEqual(again.coveredTo(`n${at}`, 'process'), frame.coveredTo);
    assert.equal(again.identity, store.identity);
    await again.close();
    await link.manager.streams.update('BP_prod_3', { max_msgs: 5 });
    await assert.rejects(JetStreamLogStore.open(options), {
      message: 'stream BP_prod_3 is not as it was made: its max_msgs is 5, it must be -1',
    });
  } finally {
    await link.close();
  }
}

test('a broker begins only on streams that are as they were made, and ends when one is lost', {
  skip: needsNats(),
}, async () => {
  const servers = await NatsServers.start();
  const link = await openLink({ servers: servers.urls.split(',') }, 'test');
  const listen = ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'];
  const onProd = ['--nats', servers.urls, '--cluster', 'prod'];
  const args = ['broker', ...listen, ...onProd, '--data-dir', scratchDirectory('clustered')];
  try {
    const none = await run(args);
    assert.deepEqual([none.code, none.out], [1, '']);
    assert.match(
      none.err,
      /^backplane: cluster prod has no streams: \S*backplane cluster init --cluster prod makes them$/m,
    );
    const bounds = { bytesMax: 512 * MiB, ageMsMax: 60_000, replicas: 1 };
    await makeCluster(link.manager, 'prod', { ...bounds, bytesMax: 256 * MiB });
    const before = await fitCluster(link.manager, 'prod');
    // As if the making had been broken off.
    for (const lost of ['BP_prod_3', 'BP_prod_audit']) await link.manager.streams.delete(lost);
    await makeCluster(link.manager, 'prod', bounds);
    assert.equal(await fitCluster(link.manager, 'prod'), before);
    const sizes = await Promise.all(['BP_prod_0', 'BP_prod_3'].map((name) => link.manager.streams.info(name)));
    assert.deepEqual(
      sizes.map(({ config }) => config.max_bytes),
      [64 * MiB, 64 * MiB],
    );
    const reasons: string[] = [];
    const onLost = ({ message }: Error) => reasons.push(message);
    const identity = await fitCluster(link.manager, 'prod');
    const watch = new StreamWatch({ manager: link.manager, cluster: 'prod', identity, onLost }, 50);
    const broker = command(args);
    await broker.printed(/^of cluster prod, on nats:.*\nlistening on/m);
    await link.manager.streams.update('BP_prod_audit', { discard: DiscardPolicy.New });
    await until('it is seen', () => reasons.length > 0);
    watch.close();
    const changed = 'stream BP_prod_audit is not as it was made: its discard is "new", it must be "old"';
    assert.deepEqual(reasons, [changed]);
    await assert.rejects(fitCluster(link.manager, 'prod'), { message: changed, code: 'failed_precondition' });
    await link.manager.streams.delete('BP_prod_state');
    const { code, err } = await broker.done;
    assert.equal(code, 1);
    assert.match(err, /^backplane: .*BP_prod_state.*$/m);
    await assert.rejects(makeCluster(link.manager, 'prod', bounds), {
      code: 'failed_precondition',
      message:
        /^cluster prod exists: .*, BP_prod_state is not, and cannot be made beside it: stream BP_prod_0: it was in use$/,
    });
  } finally {
    await link.close();
    await servers.destroy();
  }
});

test('settings of NATS that do not go together are refused by name', async () => {
  const refusals = [
    [{ 'nats.cluster': 'prod' }, /nats\.servers: must name a nats-server/],
    [{ 'nats.servers': 'nats://x' }, /nats\.cluster: must name the cluster/],
    [{ 'nats.servers': 'nats://x', 'nats.cert': 'a' }, /nats\.cert is set, and needs nats\.key \(--nats-key\)/],
    [{ 'nats.servers': 'nats://x', 'nats.nkey': 'a', 'nats.credentials': 'b' }, /nats\.nkey: .* got a/],
  ] as const;
  for (const [flags, message] of refusals) {
    const { settings } = await loadConfig({ flags, environment: {}, file: undefined });
    assert.throws(() => natsLogOptions(settings, assert.fail), message);
  }
  const { settings } = await loadConfig({ flags: {}, environment: {}, file: undefined });
  assert.equal(natsLogOptions(settings, assert.fail), undefined);
});

test('a server that wants TLS and an nkey gets both', { skip: needsNats() }, async () => {
  const dir = scratchDirectory('nkey');
  const user = nkeys.createUser();
  const seed = join(dir, 'seed');
  writeFileSync(seed, user.getSeed());
  const authority = await TestAuthority.make('nats');
  const { ca } = authority;
  let [host, cert, key] = ['', '', ''];
  const settings = async (own: string) => {
    host = own;
    ({ cert, key } = await authority.broker([host]));
    const tls = `tls { cert_file: "${cert}", key_file: "${key}" }`;
    return `${tls}\nauthorization { users: [ { nkey: "${user.getPublicKey()}" } ] }`;
  };
  const servers = await NatsServers.start({ settings });
  try {
    const check = async (...args: string[]) => {
      // A busy machine may not answer in the time that a command gives it.
      return until('it is answered', async () => {
        const { out, err } = await run(['cluster', 'check', '--nats', servers.urls, '--cluster', 'x', ...args]);
        return !/can be used: timeout/.test(err) && out + err;
      });
    };
    assert.match(await check('--nats-ca', ca, '--nats-nkey', seed), /^BP_x_0: it is gone/m);
    assert.match(await check('--nats-ca', ca), /nats: none of .* can be used: .*[Aa]uthorization/);
    assert.match(await check('--nats-nkey', seed), /nats: none of .* can be used: .*certificate/);
    assert.match(await check('--nats-nkey', join(dir, 'none')), /nats\.nkey .*none cannot be read/);
    // Whoever renews certificates replaces files: a connection that is lost comes back by the new ones.
    const caFile = join(dir, 'ca.crt');
    copyFileSync(ca, caFile);
    const connection = await connectNats({ servers: servers.urls.split(','), ca: caFile, nkey: seed }, 'test');
    const renewed = await TestAuthority.make('renewed');
    const pem = await renewed.brokerPem([host]);
    await servers.first.kill();
    await until('it is noticed', () => connection.info === undefined);
    writeFileSync(cert, pem.cert);
    writeFileSync(key, pem.key);
    copyFileSync(renewed.ca, caFile);
    servers.first.start();
    await until('it is connected again', () => connection.info !== undefined);
    await connection.close();
  } finally {
    await servers.destroy();
  }
});

test('a server that is too old, or takes no full frame, is refused, with the reason', async () => {
  const told = [
    ['2.9.10', 1_048_576],
    ['2.10.27', 1_048_575],
  ];
  const server = createServer((socket) => {
    const [version, max_payload] = told.shift()!;
    socket.write(`INFO ${JSON.stringify({ server_id: 'x', version, max_payload, headers: true })}\r\n`);
    socket.on('data', () => socket.write('PONG\r\n')).on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const check = () => run(['cluster', 'check', '--nats', `nats://127.0.0.1:${port}`, '--cluster', 'x']);
  const [old, small] = [await check(), await check()];
  server.close();
  assert.deepEqual([old.code, small.code], [1, 1]);
  assert.match(old.err, /is 2\.9\.10, it must be at least 2\.10\.27: earlier ones lose what they acknowledged/);
  assert.match(small.err, /max_payload of 127\.\S+ is 1048575, it must be at least 1048576/);
});

test('tests run the newest server and the oldest that is taken', { skip: needsNats('floor') }, () => {
  assert.equal(natsProgram('floor').version, '2.10.27');
});
