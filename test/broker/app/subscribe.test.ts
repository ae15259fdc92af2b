/** Subscriptions to what is born in the broker: past and live without a seam, cursors, filters, beside kernel events. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { PUBLISHING } from '../../../src/broker/app/publisher.js';
import { batchKind } from '../../../src/broker/log/documents/document-batch.js';
import { DOCUMENT_BOUNDS } from '../../../src/broker/log/documents/document-logs.js';
import { MiB } from '../../../src/limits.js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { documentsOf, idsOf, published, type TestPublisher } from '../../harness/broker/documents.js';
import { Harness, range, type Subscriber, until } from '../../harness/broker/harness.js';
import { HttpStream } from '../../harness/broker/http-stream.js';
import { TestRecorder } from '../../harness/broker/test-agent.js';
import { runs } from '../../harness/runs.js';

let harness: Harness;
beforeEach(() => {
  harness = new Harness();
  harness.publishing = { ...PUBLISHING, rate: { bytesPerSecond: 1 << 30, eventsPerSecond: 1e8, burstMs: 1_000 } };
});
afterEach(() => harness.destroy());

const numbers = (from: number, to: number) => range(from, to).map(String);

function publish(publisher: TestPublisher, topic: string, ids: readonly string[], body: object = {}) {
  return publisher.publish(
    topic,
    ids.map((id) => published(id, { number: Number(id), ...body })),
  );
}

/** Waits for so many events that were born in the broker. */
function has(subscriber: Subscriber, count: number): Promise<void> {
  return subscriber.until(`${count} documents`, () => idsOf(subscriber).length >= count || subscriber.ended);
}

test('past and live of several topics come in their order and once, filtered; no node is asked', async () => {
  await harness.startBroker();
  const agent = await harness.agent('a');
  const publisher = harness.publisher();
  await publish(publisher, 'app.a', numbers(0, 10));
  await publish(publisher, 'app.b', numbers(10, 20));
  const asked = agent.interests.length;
  const every = harness.subscribe({ topics: ['app.*'], since: '1h', follow: true });
  const even = harness.subscribe({
    topics: ['app.a'],
    filter: 'app.body.number > 4 && app.id != "7"',
    since: '1h',
    follow: true,
  });
  const live = harness.subscribe({ topics: ['app.b', 'app.c'], follow: true });
  const nobody = harness.subscribe({ topics: ['app.*'], nodes: ['@other', 'a'], since: '1h', follow: true });
  for (const each of [every, even, live, nobody]) await each.isAccepted();
  await publish(publisher, 'app.a', numbers(20, 25));
  await publish(publisher, 'app.b', numbers(25, 30));
  await publish(publisher, 'app.c', numbers(30, 31));
  await has(every, 31);
  await has(even, 9);
  await has(live, 6);
  assert.deepEqual(idsOf(every), numbers(0, 31));
  assert.deepEqual(idsOf(even), ['5', '6', '8', '9', ...numbers(20, 25)]);
  assert.deepEqual(idsOf(live), numbers(25, 31));
  assert.deepEqual(idsOf(nobody), []);
  assert.deepEqual(
    documentsOf(every).map(({ history }) => history),
    range(0, 31).map((at) => at < 20),
  );
  const [first] = documentsOf(every);
  assert.deepEqual([first?.node, first?.event.type, first?.event.app?.source], ['@anonymous', 'app.a', 'anonymous']);
  assert.deepEqual([agent.interests.length, every.accepted?.nodes], [asked, []]);
  const last = harness.subscribe({ topics: ['app.*'], last: 7 });
  await last.end();
  assert.deepEqual(idsOf(last), numbers(24, 31));
});

test('who reads passes what only seems to be wanted, also behind the head of a segment', async () => {
  await harness.startBroker();
  const twin = range(0, 5_000)
    .map((number) => `app.t${number}`)
    .find((topic) => batchKind(topic) === batchKind('app.b'))!;
  const live = harness.subscribe({ topics: ['app.b'], follow: true });
  await live.isAccepted();
  const publisher = harness.publisher();
  await publish(publisher, twin, ['1']);
  await publish(publisher, 'app.b', ['2']);
  await has(live, 1);
  assert.deepEqual(idsOf(live), ['2']);
});

test('kernel events and documents of the past are merged by time; no topics named are those of the kernel', async () => {
  await harness.startBroker();
  const publisher = harness.publisher();
  await publish(publisher, 'app.a', ['0']);
  const recorder = new TestRecorder('between');
  const agent = await harness.agent('a', recorder);
  const recorded = range(1, 4).map((pid) => recorder.record('process.exec', pid));
  await until('a later time', () => BigInt(Date.now()) * 1_000_000n > recorded.at(-1)!.event.wallNs + 2_000_000n);
  await publish(publisher, 'app.a', ['4']);
  const both = harness.subscribe({ topics: ['process', 'app.a'], since: '1h' });
  await both.end();
  const order = both.responses.flatMap(({ events }) => {
    return events?.events.map(({ app, process }) => app?.id ?? String(process?.pid)) ?? [];
  });
  assert.deepEqual(order, numbers(0, 5));
  assert.deepEqual(
    both.coverage?.nodes.map(({ node }) => node),
    [agent.node],
  );
  const last = harness.subscribe({ topics: ['process', 'app.a'], last: 3 });
  await last.end();
  assert.deepEqual([idsOf(last), last.pids], [['4'], [2, 3, 0]]);
  const none = harness.subscribe({ since: '1h' });
  await none.end();
  assert.deepEqual(none.pids, [1, 2, 3]);
});

