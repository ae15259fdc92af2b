/** Connections of the HTTP port as nobody should use them: many requests at once, many that say nothing, abandoned ones. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { HTTP_PIPELINED_MAX } from '../../../../src/limits.js';
import { Harness, range, until } from '../../../harness/broker/harness.js';

const BOUNDS = { connections: 512, streams: 448 };

let harness: Harness;
let sockets: Socket[];
beforeEach(async () => {
  sockets = [];
  harness = new Harness();
  harness.httpBounds = BOUNDS;
  await harness.startBroker();
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await harness.destroy();
});

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
const FOLLOW = get('/v1/events?topic=process&follow=true');

interface Peer {
  readonly socket: Socket;
  received: string;
}

async function peer(text: string): Promise<Peer> {
  const [host, port] = harness.broker.httpAddress.split(':') as [string, string];
  const socket = connect(Number(port), host);
  sockets.push(socket);
  const made: Peer = { socket, received: '' };
  socket.setEncoding('utf8').on('data', (part: string) => {
    made.received += part;
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(text);
  return made;
}

test('pipelined subscriptions run one after the other, and all are removed when their connection ends', async () => {
  const ends: Record<string, (socket: Socket) => void> = {
    closed: (socket) => socket.end(),
    gone: (socket) => socket.destroy(),
    reset: (socket) => socket.resetAndDestroy(),
  };
  for (const [how, end] of Object.entries(ends)) {
    for (const count of [1, 2, 5, HTTP_PIPELINED_MAX]) {
      const { socket } = await peer(FOLLOW.repeat(count));
      await harness.hasSubscriptions(1);
      end(socket);
      await harness.hasSubscriptions(0);
      assert.ok(how);
    }
  }
});

test('too many pipelined requests end the connection', async () => {
  const { socket } = await peer(FOLLOW.repeat(HTTP_PIPELINED_MAX + 1));
  await until('it is closed', () => socket.destroyed);
  await harness.hasSubscriptions(0);
});

test('pipelined requests are answered in order and each completely, even after a stream that ends', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 11)) agent.recorder.record('process.exec', pid);
  const asked = ['/healthz', '/v1/events?topic=process&since=1h', '/v1/nowhere', '/v1/events?limit=x', '/healthz'];
  const made = await peer(asked.map(get).join(''));
  const statuses = () => [...made.received.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);
  await until('all answers', () => statuses().length === asked.length && made.received.endsWith('ok\n'));
  assert.deepEqual(statuses(), ['200', '200', '404', '400', '200']);
  assert.equal([...made.received.matchAll(/"event":/g)].length, 10);
});

test('connections that send nothing, or never a whole request, keep nobody out', async () => {
  for (const text of ['', 'GET /healthz HTTP/1.1\r\nHost: x', get('/healthz')]) {
    for (let left = BOUNDS.connections; left > 0; left -= 64) await Promise.all(range(0, 64).map(() => peer(text)));
    const { received } = await answered(get('/healthz'));
    assert.match(received, /^HTTP\/1\.1 200 /, JSON.stringify(text));
  }
});

test('with the most streams open, health is still served, and the next stream is refused with the reason', async () => {
  for (let left = BOUNDS.streams; left > 0; left -= 64) await Promise.all(range(0, 64).map(() => peer(FOLLOW)));
  await harness.hasSubscriptions(BOUNDS.streams);
  assert.match((await answered(get('/healthz'))).received, /^HTTP\/1\.1 200 /);
  assert.match((await answered(FOLLOW)).received, /^HTTP\/1\.1 429 [\s\S]*at most 448 streams of events run at once/);
  // Who says nothing makes room for others, streams do not.
  await Promise.all(range(0, 2 * (BOUNDS.connections - BOUNDS.streams)).map(() => peer('')));
  assert.match((await answered(get('/healthz'))).received, /^HTTP\/1\.1 200 /);
  await harness.hasSubscriptions(BOUNDS.streams);
});

async function answered(text: string): Promise<Peer> {
  const made = await peer(text);
  await until('an answer', () => /\r\n\r\n[\s\S]*\n$/.test(made.received) || made.socket.destroyed);
  return made;
}
