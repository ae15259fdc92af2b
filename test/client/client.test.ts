/** The client against a broker whose answers are scripted: it resumes, follows other brokers, and stops. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { Client } from '../../src/client/client.js';
import type { SubscribeItem } from '../../src/client/subscribe-item.js';
import { BackplaneError } from '../../src/errors.js';
import type { SubscribeRequest } from '../../src/wire/messages.js';
import { busEvent } from '../harness/bus/event-fixture.js';
import { ScriptedBroker, type ScriptedBrokerOptions } from '../harness/scripted-broker.js';
import { until } from '../harness/until.js';

/** Nothing listens there: port 1 needs root, and root does not. */
const NOBODY = '127.0.0.1:1';
const NUMBERED = Array.from({ length: 20 }, (_, pid) =>
  busEvent('process.exit', { process: { pid: pid + 1, comm: 'n' } }),
);
const ALL = NUMBERED.map((event) => event.process!.pid);

async function start(t: TestContext, options: Partial<ScriptedBrokerOptions> = {}): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start({ events: NUMBERED, coverage: { nodes: [] }, ...options });
  t.after(() => broker.stop());
  return broker;
}

/** The first is asked first: it is of the client's zone. */
function client(t: TestContext, ...[first, ...others]: string[]): Client {
  const made = new Client([`${first}@here`, ...others], undefined, { zone: 'here' });
  t.after(() => made.close());
  return made;
}

/** Everything until the end, or until `done` says so. */
async function collect(
  from: Client,
  request: SubscribeRequest,
  done: (pids: readonly number[], item: SubscribeItem) => boolean = () => false,
) {
  const ending = new AbortController();
  const items: SubscribeItem[] = [];
  const pids: number[] = [];
  for await (const item of from.subscribe(request, ending.signal)) {
    items.push(item);
    if (item.kind === 'events') for (const event of item.batch.events) pids.push(event.process!.pid);
    if (done(pids, item)) ending.abort();
  }
  return { items, pids, kinds: items.map((item) => item.kind) };
}

const cut = (after: number) => ({ after, code: status.UNAVAILABLE, details: 'going away' });

test('a replay delivers the acceptance, the events and the coverage, then ends', async (t) => {
  const broker = await start(t);
  const { pids, kinds } = await collect(client(t, broker.address), { since: '5m' });
  assert.deepEqual(pids, ALL);
  assert.equal(kinds[0], 'accepted');
  assert.equal(kinds.at(-1), 'coverage');
  assert.equal(broker.requests.length, 1);
});

test('a stream that is cut at any event is resumed: every event once and in order', async (t) => {
  const broker = await start(t, { cuts: [cut(7), cut(0), cut(1), cut(12), undefined] });
  const { pids, kinds } = await collect(client(t, broker.address), { since: '5m', last: 20 });
  assert.deepEqual(pids, ALL);
  assert.equal(broker.requests.length, 5);
  assert.deepEqual(
    broker.requests.map((request) => request.cursor),
    ['', '6', '6', '7', '19'],
  );
  // A cursor stands for the window's start.
  for (const request of broker.requests.slice(1)) assert.deepEqual([request.since, request.last], ['', 0]);
  // Each break shows as a link lost and a link regained.
  assert.equal(kinds.filter((kind) => kind === 'link').length, 8);
});

test('a gap whose cursor is lost by a break is told once, by the resumed stream', async (t) => {
  const notices = [{ gap: { node: 'node-a', topic: 'process', events: 3, reason: 'shed' } }];
  const broker = await start(t, { notices, cuts: [cut(0), cut(0), undefined] });
  const { pids, kinds } = await collect(client(t, broker.address), { since: '5m' });
  assert.deepEqual(pids, ALL);
  assert.equal(broker.requests.length, 3);
  assert.equal(kinds.filter((kind) => kind === 'gap').length, 1);
});

test('a gap that nothing follows is told at the end', async (t) => {
  const broker = await start(t, { events: [], notices: [{ gap: { node: 'node-a', reason: 'late', events: 1 } }] });
  const { kinds } = await collect(client(t, broker.address), { follow: false, since: '5m', until: '1m' });
  assert.deepEqual(kinds, ['accepted', 'gap', 'coverage']);
});

test('a stream that is cut before its first event keeps the time window as first resolved', async (t) => {
  const broker = await start(t, { cuts: [cut(0), undefined] });
  const { pids } = await collect(client(t, broker.address), { since: '5m' });
  assert.deepEqual(pids, ALL);
  assert.equal(broker.requests[1]?.since, '1970-01-01T00:00:01.000000000Z');
});

test('a limit counts events from before and after a break', async (t) => {
  const broker = await start(t, { cuts: [cut(4), undefined] });
  const { pids } = await collect(client(t, broker.address), { since: '5m', limit: '9', follow: false });
  assert.deepEqual(pids, ALL.slice(0, 9));
  assert.deepEqual(
    broker.requests.map((request) => request.limit),
    ['9', '5'],
  );
});

test('a reached limit ends a following subscription when its stream ends', async (t) => {
  const broker = await start(t, { cuts: [{ after: 3, code: status.UNAVAILABLE, details: 'gone' }] });
  const { pids } = await collect(client(t, broker.address), { follow: true, limit: '3' });
  assert.deepEqual(pids, [1, 2, 3]);
});

