/** Several clusters read as one, by the client library: two real brokers, and streams that a test holds back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mergedStream } from '../../../src/client/clusters/merged-stream.js';
import { BATCH_FORM } from '../../../src/client/library/batch-form.js';
import { type Clusters, connectClusters } from '../../../src/client/library/grpc.js';
import { connectClusters as connectByHttp } from '../../../src/client/library/http.js';
import type { BatchItem, EventsItem, FeedItem, Subscription } from '../../../src/client/library/items.js';
import { BackplaneError } from '../../../src/errors.js';
import { Signal } from '../../../src/flow/signal.js';
import { all } from '../../harness/all.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { ownAddress } from '../../harness/own-address.js';
import { until } from '../../harness/until.js';

const START_NS = BigInt(Date.now() - 60_000) * 1_000_000n;
const EVENTS = 30;
const [a, b] = [new Harness(), new Harness()];
const agents: TestAgent[] = [];
let clusters: Clusters;

/** Events of `x` lie between those of `y`. */
before(async () => {
  b.grpcListen = await ownAddress();
  for (const [index, harness] of [a, b].entries()) {
    await harness.startBroker();
    const recorder = new TestRecorder('r', 1, START_NS + BigInt(index) * 500_000n);
    for (let pid = 1; pid <= EVENTS; pid += 1) recorder.record('process.exec', pid + index * 1_000);
    agents.push(await harness.agent('n', recorder));
  }
  clusters = await connectClusters({
    x: { brokers: [a.broker.grpcAddress] },
    y: { brokers: [b.broker.grpcAddress] },
  });
});
after(async () => {
  await clusters.close();
  await a.destroy();
  await b.destroy();
});

const PIDS = range(1, EVENTS + 1).flatMap((pid) => [pid, pid + 1_000]);
const PAST: Subscription = { topics: ['process'], since: '1h' };

function pidsOf(items: readonly (FeedItem | BatchItem)[]): number[] {
  return items.flatMap((item) => {
    const events = item.kind === 'events' ? item.events : item.kind === 'event' ? [item.event] : [];
    return events.map((event) => (event.type === 'process.exec' ? event.process.pid : -1));
  });
}

test('the past of two clusters is one, by time, and nodes say of which they are', async () => {
  const http = await connectByHttp({
    x: { brokers: [a.broker.httpAddress] },
    y: { brokers: [b.broker.httpAddress] },
  });
  for (const each of [clusters, http]) {
    const items = await all(each.subscribe(PAST));
    assert.deepEqual(pidsOf(items), PIDS);
    const nodes = items.flatMap((item) => (item.kind === 'event' ? [item.node] : []));
    assert.deepEqual(
      nodes,
      PIDS.map((pid) => (pid < 1_000 ? 'x/n' : 'y/n')),
    );
    const told = items.flatMap((item) => {
      if (item.kind === 'accepted') return [[item.cluster, ...item.accepted.nodes]];
      return item.kind === 'coverage' ? item.coverage.nodes.map(({ node }) => ['coverage', node]) : [];
    });
    assert.deepEqual(told.sort(), [
      ['coverage', 'x/n'],
      ['coverage', 'y/n'],
      ['x', 'x/n'],
      ['y', 'y/n'],
    ]);
  }
  await http.close();
});

test('last, limit, windows and nodes are of all clusters together', async () => {
  const pids = async (subscription: Subscription) => pidsOf(await all(clusters.subscribe(subscription)));
  const topics = ['process'];
  assert.deepEqual(await pids({ topics, last: 7 }), PIDS.slice(-7));
  assert.deepEqual(await pids({ topics }), PIDS.slice(-20));
  assert.deepEqual(await pids({ topics, last: 7, limit: 3 }), PIDS.slice(-7, -4));
  assert.deepEqual(await pids({ topics, limit: 5 }), PIDS.slice(0, 5));
  const since = new Date(Number(START_NS / 1_000_000n) + 11);
  assert.deepEqual(await pids({ topics, since }), PIDS.slice(20));
  assert.deepEqual(
    await pids({ ...PAST, nodes: ['y/n'] }),
    PIDS.filter((pid) => pid > 1_000),
  );
});

test('resumed behind any event each comes once', async () => {
  for (let stop = 1; stop < PIDS.length; stop += 17) {
    const feed = clusters.subscribe({ ...PAST, limit: stop });
    const before = pidsOf(await all(feed));
    const rest = pidsOf(await all(clusters.subscribe({ topics: ['process'], cursor: feed.cursor })));
    assert.deepEqual([before, rest], [PIDS.slice(0, stop), PIDS.slice(stop)], feed.cursor);
  }
  // Left amid the stream, where batches of both are delivered in part.
  const batches = clusters.subscribe(PAST).batches();
  const seen: BatchItem[] = [];
  let cursor = '';
  for await (const item of batches) {
    seen.push(item);
    if (item.kind === 'events') cursor = item.cursor;
    if (pidsOf(seen).length === 20) break;
  }
  const rest = await all(clusters.subscribe({ topics: ['process'], cursor }));
  assert.deepEqual([...pidsOf(seen), ...pidsOf(rest)], PIDS);
});

