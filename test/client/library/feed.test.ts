/** The client library over gRPC against a broker whose answers are scripted: feeds resume, stop and tell their place. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { InterceptingCall, status } from '@grpc/grpc-js';
import {
  BackplaneError,
  type BatchItem,
  type Bus,
  type ConnectOptions,
  connect,
  type FeedItem,
} from '../../../src/client/library/grpc.js';
import { all } from '../../harness/all.js';
import { busEvent } from '../../harness/bus/event-fixture.js';
import { ScriptedBroker, type ScriptedBrokerOptions } from '../../harness/scripted-broker.js';
import { until } from '../../harness/until.js';

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

async function busOf(t: TestContext, brokers: readonly string[], options: Partial<ConnectOptions> = {}): Promise<Bus> {
  const bus = await connect({ brokers, ...options });
  t.after(() => bus.close());
  return bus;
}

function pidsOf(items: readonly (FeedItem | BatchItem)[]): number[] {
  return items.flatMap((item) => {
    const events = item.kind === 'events' ? item.events : item.kind === 'event' ? [item.event] : [];
    return events.map((event) => (event.type === 'process.exit' ? event.process.pid : -1));
  });
}

const cut = (after: number) => ({ after, code: status.UNAVAILABLE, details: 'going away' });

test('a feed whose stream is cut at any event tells every event once, one by one and in batches', async (t) => {
  const cuts = [cut(7), cut(0), cut(1), cut(12), undefined];
  const notices = [{ gap: { node: 'node-a', topic: 'process', events: '9007199254740993', reason: 'shed' } }];
  const broker = await start(t, { cuts: [...cuts, ...cuts], notices });
  const bus = await busOf(t, [broker.address]);
  const feed = bus.subscribe({ since: '5m' });
  const items = await all(feed);
  assert.deepEqual(pidsOf(items), ALL);
  assert.equal(feed.cursor, '19');
  assert.deepEqual(
    items.flatMap((item) => (item.kind === 'event' && item.cursor !== '' ? [item.cursor] : [])),
    ['2', '5', '6', '7', '10', '13', '16', '19'],
  );
  const [gap] = items.filter((item) => item.kind === 'gap');
  assert.ok(gap?.kind === 'gap' && gap.gap.events === 9007199254740993n);
  assert.equal(items.filter(({ kind }) => kind === 'link').length, 8);
  const last = items.at(-1);
  assert.ok(last?.kind === 'coverage' && last.ledger === undefined);

  const batches = await all(bus.subscribe({ since: '5m' }).batches());
  assert.deepEqual(pidsOf(batches), ALL);
});

test('a loop that is left ends the stream at the broker; its cursor is behind the last whole batch', async (t) => {
  const broker = await start(t);
  const bus = await busOf(t, [broker.address]);
  const feed = bus.subscribe({ follow: true });
  let seen = 0;
  for await (const item of feed) {
    if (item.kind === 'event' && ++seen === 5) break;
  }
  assert.equal(feed.cursor, '2');
  await until('the broker knows', () => broker.cancelled === 1);
  const rest = await all(bus.subscribe({ cursor: feed.cursor }));
  assert.deepEqual(pidsOf(rest), ALL.slice(3));
  await assert.rejects(all(feed), { code: 'failed_precondition' });
});

test('an aborted signal ends the loop without an error, before it begins, amid a batch and while it waits', async (t) => {
  const broker = await start(t);
  const bus = await busOf(t, [broker.address]);
  assert.deepEqual(await all(bus.subscribe({ follow: true, signal: AbortSignal.abort() })), []);
  assert.equal(broker.requests.length, 0);
  const ending = new AbortController();
  const feed = bus.subscribe({ follow: true, signal: ending.signal });
  const pids: number[] = [];
  for await (const item of feed) {
    pids.push(...pidsOf([item]));
    if (pids.length === 4) ending.abort();
  }
  assert.deepEqual([pids, feed.cursor], [[1, 2, 3, 4], '2']);
  const waiting = bus.subscribe({ follow: true, signal: AbortSignal.timeout(200) });
  assert.deepEqual(pidsOf(await all(waiting)), ALL);
  assert.equal(waiting.cursor, '19');
});

test('a bus that is closed ends its feeds, and await using closes it', async (t) => {
  const broker = await start(t);
  const bus = await connect({ brokers: [broker.address] });
  for await (const item of bus.subscribe({ follow: true })) {
    if (item.kind === 'event') await bus[Symbol.asyncDispose]();
  }
  await until('the broker knows', () => broker.cancelled === 1);
});

test('a loop is left from outside while it waits, and what a bus that is closed is asked is an error', async (t) => {
  const broker = await start(t, { events: [] });
  const bus = await busOf(t, [broker.address]);
  const group = bus.group('g');
  const loops: AsyncIterator<unknown>[] = [
    bus.subscribe({ follow: true })[Symbol.asyncIterator](),
    bus.subscribe({ follow: true }).batches()[Symbol.asyncIterator](),
    group.batches()[Symbol.asyncIterator](),
  ];
  for (const [at, loop] of loops.entries()) {
    const waiting = loop.next().then((first) => (first.done ? first : loop.next()));
    await until('the stream', () => broker.requests.length === at + 1);
    await loop.return!();
    assert.equal((await waiting).done, true);
    await until('the broker knows', () => broker.cancelled === at + 1);
  }
  await bus.close();
  const closed = { code: 'failed_precondition', message: 'the bus is closed' };
  await assert.rejects(all(bus.subscribe()), closed);
  await assert.rejects(all(group.batches()), closed);
  await assert.rejects(bus.nodes(), closed);
  await assert.rejects(bus.explain({}), closed);
  await assert.rejects(bus.publish('app.a', 1), closed);
  assert.equal(broker.requests.length, loops.length);
});

test('a stream whose token ends is opened again once, with the token of then', async (t) => {
  const expired = (after: number) => ({ after, code: status.UNAUTHENTICATED, details: 'the token has expired' });
  const broker = await start(t, { cuts: [expired(7), expired(5), undefined] });
  const bus = await busOf(t, [broker.address]);
  const items = await all(bus.subscribe({ since: '5m' }));
  assert.deepEqual(pidsOf(items), ALL);
  assert.deepEqual(
    items.flatMap((item) => (item.kind === 'link' && item.cause ? [item.cause.code] : [])),
    ['unauthenticated', 'unauthenticated'],
  );
  const refusing = await start(t, { cuts: [expired(0)], refusing: true });
  const other = await busOf(t, [refusing.address]);
  await assert.rejects(all(other.subscribe()), { code: 'unauthenticated' });
  assert.equal(refusing.requests.length, 1);
});

test('a feed goes on at another broker of the list, and begins at one that answers', async (t) => {
  const first = await start(t, { events: NUMBERED.slice(0, 8) });
  const second = await start(t);
  const near = [NOBODY, first.address].map((broker) => `${broker}@near`);
  const bus = await busOf(t, [...near, second.address], { zone: 'near' });
  const feed = bus.subscribe({ follow: true });
  const items: FeedItem[] = [];
  for await (const item of feed) {
    items.push(item);
    if (pidsOf(items).length === 8) first.stop();
    if (pidsOf(items).length === 20) break;
  }
  assert.deepEqual(pidsOf(items), ALL);
  assert.equal(second.requests[0]?.cursor, '7');
  const links = items.flatMap((item) => (item.kind === 'link' ? [item.broker] : []));
  assert.deepEqual([links[0], links.at(-1)], [first.address, second.address]);
});

test('what is refused is thrown with its code, and says which field', async (t) => {
  const broker = await start(t);
  const bus = await busOf(t, [broker.address]);
  await assert.rejects(all(bus.subscribe({ filter: 'bad' })), (error) => {
    assert.ok(error instanceof BackplaneError);
    assert.equal(error.code, 'invalid_argument');
    return true;
  });
  // A name that nobody has: TypeScript says so, JavaScript does not.
  await assert.rejects(all(bus.subscribe({ topic: ['process'] } as object)), /"topic": is no field.*topics/);
  await assert.rejects(connect({ brokers: [] }), { code: 'invalid_argument' });
  await assert.rejects(connect({ brokers: [NOBODY] }), (error) => {
    assert.ok(error instanceof BackplaneError && error.code === 'unavailable');
    assert.match(error.message, /^no broker answers at 127\.0\.0\.1:1 \(connect ECONNREFUSED 127\.0\.0\.1:1\)$/);
    return true;
  });
});

test('lists are in the library’s form, and every call has what is injected', async (t) => {
  const broker = await start(t);
  const asked: string[] = [];
  const bus = await busOf(t, [broker.address], {
    interceptors: [
      (options, next) => {
        asked.push(options.method_definition.path);
        return new InterceptingCall(next(options));
      },
    ],
  });
  assert.deepEqual(
    (await bus.nodes()).map(({ name, state, eventsRecorded }) => ({ name, state, eventsRecorded })),
    [{ name: 'node-a', state: 'NODE_STATE_DEGRADED', eventsRecorded: 12n }],
  );
  assert.equal((await bus.status()).eventsIngested, 7n);
  assert.equal((await bus.topics())[0]?.name, 'process');
  assert.deepEqual(
    (await bus.subscriptions()).map(({ id, client }) => [id, client]),
    [
      ['s1', 'me'],
      ['s2', '1'],
    ],
  );
  assert.equal((await bus.explain({ topics: ['process'] })).plan?.filter, 'process.pid == 1');
  assert.deepEqual(asked.slice(1, 3), ['/backplane.v1.Backplane/ListNodes', '/backplane.v1.Backplane/GetStatus']);
});
