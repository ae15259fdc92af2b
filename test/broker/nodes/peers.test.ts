/** What a broker refuses of agents that break the protocol, and of second brokers and recorders. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { afterEach, beforeEach, test } from 'node:test';
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import { startBroker } from '../../../src/broker/broker.js';
import { MiB, SESSION_WINDOW_BYTES, UPLINK_WINDOW_BYTES } from '../../../src/limits.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import { createUplinkClient, SESSION_KEY, type UplinkClient } from '../../../src/wire/grpc/rpc.js';
import { PROTOCOL } from '../../../src/wire/protocol.js';
import { Harness } from '../../harness/broker/harness.js';
import { TestRecorder } from '../../harness/broker/test-agent.js';
import { frameOver } from '../../harness/frames.js';
import { until } from '../../harness/until.js';

let harness: Harness;
let client: UplinkClient;
beforeEach(async () => {
  harness = await Harness.start();
  client = createUplinkClient(harness.broker.grpcAddress);
});
afterEach(async () => {
  client.close();
  await harness.destroy();
});

const options = (change: object = {}) => ({
  dataDir: harness.dataDir,
  grpcListen: '127.0.0.1:0',
  httpListen: '127.0.0.1:0',
  insecure: false,
  token: false,
  log: { bytesMax: 256 * MiB, ageMsMax: 3_600_000, fsync: 'commit' as const },
  version: harness.version,
  logger: harness.logger,
  ...change,
});

test('the receive windows of the server are those that the limits state', async () => {
  const session = connect(`http://${harness.broker.grpcAddress}`);
  await once(session, 'remoteSettings');
  assert.equal(session.remoteSettings.initialWindowSize, UPLINK_WINDOW_BYTES);
  await until('the window of the connection', () => (session.state.remoteWindowSize ?? 0) >= SESSION_WINDOW_BYTES);
  session.destroy();
});

test('a control stream that does not begin with a valid hello is refused with a sentence', async () => {
  const bad: [object, RegExp][] = [
    [{ report: {} }, /first message must be hello/],
    [{ hello: { node: '', recorderId: 'r' } }, /hello.node/],
    [{ hello: { node: 'a/../b', recorderId: 'r' } }, /hello.node/],
    [{ hello: { node: 'x'.repeat(300), recorderId: 'r' } }, /hello.node/],
    [{ hello: { node: 'a', recorderId: 'r' } }, /agent of node a speaks protocol version one before 2.*upgrade both/],
    [
      { hello: { node: 'a', recorderId: 'r', protocol: PROTOCOL + 1 } },
      /speaks protocol version 3, this side version 2/,
    ],
    [{ hello: { node: 'a', recorderId: 'r', protocol: PROTOCOL, version: 'x\n' } }, /is of version "x\\n", this side/],
    [{ hello: { node: 'a', recorderId: '', protocol: PROTOCOL } }, /recorder_id/],
    [{ hello: { node: 'a', recorderId: 'r', protocol: PROTOCOL, epoch: (1n << 60n).toString() } }, /hello.epoch/],
  ];
  for (const [message, reason] of bad) {
    const control = client.control(new Metadata());
    control.resume();
    control.write(message);
    const [error] = (await once(control, 'error')) as [ServiceError];
    assert.match(error.details, reason);
  }
});

test('an agent one minor version older or newer works, any other is refused with both versions', async () => {
  harness.version = '1.4.2';
  await harness.broker.drain();
  await harness.startBroker();
  for (const version of ['1.3.9', '1.4.0', '1.5.0-rc.1']) {
    const agent = await harness.agent('a', undefined, { version });
    assert.equal(agent.ended, undefined, version);
    assert.equal(agent.welcome?.version, '1.4.2');
  }
  for (const version of ['1.2.9', '1.6.0', '2.4.2', '0.4.2']) {
    await assert.rejects(harness.agent('a', undefined, { version }), (error: ServiceError) => {
      assert.match(
        error.details,
        /^the agent of node a is of version \S+, this side of 1\.4\.2: only .* one minor version/,
      );
      assert.ok(error.details.includes(version));
      return true;
    });
  }
  // Who asks says no version.
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
});

test('data streams without an open session are refused', async () => {
  const metadata = new Metadata();
  metadata.set(SESSION_KEY, 'nobody');
  for (const open of [client.live.bind(client), client.history.bind(client)]) {
    const error = await new Promise<ServiceError | null>((resolve) => {
      open(metadata, resolve).on('error', () => undefined);
    });
    assert.match(error?.details ?? '', /names no open session/);
  }
});

test('a frame of an unknown topic, or one that overlaps, ends only its own session', async () => {
  const first = await harness.agent('a');
  const other = await harness.agent('b');
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  first.recorder.record('process.exec', 1);
  first.recorder.record('process.exec', 2);
  first.publish();
  await subscriber.has(2);
  const position = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const frame = (topic: string, from: bigint, to: bigint) =>
    encodeFrame(frameOver(position(from), position(to), { topic }));
  first.sendFrame(frame('process', 0n, 1n));
  first.sendFrame(frame('process', 1n, 1_000_000_000n));
  await until('end', () => first.ended !== undefined);
  assert.match(first.ended ?? '', /covered_from must not be before 1:2000000/);
  other.sendFrame(frame('weather', 0n, 1n));
  await until('end', () => other.ended !== undefined);
  assert.match(other.ended ?? '', /unknown topic "weather"/);
  assert.equal(subscriber.ended, false);
  const again = await harness.agent('a', first.recorder);
  await until('interest', () => again.interests.length > 0);
  again.recorder.record('process.exec', 3);
  again.publish();
  await subscriber.has(3);
  assert.deepEqual(subscriber.pids, [1, 2, 3]);
});

test('a node that sends history nobody asked for loses its session', async () => {
  const agent = await harness.agent('a');
  agent.sendHistory({ queryId: 77, end: {} });
  await until('end', () => agent.ended !== undefined);
  assert.match(agent.ended ?? '', /history query 77 was never asked/);
});

test('a copy of a recorder on another machine is refused while the original is connected', async () => {
  const first = await harness.agent('a');
  const copy = new TestRecorder(first.recorder.id);
  copy.bootId = 'another boot';
  await assert.rejects(harness.agent('a', copy), /from another boot, .*is its recorder a copy\?/);
  // The same one over a connection that is not known to be lost yet.
  await harness.agent('a', first.recorder);
  await until('the end of the first session', () => first.ended !== undefined);
});

test('a predicate that a node cannot evaluate is reported, and the other predicates hold', async () => {
  const agent = await harness.agent('a');
  agent.refuses = 'versions differ';
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  assert.deepEqual(subscriber.accepted?.nodesMissing, ['a']);
  await until('degraded', () =>
    subscriber.responses.some(({ nodeStatus }) => nodeStatus?.message === 'versions differ'),
  );
});

test('a second broker on the same directory or port is refused in one line', async () => {
  await assert.rejects(startBroker(options()), /is in use by process/);
  const elsewhere = { dataDir: `${harness.dataDir}/other` };
  await assert.rejects(
    startBroker(options({ ...elsewhere, grpcListen: harness.broker.grpcAddress })),
    /cannot listen on 127.0.0.1:\d+: the port is in use; choose another with --grpc-listen or BACKPLANE_GRPC_LISTEN/,
  );
  await assert.rejects(
    startBroker(options({ ...elsewhere, httpListen: harness.broker.httpAddress })),
    /the port is in use; choose another with --http-listen/,
  );
  await assert.rejects(startBroker(options({ ...elsewhere, grpcListen: '0.0.0.0:0' })), /nothing is encrypted/);
  const second = await startBroker(options(elsewhere));
  await second.drain();
});