test('what a cluster refuses names it, and a cursor of others is one error', async () => {
  await assert.rejects(all(clusters.subscribe({ filter: 'bad' })), {
    code: 'filter_invalid',
    message: /^filter: .*unknown field "bad".* \(cluster [xy]\)$/,
  });
  await assert.rejects(all(clusters.subscribe({ cursor: 'clusters1,x~AAAA,z~AAAA' })), {
    code: 'cursor_invalid',
    message: 'cursor names the cluster z, which is not among those asked: x, y',
  });
  assert.throws(() => clusters.cluster('z'), { code: 'not_found', message: 'no cluster is called "z": x, y' });
  assert.equal((await clusters.cluster('x').nodes())[0]?.name, 'n');
});

test('a cluster that goes away is told at once, the others go on, and nothing of it is missing later', async () => {
  const ending = new AbortController();
  const feed = clusters.subscribe({ topics: ['process'], follow: true, signal: ending.signal });
  const items: FeedItem[] = [];
  const reading = (async () => {
    for await (const item of feed) items.push(item);
  })();
  const publish = (index: 0 | 1, pid: number) => {
    agents[index]!.recorder.record('process.exec', pid);
    agents[index]!.publish();
  };
  const seen = (pid: number) =>
    until(
      `event ${pid}`,
      () => pidsOf(items).includes(pid),
      () => items.length,
    );
  await until('both', () => items.filter(({ kind }) => kind === 'accepted').length === 2);
  publish(0, 101);
  publish(1, 1_101);
  await Promise.all([seen(101), seen(1_101)]);
  await b.broker.abort();
  const links = () => items.flatMap((item) => (item.kind === 'link' ? [[item.cluster, item.cause?.code]] : []));
  await until('the loss', () => links().length > 0);
  publish(0, 102);
  await seen(102);
  agents[1]!.recorder.record('process.exec', 1_102);
  await b.startBroker();
  agents[1] = await b.agent('n', agents[1]!.recorder);
  await until('it is asked', () => agents[1]!.topics.includes('process'));
  agents[1]!.publish();
  publish(1, 1_103);
  await seen(1_103);
  publish(0, 103);
  await seen(103);
  ending.abort();
  await reading;
  assert.deepEqual(links(), [
    ['y', 'unavailable'],
    ['y', undefined],
  ]);
  const of = (least: number) => pidsOf(items).filter((pid) => Math.floor(pid / 1_000) === least);
  assert.deepEqual(
    [of(0), of(1)],
    [
      [101, 102, 103],
      [1_101, 1_102, 1_103],
    ],
  );
  const cursor = feed.cursor;
  publish(0, 104);
  publish(1, 1_104);
  const more = await all(clusters.subscribe({ topics: ['process'], cursor, follow: true, limit: 2 }));
  assert.deepEqual(pidsOf(more).sort(), [104, 1_104]);
});

