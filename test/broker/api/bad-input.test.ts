/**
 * What peers may send by mistake or on purpose: each is answered as it should
 * be, memory stays bounded, and everybody else is served on.
 */
import assert from 'node:assert/strict';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { KiB, MESSAGE_BYTES_MAX, MiB, STREAMS_PER_CONNECTION_MAX } from '../../../src/limits.js';
import { createBackplaneClient } from '../../../src/wire/grpc/rpc.js';
import { type Harness, range } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { framed, requestTo, Witness } from '../../harness/broker/witness.js';
import { until } from '../../harness/until.js';

let witness: Witness;
let harness: Harness;
let agent: TestAgent;

before(async () => {
  witness = await Witness.start();
  ({ harness, agent } = witness);
});
after(() => witness.destroy());

const served = () => witness.served();
const call: Witness['call'] = (...sent) => witness.call(...sent);

const SUBSCRIBE = '/backplane.v1.Backplane/Subscribe';
const STATUS = '/backplane.v1.Backplane/GetStatus';
const RESOURCE_EXHAUSTED = '8';

test('a length prefix of 4 GiB, and a message above the bound, are refused before they are buffered', async () => {
  const rss = process.memoryUsage.rss();
  const huge = await call(SUBSCRIBE, [framed(Buffer.alloc(10), 0, 0xffff_ffff)]);
  assert.equal(huge.status, RESOURCE_EXHAUSTED);
  const large = await call(SUBSCRIBE, [framed(Buffer.alloc(MESSAGE_BYTES_MAX + 1))]);
  assert.equal(large.status, RESOURCE_EXHAUSTED);
  assert.ok(process.memoryUsage.rss() - rss < 64 * MiB);
  await served();
});

test('a message that arrives in pieces of one byte is read as one message', async () => {
  const bytes = framed(Buffer.alloc(0));
  const answer = await call(
    STATUS,
    [...bytes].map((byte) => Buffer.from([byte])),
  );
  assert.equal(answer.status, '0');
  await served();
});

test('a compressed message that unpacks to 200 times its size is refused at the bound', async () => {
  const rss = process.memoryUsage.rss();
  const bomb = gzipSync(Buffer.alloc(128 * MiB));
  const answer = await call(SUBSCRIBE, [framed(bomb, 1)], { 'grpc-encoding': 'gzip' });
  assert.equal(answer.status, RESOURCE_EXHAUSTED);
  assert.ok(process.memoryUsage.rss() - rss < 256 * MiB);
  await served();
});

test('a request that is no message, or is cut anywhere, is answered with one clear error', async () => {
  const request = Buffer.concat([Buffer.from([0x0a, 7]), Buffer.from('process'), Buffer.from([0x30, 1])]);
  for (const end of range(1, request.length)) {
    const answer = await call(SUBSCRIBE, [framed(request.subarray(0, end))]);
    // Cut between two fields it is a smaller request, which ends by itself as it does not follow.
    assert.ok(answer.status === '0' || answer.status === '3', `cut at ${end}: ${answer.status}`);
    if (answer.status === '3') assert.match(answer.message, /^(SubscribeRequest cannot be decoded|topics: )/);
  }
  await served();
});

