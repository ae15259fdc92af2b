/** What anybody may ask for costs no more than its bounds, however many ask, and however little they read. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { WaitingAnswers } from '../../../src/flow/connection-places.js';
import { MiB } from '../../../src/limits.js';
import { pacedMetrics } from '../../../src/metrics.js';
import { until } from '../../harness/until.js';

test('beyond the bound the connection ends whose answer waits for longest, and who reads is served', async () => {
  // More than the kernel takes off both ends.
  const big = Buffer.alloc(64 * MiB);
  const waiting = new WaitingAnswers<ServerResponse>(3 * big.length, ({ req }) => req.socket.destroy());
  const server = createServer((_request, response) => {
    waiting.add(response, big.length);
    response.on('close', () => waiting.taken(response));
    response.on('error', () => undefined).end(big);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await once(socket, 'readable');
    return socket;
  };
  const unread = [await ask(), await ask(), await ask()];
  const reader = await ask();
  // The end of the first shows only behind what the kernel has of its answer.
  const bytesOf = async (socket: Socket) => {
    let bytes = 0;
    socket.on('data', ({ length }: Buffer) => {
      bytes += length;
    });
    await until('the end', () => socket.closed);
    return bytes;
  };
  assert.ok((await bytesOf(reader)) > big.length);
  assert.ok((await bytesOf(unread[0]!)) < big.length);
  for (const socket of unread.slice(1)) assert.ok((await bytesOf(socket)) > big.length);
  server.close();
});

test('metrics are made once for all who ask meanwhile, and always after the question', async () => {
  let made = 0;
  const registry = new Registry();
  registry.metrics = async () => `made ${++made}`;
  const text = pacedMetrics(registry, 5);
  const all = await Promise.all(Array.from({ length: 50 }, () => text()));
  assert.deepEqual([...new Set(all.map(String))], ['made 1']);
  assert.equal(String(await text()), 'made 2');
});
