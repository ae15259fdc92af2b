/** A stream that its reader closes without an error ends, whatever of its answer was still waiting to be sent. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { endClosedStreams } from '../../../src/wire/grpc/closed-streams.js';
import { settled } from '../../harness/until.js';

const ANSWERS: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  'is still being written': (stream) => stream.write('answer'),
  'has been written whole': (stream) => stream.end('answer'),
  'is being written before all of the request was read': (stream) => stream.pause().write('answer'),
};

test('a stream that is closed while its answer waits ends', async () => {
  const server = createServer().on('session', endClosedStreams).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // Nothing is taken of any answer.
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } });
  try {
    for (const [what, answer] of Object.entries(ANSWERS)) {
      const streams = once(server, 'stream') as Promise<[ServerHttp2Stream]>;
      const asked = session.request({ ':method': 'POST' }, { endStream: false });
      asked.write('request');
      const [stream] = await streams;
      const ended = once(stream, 'close');
      answer(stream);
      await once(asked, 'response');
      asked.close();
      await settled(`the end of a stream whose answer ${what}`, ended);
      assert.ok(stream.destroyed);
    }
  } finally {
    session.destroy();
    server.close();
  }
});