test('a cluster that is away from the start is told, and what happens meanwhile comes when it is there', async () => {
  await b.broker.abort();
  const past = await all(clusters.subscribe({ ...PAST, limit: 3 }));
  assert.deepEqual(pidsOf(past), [1, 2, 3]);
  assert.ok(past.some((item) => item.kind === 'link' && item.cluster === 'y' && item.cause?.code === 'unavailable'));
  const away = await connectClusters({ x: { brokers: ['127.0.0.1:1'] }, y: { brokers: [b.grpcListen] } }).catch(String);
  assert.match(String(away), /no cluster answers: x \(no broker answers at 127\.0\.0\.1:1 .*\), y \(/);

  const ending = new AbortController();
  const items: FeedItem[] = [];
  const reading = (async () => {
    const feed = clusters.subscribe({ topics: ['process'], follow: true, signal: ending.signal });
    for await (const item of feed) items.push(item);
  })();
  await until(
    'it is told',
    () => items.some(({ kind }) => kind === 'link') && items.some((i) => i.kind === 'accepted'),
  );
  // Behind the beginning of the subscription by the clock of its recording.
  const recorder = new TestRecorder('late', 2, BigInt(Date.now() + 1_000) * 1_000_000n);
  recorder.record('process.exec', 2_001);
  await b.startBroker();
  agents[1] = await b.agent('late', recorder);
  await until(
    'the event',
    () => pidsOf(items).includes(2_001),
    () => items.length,
  );
  ending.abort();
  await reading;
  assert.equal(pidsOf(items).filter((pid) => pid === 2_001).length, 1);
});

/** Batches of one event each, a millisecond apart. */
function batch(at: number): EventsItem {
  const position = { epoch: 1n, timeNs: BigInt(at), lane: 0, tie: 0 };
  const event = { type: 'process.exit', timeNs: BigInt(at) * 1_000_000n, position } as never;
  const origin = { node: 'n', topic: 'process', history: true, refill: false };
  return { kind: 'events', ...origin, events: [event], selectorsOf: () => [], cursor: String(at), slice: 0 };
}

test('a cluster whose turn it is not is not read on, however long another one takes', async () => {
  let asked = 0;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* quick(): AsyncGenerator<BatchItem> {
    for (; asked < 1_000; asked += 1) yield batch(asked);
  }
  async function* slow(): AsyncGenerator<BatchItem> {
    yield batch(3);
    await held;
    yield batch(5);
  }
  const sources = [
    { name: 'quick', stream: quick },
    { name: 'slow', stream: slow },
  ];
  const times: number[] = [];
  const reading = (async () => {
    for await (const item of mergedStream(sources, BATCH_FORM, { since: '1h' }, new AbortController().signal))
      if (item.kind === 'events') times.push(Number(item.events[0]!.timeNs / 1_000_000n));
  })();
  await until('what the slow one allows', () => times.length === 5);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(times, [0, 1, 2, 3, 3]);
  assert.ok(asked <= 5, `${asked} were asked for`);
  release();
  await reading;
  assert.equal(times.length, 1_002);
});

test('of a cluster that comes later than the last events of the others, all is told that it has', async () => {
  const accepted = { nodes: [], nodesMissing: [], beginsLater: [] } as never;
  const ending = new AbortController();
  let asked = 0;
  async function* there(): AsyncGenerator<BatchItem> {
    yield { kind: 'accepted', accepted };
    for (let at = 0; at < 10; at += 1) yield batch(at);
    yield { ...batch(10), history: false };
    await new Promise((resolve) => ending.signal.addEventListener('abort', resolve));
  }
  async function* later(): AsyncGenerator<BatchItem> {
    asked += 1;
    if (asked === 1) throw new BackplaneError('unavailable', 'away');
    yield { kind: 'accepted', accepted };
    for (let at = 20; at < 30; at += 1) yield batch(at);
    yield { ...batch(30), history: false };
  }
  const sources = [
    { name: 'there', stream: there },
    { name: 'later', stream: later },
  ];
  const times: number[] = [];
  for await (const item of mergedStream(sources, BATCH_FORM, { last: 3, follow: true }, ending.signal)) {
    if (item.kind === 'events') times.push(Number(item.events[0]!.timeNs / 1_000_000n));
    if (times.at(-1) === 30) break;
  }
  ending.abort();
  assert.deepEqual(times, [7, 8, 9, 10, ...range(20, 31)]);
});

test('a cluster that is full is one that is away; while it tells its past later, what is live of the others comes', async () => {
  const accepted = { nodes: [], nodesMissing: [], beginsLater: [] } as never;
  const ending = new AbortController();
  const aborted = new Promise((resolve) => ending.signal.addEventListener('abort', resolve));
  const [isBack, isPastTold] = [new Signal(), new Signal()];
  let asked = 0;
  async function* there(): AsyncGenerator<BatchItem> {
    yield { kind: 'accepted', accepted };
    for (let at = 0; at < 3; at += 1) yield batch(at);
    yield { ...batch(10), history: false };
    await isBack.wait(ending.signal, 60_000);
    for (let at = 11; at < 14; at += 1) yield { ...batch(at), history: false };
    await aborted;
  }
  async function* full(): AsyncGenerator<BatchItem> {
    asked += 1;
    if (asked === 1) throw new BackplaneError('resource_exhausted', 'full', { retryAfterMs: 10 });
    yield { kind: 'accepted', accepted };
    yield batch(4);
    isBack.notify();
    await isPastTold.wait(ending.signal, 60_000);
    yield batch(5);
  }
  const sources = [
    { name: 'there', stream: there },
    { name: 'full', stream: full },
  ];
  const times: number[] = [];
  const links: unknown[] = [];
  const reading = (async () => {
    const request = { since: '1h', follow: true };
    for await (const item of mergedStream(sources, BATCH_FORM, request, ending.signal)) {
      if (item.kind === 'events') times.push(Number(item.events[0]!.timeNs / 1_000_000n));
      if (item.kind === 'link') links.push(item.cluster, item.cause?.code);
    }
  })();
  await until(
    'the live ones',
    () => times.includes(13),
    () => times,
  );
  isPastTold.notify();
  await until('the rest of the past', () => times.includes(5));
  ending.abort();
  await reading;
  assert.deepEqual(links, ['full', 'resource_exhausted', 'full', undefined]);
  assert.deepEqual(
    times.toSorted((x, y) => x - y),
    [0, 1, 2, 4, 5, 10, 11, 12, 13],
  );
});
