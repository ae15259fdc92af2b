/**
 * An event that is none, in a frame that is sound otherwise: it reaches nobody.
 * Read again once, then its frame is stated as a gap, live and in history, and
 * whatever comes behind it is delivered.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { HttpSink } from '../../../../src/broker/api/http/http-sink.js';
import { NDJSON } from '../../../../src/broker/api/http/stream-formats.js';
import { EventWriter } from '../../../../src/wire/event/event-writer.js';
import { decodeFrame, encodeFrame } from '../../../../src/wire/frame/frame.js';
import type { EventColumns } from '../../../../src/wire/frame/frame-columns.js';
import { decodeHistoryFrame, encodeHistoryFrame } from '../../../../src/wire/frame/history-frame.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

const NONE = Buffer.from([0x2a, 4, 0xff, 0xff, 0xff, 0xff]);

let harness: Harness;
let agent: TestAgent;
let recorder: TestRecorder;

beforeEach(async () => {
  harness = await Harness.start();
  recorder = new TestRecorder('recorder-a');
  agent = await harness.agent('a', recorder);
});
afterEach(() => harness.destroy());

/** With the event at `index` replaced by one that is none. */
function rogue<C extends EventColumns>(frame: C, index: number): C {
  const sizes = Array.from(frame.eventSizes);
  const start = sizes.slice(0, index).reduce((sum, size) => sum + size, 0);
  const rest = frame.events.subarray(start + sizes[index]!);
  sizes[index] = NONE.length;
  return { ...frame, eventSizes: sizes, events: Buffer.concat([frame.events.subarray(0, start), NONE, rest]) };
}

const rogueFrame = (bytes: Buffer) => encodeFrame(rogue(decodeFrame(bytes), 0));
/** The frame of history whose first event is number `first` of the recording. */
const rogueHistory = (first: number) => (bytes: Buffer) => {
  const frame = decodeHistoryFrame(bytes);
  return frame.timesNs[0] === BigInt(first) * 1_000_000n ? encodeHistoryFrame(rogue(frame, 3)) : bytes;
};

