/** Who listens, as /proc shows it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { listeningIn, listeningSockets } from '../../../src/sensor-agent/source/listening-sockets.js';
import { ownAddress } from '../../harness/own-address.js';

test('lines of sockets that listen give their endpoints, all others nothing', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  const rest = '00000000:00000000 00:00000000 00000000     0        0';
  const text = `${head}   0: 0100007F:1F90 00000000:0000 0A ${rest} 4242 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F91 0100007F:1234 01 ${rest} 4243 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A ${rest} 4244 1 0 100 0 0 10 0
   3: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 0A ${rest} 4245 1 0 100 0 0 10 0
   4: nonsense
`;
  assert.deepEqual(listeningIn(text), [
    ['4242', '127.0.0.1:8080'],
    ['4244', ':::22'],
    ['4245', '2001:db8::1:53'],
  ]);
  assert.deepEqual(listeningIn(''), []);
});

test('this process is found by what it listens on', async (t) => {
  const address = await ownAddress();
  const [host, port] = address.split(':');
  const server = createServer().listen(Number(port), host);
  t.after(() => server.close());
  await once(server, 'listening');
  assert.deepEqual(
    listeningSockets().filter(([endpoint]) => endpoint === address),
    [[address, process.pid]],
  );
});