test('a follower continues at another broker when its own is killed', async (t) => {
  const first = await start(t, { events: NUMBERED.slice(0, 8) });
  const second = await start(t);
  const { pids, items } = await collect(client(t, first.address, second.address), { follow: true }, (seen, item) => {
    if (seen.length === 8 && item.kind === 'events') first.stop();
    return seen.length === 20;
  });
  assert.deepEqual(pids, ALL);
  const links = items.flatMap((item) => (item.kind === 'link' ? [[item.broker, item.cause?.code]] : []));
  assert.deepEqual(links.at(0), [first.address, 'unavailable']);
  assert.deepEqual(links.at(-1), [second.address, undefined]);
});

test('a follower waits for its broker to come back on the same port', async (t) => {
  const first = await start(t, { events: NUMBERED.slice(0, 8) });
  const port = Number(first.address.split(':')[1]);
  let again: Promise<ScriptedBroker> | undefined;
  const { pids, items } = await collect(client(t, first.address), { follow: true }, (seen, item) => {
    if (seen.length === 8 && item.kind === 'events') first.stop();
    // Some attempts have failed before it is there.
    if (item.kind === 'link') again ??= sleep(1000).then(() => start(t, { port }));
    return seen.length === 20;
  });
  assert.deepEqual(pids, ALL);
  // However many attempts failed: lost once, back once.
  const links = items.flatMap((item) => (item.kind === 'link' ? [item.cause?.code] : []));
  assert.deepEqual(links, ['unavailable', undefined]);
  assert.equal((await again)?.requests[0]?.cursor, '7');
});

test('brokers that do not answer are passed over, in streams and in unary calls', async (t) => {
  const broker = await start(t);
  const from = client(t, NOBODY, broker.address);
  assert.deepEqual((await collect(from, { since: '5m' })).pids, ALL);
  assert.equal((await from.getStatus()).version, '1.2.3');
  assert.equal((await client(t, NOBODY, broker.address).listNodes()).nodes[0]?.name, 'node-a');
});

test('when no broker answers, one line names them and says what to do', async (t) => {
  const from = new Client([`${NOBODY}@here`, '127.0.0.1:2'], undefined, { zone: 'here', advice: 'start one' });
  t.after(() => from.close());
  for (const call of [from.listTopics(), collect(from, { follow: true })]) {
    await assert.rejects(call, (thrown) => {
      assert.ok(thrown instanceof BackplaneError);
      assert.equal(thrown.code, 'unavailable');
      assert.match(
        thrown.message,
        /^none of 127\.0\.0\.1:1, 127\.0\.0\.1:2 answers: start one \(connect ECONNREFUSED 127\.0\.0\.1:2\)$/,
      );
      return true;
    });
  }
});

test('a broker that is full is passed over; where all are, it says so itself', async (t) => {
  const full = await start(t, { full: true });
  const broker = await start(t);
  const { pids } = await collect(client(t, full.address, broker.address), { since: '5m' });
  assert.deepEqual([pids, full.requests.length, broker.requests.length], [ALL, 1, 1]);
  await assert.rejects(collect(client(t, full.address, NOBODY), { since: '5m' }), { code: 'unavailable' });
  await assert.rejects(collect(client(t, full.address), { since: '5m' }), {
    code: 'resource_exhausted',
    message: 'at most 1 subscriptions run at once',
  });
});

test('a refusal by the broker is not retried, and keeps its message', async (t) => {
  const broker = await start(t);
  await assert.rejects(collect(client(t, broker.address, NOBODY), { filter: 'bad' }), (thrown) => {
    assert.ok(thrown instanceof BackplaneError);
    assert.equal(thrown.exitCode, 2);
    assert.equal(thrown.message, 'filter: column 1: unknown field "bad"');
    return true;
  });
  assert.equal(broker.requests.length, 1);
});

test('a refusal after a break ends the subscription with it', async (t) => {
  const expired = { after: 0, code: status.OUT_OF_RANGE, details: 'cursor expired' };
  const broker = await start(t, { cuts: [cut(5), expired] });
  await assert.rejects(collect(client(t, broker.address), { since: '5m' }), {
    code: 'cursor_expired',
    message: 'cursor expired',
  });
});

test('aborting the signal ends the iteration, and the stream at the broker', async (t) => {
  const broker = await start(t);
  const { pids } = await collect(client(t, broker.address), { follow: true }, (seen) => seen.length >= 6);
  assert.ok(pids.length >= 6);
  await until('the end at the broker', () => broker.cancelled === 1);
});

test('a consumer that stops iterating ends the stream at the broker', async (t) => {
  const broker = await start(t);
  for await (const item of client(t, broker.address).subscribe({ follow: true }, new AbortController().signal)) {
    if (item.kind === 'events') break;
  }
  await until('the end at the broker', () => broker.cancelled === 1);
});

test('a consumer that does not read stops the broker from sending', async (t) => {
  const padded = busEvent('process.exec', { process: { pid: 1, commandArgs: ['x'.repeat(12_000)] } });
  const events = new Array<typeof padded>(5_000).fill(padded);
  const broker = await start(t, { events, batch: 5 });
  const iterator = client(t, broker.address).subscribe({ since: '5m' }, new AbortController().signal);
  await iterator.next();
  // However long nobody reads, most batches are still to come: 60 MB would have to be somewhere else.
  for (let before = -1; broker.written !== before || before === 0; await sleep(500)) before = broker.written;
  assert.ok(broker.written < 500, `${broker.written} of 1000 batches were written`);
  let events_ = 0;
  for await (const item of iterator) if (item.kind === 'events') events_ += item.batch.events.length;
  assert.equal(events_, 5_000);
});