/** The lines of an answer over HTTP, once it has ended. */
async function httpLines(query: string) {
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/events?${query}`);
  const lines = (await response.text()).trim().split('\n');
  return lines.map((line) => JSON.parse(line)) as {
    result?: { event?: { process: { pid: number } }; gap?: { reason: string } };
    error?: object;
  }[];
}

async function connectAgain(): Promise<void> {
  agent = await harness.agent('a', recorder);
  await until('interest', () => agent.interests.length > 0);
}

/** The session ends over what it is about to publish. */
async function publishRefused(): Promise<void> {
  agent.mangle = rogueFrame;
  agent.publish();
  await until('the session ends', () => agent.ended !== undefined);
  assert.match(agent.ended!, /event 0 is not an event: varint/);
}

function reasons(subscriber: Subscriber): [string, boolean][] {
  return subscriber.gaps.map(({ reason, eventsUnknown }) => [reason, eventsUnknown]);
}

test('an invalid live event that comes once is read again from the recorder, and nothing is missing', async () => {
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  recorder.record('process.exec', 1);
  await publishRefused();
  await connectAgain();
  agent.publish();
  await subscriber.has(1);
  assert.deepEqual([subscriber.pids, subscriber.gaps, subscriber.ended], [[1], [], false]);
});

test('a live event that is invalid every time becomes a gap, over gRPC and HTTP, and both streams go on', async () => {
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  const overHttp = httpLines('topic=process&follow=true&limit=1');
  await until('two subscriptions', () => agent.interests.length > 0);
  await until('both', () => subscriber.accepted !== undefined);
  recorder.record('process.exec', 1);
  await publishRefused();
  await connectAgain();
  agent.mangle = rogueFrame;
  agent.publish();
  await until('it is acknowledged', () => agent.acknowledged.get('process')?.timeNs === recorder.frontier.timeNs);
  agent.mangle = (bytes) => bytes;
  recorder.record('process.exec', 2);
  agent.publish();
  await subscriber.has(1);
  assert.deepEqual([subscriber.pids, reasons(subscriber), subscriber.ended], [[2], [['refused', true]], false]);
  const lines = await overHttp;
  assert.deepEqual(
    lines.flatMap(({ result }) => result?.event?.process.pid ?? []),
    [2],
  );
  assert.ok(lines.every(({ error }) => error === undefined));
});

test('an invalid event in history that comes once makes the broker ask again: nothing is missing or doubled', async () => {
  for (const pid of range(1, 201)) recorder.record('process.exec', pid);
  let times = 0;
  agent.mangleHistory = (bytes) => {
    const mangled = rogueHistory(101)(bytes);
    return mangled !== bytes && times++ === 0 ? mangled : bytes;
  };
  const subscriber = harness.subscribe({ topics: ['process'], since: '1h' });
  await subscriber.end();
  assert.deepEqual([subscriber.pids, subscriber.gaps], [range(1, 201), []]);
  assert.equal(agent.historyQueries, 2);
});

test('an event in history that is invalid every time makes its frame a gap, and all other frames come', async () => {
  for (const pid of range(1, 201)) recorder.record('process.exec', pid);
  agent.mangleHistory = rogueHistory(101);
  const subscriber = harness.subscribe({ topics: ['process'], since: '1h' });
  await subscriber.end();
  assert.deepEqual(subscriber.pids, [...range(1, 101), ...range(151, 201)]);
  const gaps = subscriber.gaps.map(({ node, topic, reason, from, to }) => [
    node,
    topic,
    reason,
    from?.timeNs,
    to?.timeNs,
  ]);
  assert.deepEqual(gaps, [['a', 'process', 'refused', '100000000', '150000000']]);
  const [coverage] = subscriber.coverage!.nodes;
  assert.deepEqual([coverage?.absent, coverage?.brokenOff, coverage?.events], [false, false, '150']);
  assert.equal(agent.historyQueries, 2);
  const lines = await httpLines('topic=process&since=1h');
  assert.equal(lines.flatMap(({ result }) => result?.event ?? []).length, 150);
  assert.deepEqual(
    lines.flatMap(({ result }) => result?.gap?.reason ?? []),
    ['refused'],
  );
});

test("inconsistent frame columns end only that node's history, after it was asked once more", async () => {
  for (const pid of range(1, 201)) recorder.record('process.exec', pid);
  agent.mangleHistory = (bytes) => Buffer.concat([bytes, Buffer.from([0x28, 1])]);
  const subscriber = harness.subscribe({ topics: ['process'], since: '1h' });
  await subscriber.end();
  const [coverage] = subscriber.coverage!.nodes;
  assert.deepEqual([subscriber.error, coverage?.absent], [undefined, true]);
  assert.match(coverage!.message, /history frame/);
  assert.equal(agent.historyQueries, 2);
});

test('history of an epoch that its node has not begun is refused, so that no cursor lies past future events', async () => {
  for (const pid of range(1, 201)) recorder.record('process.exec', pid);
  agent.mangleHistory = (bytes) => encodeHistoryFrame({ ...decodeHistoryFrame(bytes), epoch: 2 ** 40 });
  const subscriber = harness.subscribe({ topics: ['process'], since: '1h', follow: true });
  await until('coverage', () => subscriber.coverage);
  // As it goes live, it asks the node again; and again later.
  await until('another query', () => agent.historyQueries >= 4);
  assert.match(subscriber.coverage!.nodes[0]!.message, /history frame\.epoch must be at most 1, got 1099511627776/);
  agent.mangleHistory = (bytes) => bytes;
  await subscriber.has(200);
  assert.deepEqual(subscriber.pids, range(1, 201));
});

test('an invalid event in a log of an older broker is stated as missing over HTTP, and the rest of its batch comes', async () => {
  const writer = new EventWriter();
  const position = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };
  writer.write({ type: 'process.exec', topic: 'process', position, wallNs: 1n, process: { pid: 7 } });
  const parts = [Buffer.concat([NONE, writer.take()]), NONE];
  const server = createServer((_request, response) => {
    const sink = new HttpSink(response, NDJSON);
    void sink.write({ kind: 'batch', header: { node: 'a', topic: 'process', history: false, cursor: 'c' }, parts });
    sink.end('window');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const [gap, event] = (await response.text()).trim().split('\n');
  server.close();
  assert.match(gap!, /"gap":\{.*"node":"a","topic":"process","events":"2".*"reason":"refused"/);
  assert.match(event!, /"pid":7.*"cursor":"c"/);
});
