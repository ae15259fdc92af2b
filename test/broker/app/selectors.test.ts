/** Selectors that name what is born in the broker, beside those that ask nodes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectorsOf } from '../../../src/wire/frame/batch-matches.js';
import { idsOf, published, type TestPublisher } from '../../harness/broker/documents.js';
import { Harness, range, type Subscriber } from '../../harness/broker/harness.js';

const numbers = (from: number, to: number) => range(from, to).map(String);

function publish(publisher: TestPublisher, topic: string, ids: readonly string[]) {
  return publisher.publish(
    topic,
    ids.map((id) => published(id, { number: Number(id) })),
  );
}

/** Waits for so many events that were born in the broker. */
function has(subscriber: Subscriber, count: number): Promise<void> {
  return subscriber.until(`${count} documents`, () => idsOf(subscriber).length >= count || subscriber.ended);
}

test('selectors: documents and events of nodes on one stream, each once, past and live; cursors go on with others', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const agent = await harness.agent('a');
  const publisher = harness.publisher();
  agent.recorder.record('process.exec', 1);
  await publish(publisher, 'app.a', numbers(0, 4));
  const exec = { id: 'exec', topics: ['process'] };
  const odd = { id: 'odd', topics: ['app.a'], filter: 'app.body.number in [1, 3, 5]' };
  const small = { id: 'small', topics: ['app.*'], filter: 'app.body.number < 2 || app.body.number == 5' };
  const follow = harness.subscribe({ selectors: [exec, odd, small], since: '1h', follow: true });
  await has(follow, 3);
  await publish(publisher, 'app.a', ['4', '5']);
  await publish(publisher, 'app.b', ['6']);
  agent.recorder.record('process.exec', 2);
  agent.publish();
  await has(follow, 4);
  await follow.until('both nodes', () => follow.pids.filter((pid) => pid > 0).length === 2);
  const matchesOf = (subscriber: Subscriber) =>
    subscriber.responses.flatMap(({ events }) => {
      const selectors = events && selectorsOf(events);
      return events?.events.map(({ app }, at) => [app?.id ?? 'exec', selectors!(at).join()].join(' ')) ?? [];
    });
  const whole = ['0 small', '1 odd,small', '3 odd', '5 odd,small'];
  assert.deepEqual(
    matchesOf(follow).filter((each) => each !== 'exec exec'),
    whole,
  );
  assert.equal(matchesOf(follow).length, whole.length + 2);
  assert.deepEqual((await harness.ledger()).delivered, 6);
  const replay = harness.subscribe({ selectors: [small, odd], since: '1h', limit: '2' });
  await replay.end();
  assert.deepEqual(matchesOf(replay), ['0 small', '1 small,odd']);
  assert.deepEqual(
    replay.accepted?.plan?.selectors?.map(({ topics, stages }) => [topics, stages!.length]),
    [
      [['app.*'], 1],
      [['app.a'], 1],
    ],
  );
  const rest = harness.subscribe({
    selectors: [small, { ...odd, filter: 'app.body.number > 3' }],
    cursor: replay.cursor,
  });
  await rest.end();
  assert.deepEqual(
    rest.accepted?.selectors?.map(({ start }) => start),
    ['resumed', 'changed'],
  );
  assert.deepEqual(matchesOf(rest), ['4 odd', '5 small,odd']);
  const last = harness.subscribe({ selectors: [small, exec], last: 3 });
  await last.end();
  assert.equal(matchesOf(last).length, 3);
  assert.equal(last.coverage?.ledger?.delivered, '3');

  // A log that nobody read begins at the cursor, too.
  const { cursor } = follow;
  follow.cancel();
  await publisher.publish('alert', [published('x/1', { id: 'x', severity: 3 })]);
  await publish(publisher, 'app.a', ['7']);
  const severe = { id: 'severe', topics: ['alert'], filter: 'alert.severity > 2' };
  const more = harness.subscribe({ selectors: [exec, odd, small, severe], cursor, follow: true });
  await has(more, 1);
  assert.deepEqual(matchesOf(more), ['x/1 severe']);
});

test('topics of applications are bounded over all selectors', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const selectors = range(0, 5).map((at) => ({
    id: `s${at}`,
    topics: range(0, 13).map((each) => `app.${at}-${each}`),
  }));
  const many = harness.subscribe({ selectors, since: '1m' });
  await many.end();
  assert.match(
    many.error?.details ?? '',
    /^selectors: may name at most 64 topics of applications together, got 65: ask for/,
  );
});
