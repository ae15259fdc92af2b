/** Who closes the connection takes nothing further: subscription, interest of history queries, and their memory end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { Harness, range } from '../../../harness/broker/harness.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
let agent: TestAgent;
let sockets: Socket[];
beforeEach(async () => {
  sockets = [];
  harness = await Harness.start();
  agent = await harness.agent('a');
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await harness.destroy();
});

/** Sends a request and does not read what comes. */
async function ask(text: string): Promise<Socket> {
  const [host, port] = harness.broker.httpAddress.split(':') as [string, string];
  const socket = connect(Number(port), host).pause();
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

const get = (query: string) => `GET /v1/events?topic=process&${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
const post = (path: string, body: object) => {
  const text = JSON.stringify(body);
  const head = `Content-Type: application/json\r\nContent-Length: ${text.length}\r\nAccept: text/event-stream`;
  return `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${head}\r\n\r\n${text}`;
};

async function running(): Promise<number> {
  const answer = await fetch(`http://${harness.broker.httpAddress}/v1/subscriptions`);
  return ((await answer.json()) as { subscriptions: object[] }).subscriptions.length;
}

test('in the middle of a replay that is not read, its query ends at the node, and another replay is whole', async () => {
  // More than sockets and queues hold.
  for (const pid of range(0, 4_000)) agent.recorder.record('process.exec', pid, 'x'.repeat(4_000));
  const ends: readonly [string, (socket: Socket) => void][] = [
    [get('since=1h'), (socket) => socket.destroy()],
    [get('since=1h&follow=true'), (socket) => socket.resetAndDestroy()],
    [post('/v1/events', { topics: ['process'], since: '1h' }), (socket) => socket.destroy()],
  ];
  for (const [request, end] of ends) {
    const socket = await ask(request);
    await until('a replay that waits for its reader', () => agent.runningQueries > 0);
    end(socket);
    await until('the end of the subscription', async () => (await running()) === 0);
    await until('the end of its query', () => agent.runningQueries === 0);
  }
  const whole = harness.subscribe({ topics: ['process'], since: '1h' });
  await whole.has(4_000);
});

test('while nodes are waited for, nothing is left of a stream or a histogram whose caller went', async () => {
  const asked: number[] = [];
  agent.answerWith = (queryId) => asked.push(queryId);
  const histogram = { subscription: { topics: ['process'], since: '1h' } };
  for (const request of [get('since=1h'), post('/v1/histogram', histogram)]) {
    const before = asked.length;
    const socket = await ask(request);
    await until('a question', () => asked.length > before);
    assert.equal(await running(), 1);
    socket.destroy();
    await until('the end of the subscription', async () => (await running()) === 0);
    agent.sendHistory({ queryId: asked.at(-1)!, end: {} });
  }
  agent.answerWith = undefined;
  agent.holdInterest = true;
  const socket = await ask(get('follow=true'));
  await until('a subscription', async () => (await running()) === 1);
  socket.destroy();
  await until('its end', async () => (await running()) === 0);
});
