/** Connections of the gRPC server that ask for nothing. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect as connectHttp2, type ServerHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { UPLINK_WINDOW_BYTES } from '../../../src/limits.js';
import { boundAnswers } from '../../../src/wire/grpc/bound-answers.js';
import { rawService } from '../../../src/wire/grpc/rpc.js';
import { serverOptions, setSessionWindow, setStreamWindow } from '../../../src/wire/grpc/server-options.js';
import { nameConnections } from '../../../src/wire/grpc/session-pings.js';
import { SignsOfLife } from '../../../src/wire/grpc/signs-of-life.js';
import { until } from '../../harness/until.js';

const PLACES = 4;
const CHECK = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const SUBSCRIBE = '/backplane.v1.Backplane/Subscribe';

const server = new Server(serverOptions(boundAnswers()));
const calls: ServerWritableStream<Buffer, Buffer>[] = [];
let port: number;
let endConnections: () => void;

before(async () => {
  setStreamWindow(server);
  new HealthImplementation({ '': 'SERVING' }).addToServer(server);
  const subscribe = (call: ServerWritableStream<Buffer, Buffer>) => {
    call.on('error', () => undefined);
    call.write(Buffer.alloc(0));
    calls.push(call);
  };
  server.addService(rawService('Backplane'), { Subscribe: subscribe });
  port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (cause, bound) =>
      cause ? reject(cause) : resolve(bound),
    );
  });
  endConnections = setSessionWindow(server, PLACES, 2 * UPLINK_WINDOW_BYTES);
});
after(() => {
  server.forceShutdown();
  endConnections();
});

/** Opens a connection and a call on it; resolves with the first of what comes, or nothing when it ends before. */
async function call(path: string): Promise<{ answer: Buffer | undefined; end: () => void; ended: () => boolean }> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  stream.end(Buffer.alloc(5));
  const first = new Promise<Buffer | undefined>((resolve) => {
    stream.once('data', resolve);
    stream.once('close', () => resolve(undefined));
  });
  return { answer: await first, end: () => session.destroy(), ended: () => stream.closed || session.destroyed };
}

test('the more connections there are, the less each new one may send unread', async () => {
  const sessions = [1, 2, 3, 4].map(() => connectHttp2(`http://127.0.0.1:${port}`));
  const windows = () => sessions.map(({ remoteSettings }) => remoteSettings?.initialWindowSize ?? 0);
  const parts = [1, 1, 2 / 3, 1 / 2].map((part) => Math.floor(part * UPLINK_WINDOW_BYTES));
  const each = () => windows().sort((a, b) => b - a);
  await until('the windows', () => `${each()}` === `${parts}`, each);
  for (const session of sessions) session.destroy();
});

test('idle connections, and those with health checks only, keep nobody out, and subscribers stay', async () => {
  const subscribers = [await call(SUBSCRIBE), await call(SUBSCRIBE), await call(SUBSCRIBE)];
  assert.ok(subscribers.every(({ answer }) => answer !== undefined));
  const sockets: Socket[] = [];
  for (let round = 0; round < 20; round++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
    const watcher = await call(WATCH);
    assert.ok(watcher.answer !== undefined);
    const check = await call(CHECK);
    assert.ok(check.answer !== undefined, `round ${round}`);
    check.end();
  }
  assert.ok(subscribers.every(({ ended }) => !ended()));
  // One that has gone leaves its place.
  subscribers[0]!.end();
  await once(calls[0]!, 'cancelled');
  subscribers.push(await call(SUBSCRIBE));
  assert.ok(subscribers[3]!.answer !== undefined && !subscribers[2]!.ended());
  for (const each of [...sockets, ...subscribers.map(({ end }) => ({ destroy: end }))]) each.destroy();
});

test('of answers that nobody reads no more waits than is allowed: the connection ends that does not read for longest', async () => {
  const answer = Buffer.alloc(100_000);
  const bounded = new Server(serverOptions(boundAnswers(3 * answer.length)));
  bounded.addService(rawService('Backplane'), {
    ListNodes: (_call: unknown, respond: (error: null, answer: Buffer) => void) => respond(null, answer),
  });
  const own = await new Promise<number>((resolve, reject) => {
    bounded.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (cause, bound) =>
      cause ? reject(cause) : resolve(bound),
    );
  });
  nameConnections(bounded);
  const connected = (settings: object) => {
    const session = connectHttp2(`http://127.0.0.1:${own}`, { settings }).on('error', () => undefined);
    const headers = {
      ':method': 'POST',
      ':path': '/backplane.v1.Backplane/ListNodes',
      'content-type': 'application/grpc',
    };
    const ask = () => {
      let bytes = 0;
      const stream = session.request({ ...headers, te: 'trailers' }).on('error', () => undefined);
      stream.on('data', ({ length }: Buffer) => {
        bytes += length;
      });
      stream.end(Buffer.alloc(5));
      return once(stream, 'close').then(() => bytes);
    };
    return { session, ask };
  };
  const reader = connected({});
  const unread = connected({ initialWindowSize: 0 });
  try {
    for (let asked = 0; asked < 3; asked++) {
      void unread.ask();
      assert.equal(await reader.ask(), answer.length + 5);
    }
    await until('the end of who does not read', () => unread.session.destroyed);
    assert.equal(reader.session.destroyed, false);
  } finally {
    for (const { session } of [reader, unread]) session.destroy();
    bounded.forceShutdown();
  }
});

test('a connection whose peer is gone without a word ends, one that says anything is not even asked', () => {
  const signs = new SignsOfLife(2_000);
  const session = (answers: boolean) => {
    const peer = Object.assign(new EventEmitter(), { socket: { bytesRead: 0 }, asked: 0, destroyed: false });
    const ping = () => {
      peer.asked++;
      if (answers) peer.socket.bytesRead++;
      return true;
    };
    const destroy = () => {
      peer.destroyed = true;
      peer.emit('close');
    };
    return Object.assign(peer, { ping, destroy });
  };
  const [silent, answering, talking] = [session(false), session(true), session(false)];
  for (const each of [silent, answering, talking]) signs.add(each as unknown as ServerHttp2Session);
  // Two looks go over each of them once.
  for (let round = 0; round < 8; round++) {
    talking.socket.bytesRead++;
    signs.look();
  }
  assert.deepEqual([silent.destroyed, answering.destroyed, talking.destroyed], [true, false, false]);
  assert.ok(silent.asked === 1 && answering.asked > 1 && talking.asked === 0);
  for (const each of [answering, talking]) each.destroy();
});