test('extreme numbers and invalid names are refused with the field, the bound and the value', async () => {
  const refusals: [object, RegExp][] = [
    [{ limit: '18446744073709551615' }, /limit: must be a whole number from 0 to 9007199254740991, got "1844/],
    [{ last: 4_294_967_295 }, /last: must be a whole number from 0 to 10000, got 4294967295/],
    [{ topics: ['process.>'] }, /topic/],
    [{ topics: ['*'] }, /topic/],
    [{ topics: ['pro cess'] }, /topic/],
    [{ topics: ['process\r\nx: y'] }, /topic/],
    [{ topics: ['t'.repeat(4096)] }, /topic/],
    [{ topics: ['__proto__'] }, /topic/],
    [{ nodes: ['n'.repeat(4096)] }, /node/],
    [{ nodes: ['a\r\nb'] }, /node/],
    [{ fields: ['__proto__'] }, /fields: unknown field "__proto__"/],
    [{ filter: '('.repeat(2_000) }, /filter: /],
    [{ filter: 'constructor.name == "x"' }, /filter: /],
    [{ since: '-9223372036854775808ns' }, /since: /],
    [{ cursor: 'A'.repeat(5_000) }, /cursor: must be at most 4096 bytes, got 5000/],
    [{ client: 'c'.repeat(100_000) }, /client: must be at most 64 characters/],
  ];
  for (const [request, message] of refusals) {
    const refused = harness.subscribe(request);
    await refused.end();
    assert.match(refused.error?.details ?? 'not refused', message, JSON.stringify(request).slice(0, 80));
    assert.ok(!refused.error?.details.includes('\n') && (refused.error?.details.length ?? 0) < 600);
    assert.equal(refused.error?.code, 3);
  }
  await served();
});

test('the name of a connected node is refused to another agent, and so are other bad names', async () => {
  await assert.rejects(
    harness.agent('witness', new TestRecorder('another')),
    /node witness is connected with (another|the same) recorder/,
  );
  for (const name of ['', 'a b', 'a*', 'a>', 'a\r\nb', 'n'.repeat(4096)]) {
    await assert.rejects(harness.agent(name), /hello\.node/, JSON.stringify(name.slice(0, 20)));
  }
  await served();
});

test('the broker stops reading a node that sends far above its budget, but not its control stream and not other nodes', async () => {
  const recorder = new TestRecorder('recorder-loud');
  recorder.budget = { liveBytesPerSecond: 64 * KiB, burstMs: 1_000 };
  const loud = await harness.agent('loud', recorder);
  const subscriber = harness.subscribe({ topics: ['process'], nodes: ['loud'], follow: true });
  await subscriber.isAccepted();
  // Some 7 MiB at once: 100 s of its budget.
  for (let frame = 0; frame < 40; frame++) {
    for (const each of range(0, 4_000)) loud.recorder.record('process.exec', each);
    loud.publish();
    if (frame % 10 === 0) await served();
  }
  await until('some of it', () => loud.acknowledged.has('process'));
  const interests = loud.interests.length;
  const other = harness.subscribe({ topics: ['network'], nodes: ['loud'], follow: true });
  await until('control goes on', () => loud.interests.length > interests);
  other.cancel();
  await served();
  const { timeNs } = loud.acknowledged.get('process')!;
  assert.ok(timeNs < loud.recorder.frontier.timeNs / 2n, 'most of it is not read yet');
  loud.kill();
  subscriber.cancel();
});

test('connections that send nothing, or never end a request, do not keep others out', async () => {
  const { httpAddress } = harness.broker;
  const [host, port] = httpAddress.split(':') as [string, string];
  const sockets: Socket[] = [];
  try {
    for (let count = 0; count < Witness.httpConnections + 50; count++) {
      const socket = connect(Number(port), host);
      socket.on('error', () => undefined);
      socket.resume();
      sockets.push(socket);
      if (count % 2 === 0) socket.write('GET /healthz HT');
    }
    await served();
    // All that may be open at once are; they are ended by the time that a request may take.
    await until(
      'an answer',
      () =>
        fetch(`http://${httpAddress}/healthz`, { signal: AbortSignal.timeout(2_000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      () => sockets.filter(({ closed }) => closed).length,
    );
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});

/** The other end has got to here, or the connection has ended. */
function pinged(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    session.once('close', resolve);
    const done = () => {
      session.off('close', resolve);
      resolve();
    };
    if (session.destroyed || session.ping(done) === false) done();
  });
}

test('streams beyond the allowed number per connection wait or are refused, and cost others nothing', async () => {
  const session = connectHttp2(`http://${harness.broker.grpcAddress}`);
  session.on('error', () => undefined);
  let opened = 0;
  for (let count = 0; count < 20_000; count++) {
    if (session.destroyed || session.closed) break;
    const stream = session.request(requestTo(SUBSCRIBE));
    stream.on('error', () => undefined);
    opened++;
    // Half of them stay, half are reset at once.
    if (count % 2 === 0) stream.close(constants.NGHTTP2_CANCEL);
    // In its turn, as the witness's own connection is of this process, too: it must come to answer its pings.
    if (count % 200 === 0) await pinged(session);
    if (count % 10_000 === 0) await served();
  }
  assert.ok(opened > STREAMS_PER_CONNECTION_MAX);
  await served();
  session.destroy();
  await served();
});

test('calls that are cancelled in the middle of a batch leave nothing behind', async () => {
  const subscribers = range(0, 50).map(() => harness.subscribe({ topics: ['process'], follow: true }));
  for (const each of range(0, 500)) agent.recorder.record('process.exec', each);
  witness.count += 500;
  agent.publish();
  for (const subscriber of subscribers) subscriber.cancel();
  await until('that all have gone', async () => (await harness.subscriptions()).length <= 1);
  await served();
});

test('the fields of budgets and plans are checked as those of subscriptions are', async () => {
  type Method = (request: object, done: (error: { code: number; details: string } | null) => void) => void;
  const client = createBackplaneClient(harness.broker.grpcAddress);
  const methods = client as unknown as Record<'setBudget' | 'explain', Method>;
  const asked = (method: 'setBudget' | 'explain', request: object) =>
    new Promise<string>((resolve) => {
      methods[method](request, (error) => {
        if (error) assert.ok(!error.details.includes('\n') && error.details.length < 600, error.details);
        resolve(error ? `${error.code} ${error.details}` : 'taken');
      });
    });
  const all = { nodes: ['witness'] };
  const rows: ['setBudget' | 'explain', object, RegExp][] = [
    ['setBudget', {}, /^3 nodes must be 1 to 256 names or globs, got 0/],
    ['setBudget', { nodes: range(0, 257).map(() => 'a') }, /nodes must be 1 to 256 names or globs, got 257/],
    ['setBudget', { nodes: ['nobody'] }, /no node matches nobody/],
    ['setBudget', { nodes: ['\r\n'] }, /node/],
    ['setBudget', { nodes: ['n'.repeat(4096)] }, /node/],
    ['setBudget', { nodes: ['a'.repeat(150_000)] }, /^8 SetBudgetRequest must be at most 131072 bytes/],
    ['setBudget', { ...all, budget: { liveBytesPerSecond: '18446744073709551615' } }, /must be below 2\^53, got 1844/],
    ['setBudget', { ...all, budget: { historyBytesPerSecond: '9007199254740993' } }, /must be below 2\^53, got 9007/],
    ['setBudget', { ...all, budget: { burstMs: 1 } }, /budget.burst_ms is a setting of the node/],
    ['setBudget', { ...all, budget: { liveEventsPerSecond: String(Number.MAX_SAFE_INTEGER) } }, /^taken$/],
    ['setBudget', { ...all, budget: { liveBytesPerSecond: '1', liveEventsPerSecond: '1' } }, /^taken$/],
    ['setBudget', all, /^taken$/],
    ['explain', {}, /subscription is missing/],
    ['explain', { subscription: { topics: ['__proto__'] } }, /unknown topic/],
    ['explain', { subscription: { filter: '('.repeat(5_000) } }, /filter: /],
    ['explain', { subscription: { last: 4_294_967_295 } }, /last: must be a whole number/],
    ['explain', { subscription: { cursor: '\u0000'.repeat(4096) } }, /cursor/],
  ];
  for (const [method, request, expected] of rows) {
    assert.match(await asked(method, request), expected, JSON.stringify(request).slice(0, 80));
  }
  client.close();
  await served();
});