test('a node whose clock is ahead hides nothing that is published behind its events', async () => {
  await harness.startBroker();
  const publisher = harness.publisher();
  await publish(publisher, 'app.a', ['0']);
  const ahead = new TestRecorder('ahead', 1, BigInt(Date.now() + 600_000) * 1_000_000n);
  await harness.agent('a', ahead);
  ahead.record('process.exec', 1);
  const request = { topics: ['process', 'app.a'] };
  const replay = harness.subscribe({ ...request, since: '1h' });
  await replay.end();
  const part = harness.subscribe({ ...request, since: '1h', limit: '2' });
  await part.end();
  await publish(publisher, 'app.a', ['1']);
  for (const { cursor } of [replay, part]) {
    const again = harness.subscribe({ ...request, cursor });
    await again.end();
    assert.deepEqual([idsOf(again), again.cursor.length > 0], [['1'], true]);
    const live = harness.subscribe({ ...request, cursor, follow: true });
    await has(live, 1);
    assert.deepEqual(idsOf(live), ['1']);
    const nothing = harness.subscribe({ ...request, cursor: again.cursor });
    await nothing.end();
    assert.deepEqual([idsOf(nothing), nothing.pids], [[], []]);
  }
});

test('property: whoever resumes from any cursor gets exactly what follows, replayed and live, also after a restart', async () => {
  await harness.startBroker();
  let total = 0;
  const grow = async (count: number) => {
    const publisher = harness.publisher();
    // Batches of several events, so that cursors stand within them, too.
    await publish(publisher, total % 2 ? 'app.a' : 'app.b', numbers(total, total + count));
    total += count;
    publisher.close();
  };
  await grow(5);
  const step = fc.record({
    grow: fc.integer({ min: 1, max: 6 }),
    limit: fc.integer({ min: 1, max: 9 }),
    follow: fc.boolean(),
    restart: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
      let cursor = '';
      const got: string[] = [];
      const from = total;
      await grow(3);
      const since = { filter: `app.body.number >= ${from}`, topics: ['app.*'] };
      const ask = async (request: SubscribeRequest) => {
        const subscriber = harness.subscribe({
          ...since,
          ...request,
          ...(cursor === '' ? { since: '1h' } : { cursor }),
        });
        await subscriber.end();
        if (subscriber.error) throw subscriber.error;
        got.push(...idsOf(subscriber));
        cursor = subscriber.cursor || cursor;
      };
      for (const { grow: more, limit, follow, restart } of steps) {
        await grow(more);
        await ask({
          limit: String(Math.min(limit, total - from - got.length || 1)),
          follow: follow && total - from > got.length,
        });
        if (restart) {
          await harness.broker.drain();
          await harness.startBroker();
        }
      }
      await ask({});
      assert.deepEqual(got, numbers(from, total));
    }),
    { numRuns: runs(8) },
  );
});

test('a cursor of other topics or another filter is refused; retention is told as a gap, and the rest comes', async () => {
  harness.documents = { ...DOCUMENT_BOUNDS, app: { bytesMax: 16 * MiB, ageMsMax: 3_600_000 } };
  await harness.startBroker();
  const publisher = harness.publisher();
  await publish(publisher, 'app.a', ['0']);
  const begun = harness.subscribe({ topics: ['app.a'], since: '1h', follow: true });
  await has(begun, 1);
  const { cursor } = begun;
  begun.cancel();
  const both = { topics: ['app.a', 'app.b'] };
  const bothBegun = harness.subscribe({ ...both, since: '1h', follow: true });
  await has(bothBegun, 1);
  bothBegun.cancel();
  for (const other of [
    { topics: ['app.*'] },
    { topics: ['app.a', 'process'] },
    { topics: ['app.a'], filter: 'app.id == "1"' },
    { topics: ['process'] },
  ]) {
    const refused = harness.subscribe({ ...other, cursor });
    await refused.end();
    assert.match(refused.error?.details ?? '', /cursor is of another subscription/);
  }
  const storedMs = Date.now();
  await until('a later time', () => Date.now() > storedMs + 1);
  const later = new Date(storedMs + 1).toISOString();
  const text = 'x'.repeat(30_000);
  for (let at = 1; at < 700; at += 30) await publish(publisher, 'app.b', numbers(at, at + 30), { text });
  await publish(publisher, 'app.a', ['1000']);
  const resumed = harness.subscribe({ topics: ['app.a'], cursor, follow: true });
  await has(resumed, 1);
  assert.deepEqual(idsOf(resumed), ['1000']);
  // Of app.a retention took what was delivered before, and nothing else.
  assert.deepEqual(resumed.gaps, []);
  const told = async (request: SubscribeRequest) => {
    const subscriber = harness.subscribe({ ...both, limit: '1', ...request });
    await subscriber.end();
    return subscriber.gaps.map(({ reason, topic, topics, eventsUnknown }) => {
      return [reason, topics.length === 0 ? topic : topics.map((each) => each.topic), eventsUnknown];
    });
  };
  assert.deepEqual(await told({ cursor: bothBegun.cursor }), [['expired', 'app.b', true]]);
  assert.deepEqual(await told({ cursor: bothBegun.cursor, follow: true }), [['expired', 'app.b', true]]);
  assert.deepEqual(await told({ since: '1h' }), [['expired', ['app.a', 'app.b'], true]]);
  assert.deepEqual(await told({ since: later }), [['expired', 'app.b', true]]);
  assert.deepEqual(await told({ since: later, topics: ['app.a', 'app.c'] }), []);
  const lines = await fetch(`http://${harness.broker.httpAddress}/v1/topics`);
  const { topics } = (await lines.json()) as { topics: { name: string; events: string; logBytes: string }[] };
  const app = topics.find(({ name }) => name === 'app.*');
  assert.ok(Number(app?.events) > 700 && Number(app?.logBytes) <= 17 * MiB, JSON.stringify(app));
});

