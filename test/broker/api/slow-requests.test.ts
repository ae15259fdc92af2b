/** Requests that do not come to their end in time, over gRPC and HTTP: all wait together, for ten seconds. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { rawService } from '../../../src/wire/grpc/rpc.js';
import { Witness } from '../../harness/broker/witness.js';

const METHODS = (['Backplane', 'Uplink'] as const).flatMap((service) =>
  Object.values(rawService(service)).map(({ path }) => path),
);
/** Not those of an agent's data, which may say nothing for long. */
const SILENT = METHODS.filter((path) => !/\/(Live|History)$/.test(path));

let witness: Witness;
before(async () => {
  witness = await Witness.start();
});
after(() => witness.destroy());

/** All that comes to a request over HTTP that is never sent to its end. */
function unfinished(text: string): Promise<string> {
  const [host, port] = witness.harness.broker.httpAddress.split(':') as [string, string];
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(Number(port), host, () => socket.write(text));
    socket.setEncoding('utf8').on('data', (part: string) => {
      received += part;
    });
    socket.on('error', () => undefined).on('close', () => resolve(received));
  });
}

test('a call without a request, a head and a body without an end are refused in time, and a quiet agent is not', async () => {
  const body = `POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n${'Content-Type: application/json'}\r\nContent-Length: 9\r\n\r\n{`;
  const head = 'GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n';
  const [calls, ...answers] = await Promise.all([
    Promise.all(SILENT.map((path) => witness.callOpen(path))),
    unfinished(head),
    unfinished(body),
  ]);
  for (const [index, { status, message }] of calls.entries()) {
    const hello = SILENT[index]!.endsWith('/Control');
    assert.deepEqual(
      [status, message],
      hello ? ['9', 'control: hello must come within 5000 ms'] : ['4', 'the request must come within 10000 ms'],
      SILENT[index],
    );
  }
  for (const answer of answers) {
    assert.match(
      answer,
      /^HTTP\/1\.1 408 [\s\S]*"status":408,"detail":"(a request|the body) must arrive within 10000 ms"/,
    );
    assert.match(answer, /"code":"deadline_exceeded"/);
  }
  await witness.served();
  assert.equal(witness.agent.ended, undefined);
});
