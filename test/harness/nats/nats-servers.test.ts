/** The servers that tests of clusters run on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from 'nats';
import { needsNats } from './nats-package.js';
import { NatsServers } from './nats-servers.js';

test('a server is killed and started again at its address', { skip: needsNats() }, async () => {
  const servers = await NatsServers.start();
  try {
    const { first } = servers;
    const answers = async () => {
      const connection = await connect({ servers: servers.urls });
      const { data } = await connection.request('$JS.API.INFO', '', { timeout: 10_000 });
      await connection.close();
      return JSON.parse(Buffer.from(data).toString()).type as string;
    };
    assert.equal(await answers(), 'io.nats.jetstream.api.v1.account_info_response');
    await first.kill();
    assert.equal(first.pid, undefined);
    first.start();
    await first.ready();
    assert.equal(await answers(), 'io.nats.jetstream.api.v1.account_info_response');
  } finally {
    await servers.destroy();
  }
});