test('alerts have their fields, and their filters; the audit is a topic', async () => {
  await harness.startBroker();
  const publisher = harness.publisher();
  const alert = {
    id: 'a-1',
    severity: 4,
    state: 'new',
    ruleId: 'shell',
    title: 'A shell',
    nodes: ['web-1'],
    firstSeen: '2026-01-31T12:00:00Z',
    details: { tags: ['x'] },
  };
  await publisher.publish('alert', [published('a-1/1', alert), published('a-2/1', { id: 'a-2', severity: 1 })]);
  const severe = harness.subscribe({
    topics: ['alert'],
    filter:
      'alert.severity >= 4 && "web-1" in alert.nodes && "x" in alert.details.tags && alert.first_seen < timestamp("2026-02-01T00:00:00Z")',
    since: '1h',
  });
  await severe.end();
  assert.deepEqual(
    documentsOf(severe).map(({ event }) => [event.alert?.id, event.alert?.ruleId, event.app?.id]),
    [['a-1', 'shell', 'a-1/1']],
  );
  const audit = harness.subscribe({
    topics: ['audit'],
    filter: 'audit.action == "forget_nodes" && audit.code == "not_found"',
    follow: true,
  });
  await audit.isAccepted();
  assert.equal((await fetch(`http://${harness.broker.httpAddress}/v1/nodes/nobody`, { method: 'DELETE' })).status, 404);
  await until('the entry', () => documentsOf(audit).length === 1);
  const [entry] = documentsOf(audit);
  assert.deepEqual(
    [entry?.node, entry?.event.type, entry?.event.audit?.outcome],
    ['@', 'audit.forget_nodes', 'refused'],
  );
});

test('over HTTP what is published is in lines and in server-sent events, beside events of nodes', async () => {
  await harness.startBroker();
  const agent = await harness.agent('a');
  const stream = await HttpStream.open(
    `http://${harness.broker.httpAddress}/v1/events?topic=app.deploy&topic=process&follow=true`,
  );
  await until('accepted', () => stream.text.includes('"accepted"'));
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/app/app.deploy`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      id: '<b>',
      type: 'com.example.deployed',
      time: '2026-01-31T12:00:00Z',
      subject: 'web',
      body: { 'a\u001b[31m': [1, 'x\r\ny'] },
    }),
  });
  assert.deepEqual([response.status, await response.json()], [200, { seq: '0', offset: '1', duplicates: 0 }]);
  agent.recorder.record('process.exec', 7);
  agent.publish();
  await until('both', () => stream.text.includes('"app.deploy"') && stream.text.includes('"pid":7'));
  const line = stream.text.split('\n').find((each) => each.includes('"app"'))!;
  const { event, cursor } = JSON.parse(line).result;
  const { time, position, ...rest } = event;
  assert.deepEqual(rest, {
    type: 'com.example.deployed',
    topic: 'app.deploy',
    node: '@anonymous',
    app: {
      id: '<b>',
      source: 'anonymous',
      subject: 'web',
      time: '2026-01-31T12:00:00.000000000Z',
      body: { 'a\u001b[31m': [1, 'x\r\ny'] },
    },
  });
  assert.deepEqual([Date.parse(time) > 0, position.timeNs, cursor.length > 0], [true, '1', true]);
  stream.close();
  const sse = await HttpStream.open(`http://${harness.broker.httpAddress}/v1/events?topic=app.*&since=1h`, {
    headers: { accept: 'text/event-stream' },
  });
  await until('the end', () => sse.done);
  assert.match(sse.text, /^event: message\n(id: .*\n)?data: .*"app\.deploy"/m);
  assert.ok(!sse.text.includes('\u001b') && !sse.text.includes('\r'));
});
