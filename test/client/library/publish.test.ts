/** What the client library publishes, over gRPC and HTTP, at one broker. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../../../src/client/library/grpc.js';
import { connect as connectByHttp } from '../../../src/client/library/http.js';
import { PublishRetries } from '../../../src/client/publish-retries.js';
import { BackplaneError } from '../../../src/errors.js';
import { BrokerRing } from '../../../src/flow/reconnect.js';
import { PUBLISH_AWAY_MS, RECONNECT_MS_MIN } from '../../../src/limits.js';
import { all } from '../../harness/all.js';
import { Harness } from '../../harness/broker/harness.js';

test('an event is published once under its id, and subscribed to with its body', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const grpc = await connect({ brokers: [harness.broker.grpcAddress] });
  const http = await connectByHttp({ brokers: [harness.broker.httpAddress] });
  t.after(() => Promise.all([grpc.close(), http.close()]));
  const body = { version: '1.4.2', nested: [1.5, null, { 'a b': true }] };
  const attributes = { id: 'd1', type: 'app.deploy.done', subject: 'web', time: new Date(1_795_428_123_000), key: 'k' };
  for (const [bus, duplicates] of [
    [grpc, 0],
    [http, 1],
  ] as const)
    assert.equal((await bus.publish('app.deploy', body, attributes)).duplicates, duplicates);
  // Many at once: in the order in which they were published.
  await Promise.all([1, 2, 3].map((number) => http.publish('app.numbers', number)));
  await Promise.all([4, 5].map((number) => grpc.publish('app.numbers', number)));
  await grpc.publishAll('app.numbers', [{ body: 6 }, { body: 7 }]);

  const deploys = { topics: ['app.deploy'], filter: 'app.body.version == "1.4.2"', since: '1h' };
  const [byGrpc, byHttp] = [await all(grpc.subscribe(deploys)), await all(http.subscribe(deploys))];
  const events = (items: typeof byGrpc) => items.flatMap((item) => (item.kind === 'event' ? [item.event] : []));
  assert.deepEqual(events(byGrpc), events(byHttp));
  const [deploy] = events(byGrpc);
  assert.ok(deploy !== undefined && 'app' in deploy && deploy.app !== undefined);
  const { id, subject, timeNs, key } = deploy.app;
  assert.deepEqual(
    { type: deploy.type, id, subject, timeNs, key, body: deploy.app.body },
    { ...{ type: 'app.deploy.done', id: 'd1', subject: 'web', key: 'k', body }, timeNs: 1_795_428_123_000_000_000n },
  );
  const numbers = events(await all(grpc.subscribe({ topics: ['app.numbers'], since: '1h' })));
  assert.deepEqual(
    numbers.map((event) => 'app' in event && event.app?.body),
    [1, 2, 3, 4, 5, 6, 7],
  );
  for (const bus of [grpc, http]) {
    await assert.rejects(bus.publish('process', 1), { code: 'invalid_argument' });
    await assert.rejects(bus.publishAll('app.x', [{ id: 1 } as never]), ({ code, details }: BackplaneError) => {
      assert.deepEqual([code, details.field], ['invalid_argument', 'events[0].id']);
      return true;
    });
  }
});

test('whoever publishes is not told that the broker was started again in between', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  harness.grpcListen = harness.broker.grpcAddress;
  harness.httpListen = harness.broker.httpAddress;
  const bus = await connect({ brokers: [harness.broker.grpcAddress] });
  const http = await connectByHttp({ brokers: [harness.broker.httpAddress] });
  t.after(() => Promise.all([bus.close(), http.close()]));
  await bus.publish('app.numbers', 1);
  await http.publish('app.numbers', 2);
  await harness.broker.abort();
  const away = Promise.all([bus.publish('app.numbers', 3), http.publish('app.numbers', 4)]);
  away.catch(() => undefined);
  await harness.startBroker();
  await away;
  await bus.publish('app.numbers', 5);
  assert.equal(
    (await all(bus.subscribe({ topics: ['app.numbers'] }))).filter(({ kind }) => kind === 'event').length,
    5,
  );
});

test('who never had an answer is told so at once, who had waits with jitter, and not for ever', () => {
  const away = new BackplaneError('unavailable', 'away');
  let nowMs = 0;
  const ring = new BrokerRing(['a:1', 'b:1'], '', () => nowMs);
  const retries = new PublishRetries(ring, 2, () => nowMs);
  let delayMs = retries.batch();
  assert.equal(delayMs(away), 0);
  assert.equal(delayMs(away), undefined);
  retries.answered();
  delayMs = retries.batch();
  for (const broker of ring.brokers) ring.failed(broker);
  // As long as the ring has for whoever asks.
  const waited = [1, 2, 3].map(() => delayMs(away));
  assert.deepEqual(
    waited,
    [1, 2, 3].map(() => ring.waitMs(ring.next())),
  );
  assert.ok(waited[0]! >= RECONNECT_MS_MIN);
  nowMs += PUBLISH_AWAY_MS;
  assert.equal(delayMs(away), undefined);
  assert.equal(retries.batch()(new BackplaneError('invalid_argument', 'no')), undefined);
  const over = new BackplaneError('resource_exhausted', 'over', { retryAfterMs: 1_000 });
  const delays = Array.from({ length: 20 }, () => delayMs(over)!);
  assert.ok(delays.every((ms) => ms >= 1_000) && new Set(delays).size > 1, 'not all at once');
  const soon = new BackplaneError('resource_exhausted', 'over', { retryAfterMs: 0 });
  assert.ok(delayMs(soon)! >= RECONNECT_MS_MIN);
});

test('batches of one stream leave nothing behind on it', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const bus = await connect({ brokers: [harness.broker.grpcAddress] });
  t.after(() => bus.close());
  const warnings: string[] = [];
  const warned = ({ message }: Error) => warnings.push(message);
  process.on('warning', warned);
  t.after(() => process.off('warning', warned));
  for (let number = 0; number < 20; number++) await bus.publish('app.numbers', number);
  // Warnings come a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(warnings, []);
});

test('whoever publishes goes on at another broker when its own is gone', async (t) => {
  const [near, far] = [await Harness.start(), await Harness.start()];
  for (const harness of [near, far]) t.after(() => harness.destroy());
  const own = { zone: 'here' };
  const listed = (address: 'grpcAddress' | 'httpAddress') => [`${near.broker[address]}@here`, far.broker[address]];
  const buses = [
    await connect({ brokers: listed('grpcAddress'), ...own }),
    await connectByHttp({ brokers: listed('httpAddress'), ...own }),
  ];
  for (const bus of buses)
    assert.equal((await bus.publish('app.moved', 1, { id: '1' })).duplicates, buses.indexOf(bus));
  await near.broker.abort();
  // Stored there for the first time, and by the second known already.
  for (const bus of buses)
    assert.equal((await bus.publish('app.moved', 1, { id: '1' })).duplicates, buses.indexOf(bus));
  for (const bus of buses) await bus.close();
});
