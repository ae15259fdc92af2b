/** A broker whose connections come to another server than the first one: one that it may not use. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLink } from '../../../src/broker/nats/nats-link.js';
import { command } from '../../harness/bus/command.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { InfoRelay } from '../../harness/nats/info-relay.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { makeTestCluster } from '../../harness/nats/state-under-test.js';
import { settled, until } from '../../harness/until.js';

test('a broker that comes to a server that is too old ends with one sentence, and tells it nothing', {
  skip: needsNats(),
}, async () => {
  const servers = await NatsServers.start();
  const relay = await InfoRelay.start(servers.first.url);
  const address = relay.url.slice('nats://'.length);
  await makeTestCluster(servers);
  const listen = ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'];
  const onTest = ['--nats', relay.url, '--cluster', 'test'];
  const broker = command(['broker', ...listen, ...onTest, '--data-dir', scratchDirectory('unfit')]);
  try {
    await broker.printed(/^listening on/m);
    relay.told = { version: '2.10.26' };
    relay.drop();
    const { code, err } = await settled('the broker ends', broker.done, () => broker.err);
    assert.equal(code, 1, err);
    const last = err.trim().split('\n').at(-1);
    assert.equal(
      last,
      `backplane: nats-server at ${address} is 2.10.26, it must be at least 2.10.27: earlier ones lose what they acknowledged`,
    );
    assert.ok(relay.deceived > 0);
    assert.equal(relay.sentByDeceived, '');
  } finally {
    broker.child.kill('SIGKILL');
    relay.close();
    await servers.destroy();
  }
});

test('each connection of a broker is closed where its server takes no full frame any more, and says why', {
  skip: needsNats(),
}, async () => {
  const servers = await NatsServers.start();
  const relay = await InfoRelay.start(servers.first.url);
  const reasons: string[] = [];
  const link = await openLink({ servers: [relay.url] }, 'test', ({ message }) => reasons.push(message));
  const connections = [link.publishing, link.reading, link.asking];
  try {
    relay.drop();
    await until('they are back', async () => {
      return (await Promise.all(connections.map((connection) => connection.flush().catch(() => 'away')))).every(
        (answer) => answer !== 'away',
      );
    });
    assert.deepEqual(reasons, []);
    relay.told = { max_payload: 1_048_575 };
    relay.drop();
    await until('they are closed', () => connections.every((connection) => connection.isClosed()));
    const reason = `max_payload of ${relay.url.slice('nats://'.length)} is 1048575, it must be at least 1048576`;
    assert.deepEqual(reasons, [reason, reason, reason]);
    assert.equal(relay.sentByDeceived, '');
  } finally {
    await link.close();
    relay.close();
    await servers.destroy();
  }
});
