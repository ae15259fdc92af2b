/** One stream for several selectors: what events, gaps and accounts say of them, and how each resumes. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { SubscribeRequest } from '../../../../src/wire/messages.js';
import type { ReceivedBatch } from '../../../../src/wire/received-batch.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const ODD = { id: 'odd', topics: ['process'], filter: 'process.comm == "c1"' };
const LOW = { id: 'low', topics: ['process'], filter: 'process.pid < 10' };
const NET = { id: 'net', topics: ['network'], filter: '' };
const ALL = [ODD, LOW, NET];

/** Processes are called by whether their pids are odd; every fifth is a connection. */
function record(agent: TestAgent, pids: readonly number[]): void {
  for (const pid of pids) {
    agent.recorder.record(pid % 5 === 4 ? 'network.tcp.connect' : 'process.exec', pid, `c${pid % 2}`);
  }
}

function publish(agent: TestAgent, pids: readonly number[], shedding = false): void {
  record(agent, pids);
  agent.shedding = shedding;
  agent.publish();
}

/** `3: odd low`, in order of arrival. */
function matched({ responses }: Subscriber): string[] {
  return responses.flatMap(({ events }) => {
    const batch = events as ReceivedBatch | null;
    return batch?.received.map(({ message, selectors }) => `${message.process!.pid}: ${selectors.join(' ')}`) ?? [];
  });
}

/** What of these ALL asks for. */
function expected(pids: readonly number[], ids = ['odd', 'low', 'net']): string[] {
  return pids.flatMap((pid) => {
    const isNet = pid % 5 === 4;
    const matches = { odd: !isNet && pid % 2 === 1, low: !isNet && pid < 10, net: isNet };
    const of = ids.filter((id) => matches[id as keyof typeof matches]);
    return of.length === 0 ? [] : [`${pid}: ${of.join(' ')}`];
  });
}

function byPid(lines: readonly string[]): string[] {
  return lines.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
}

async function has(subscriber: Subscriber, lines: readonly string[]): Promise<void> {
  await subscriber.until(
    `${lines.length} events`,
    () => matched(subscriber).length >= lines.length || subscriber.ended,
  );
  assert.deepEqual(byPid(matched(subscriber)), lines);
}

interface Counts {
  readonly selector?: string;
  readonly [count: string]: string | undefined;
}

/** Of the subscription that was begun last. */
async function accounts(): Promise<{ stream: Counts; selectors: Counts[] }> {
  const answer = await fetch(`http://${harness.broker.httpAddress}/v1/subscriptions`);
  const { subscriptions } = (await answer.json()) as { subscriptions: (Counts & { selectorLedgers: Counts[] })[] };
  const last = subscriptions.at(-1)!;
  return { stream: last, selectors: last.selectorLedgers };
}

test('history, live events and refills come once, with the ids that they match; gaps and accounts are by selector', async () => {
  const agent = await harness.agent('a');
  record(agent, range(0, 20));
  const subscriber = harness.subscribe({ selectors: ALL, since: '1h', follow: true, refill: true });
  await subscriber.isAccepted();
  assert.deepEqual(
    subscriber.accepted?.selectors,
    ALL.map(({ id }) => ({ selector: id, start: 'new' })),
  );
  assert.deepEqual(
    subscriber.accepted?.plan?.selectors.map(({ selector, filter, topics }) => [selector, filter, topics]),
    ALL.map(({ id, filter, topics }) => [id, filter || 'true', topics]),
  );
  publish(agent, range(20, 30));
  publish(agent, range(30, 44), true);
  publish(agent, range(44, 50));
  await has(subscriber, expected(range(0, 50)));
  assert.equal(agent.historyQueries, 3, 'one query for all of the past, one of each topic for what was shed');
  const odd = expected(range(0, 50), ['odd']).length;
  const missing: Record<string, number> = { of: 0 };
  for (const { reason, events, selectors: concerned } of subscriber.gaps) {
    assert.equal(reason, 'shed');
    missing.of! += Number(events);
    for (const each of concerned) missing[each.selector] = (missing[each.selector] ?? 0) + Number(each.events);
  }
  assert.deepEqual(missing, { of: 8, odd: 6, net: 2 });
  const { stream, selectors } = await accounts();
  assert.deepEqual(
    [stream.eventsMatched, stream.eventsDelivered, stream.eventsShed, stream.eventsRefilled],
    [`${expected(range(0, 50)).length}`, `${expected(range(0, 50)).length}`, '0', '8'],
  );
  const none = { throttled: '0', shed: '0', skipped: '0' };
  assert.deepEqual(selectors, [
    { selector: 'odd', matched: `${odd}`, delivered: `${odd}`, refilled: '6', ...none },
    { selector: 'low', matched: '8', delivered: '8', refilled: '0', ...none },
    { selector: 'net', matched: '10', delivered: '10', refilled: '2', ...none },
  ]);
  // What was the past was counted where it ended.
  const past = subscriber.coverage?.ledger?.selectors.map(({ selector, delivered }) => [selector, delivered]);
  assert.deepEqual(past, [
    ['odd', '8'],
    ['low', '8'],
    ['net', '4'],
  ]);
});

test('what is skipped is counted and told by selector', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ selectors: ALL, follow: true, refill: true, lagPolicy: 'skip', lagMax: '1s' });
  await subscriber.isAccepted();
  // It reads nothing while much more comes than any queue holds.
  subscriber.pause();
  const text = 'x'.repeat(4000);
  for (const frame of range(0, 40)) {
    for (const pid of range(frame * 40, frame * 40 + 40)) {
      agent.recorder.record('process.exec', 1000 + pid, pid % 2 ? 'c1' : text);
      agent.recorder.record('network.tcp.connect', 10_000 + pid, text);
    }
    agent.publish();
  }
  await until(
    'that all is in the log',
    () => agent.acknowledged.get('network')?.timeNs === agent.recorder.frontier.timeNs,
  );
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  subscriber.resume();
  await subscriber.until('all', () => subscriber.pids.length >= 800 + 1600);
  assert.equal(new Set(subscriber.pids).size, subscriber.pids.length);
  const skipped = subscriber.gaps.filter(({ reason }) => reason === 'skipped');
  assert.ok(skipped.length > 0);
  for (const { events, selectors } of skipped) {
    assert.ok(selectors.every(({ selector }) => selector !== 'low'));
    assert.equal(
      selectors.reduce((sum, each) => sum + Number(each.events), 0),
      Number(events),
      'no event is of both',
    );
  }
  const { selectors } = await accounts();
  assert.deepEqual(
    selectors.map(({ selector, matched, delivered, skipped }) => [selector, matched, delivered, skipped]),
    [
      ['odd', '800', '800', '0'],
      ['low', '0', '0', '0'],
      ['net', '1600', '1600', '0'],
    ],
  );
});

/** Queries are not answered until the returned function is called. */
function unanswered(agent: TestAgent): () => void {
  const asked: number[] = [];
  agent.answerWith = (queryId) => asked.push(queryId);
  return () => {
    agent.answerWith = undefined;
    for (const queryId of asked) agent.sendHistory({ queryId, end: { error: 'not now', source: 'synthetic' } });
  };
}

test('behind a cursor each selector resumes, begins or goes by itself, and what was owed goes with it', async () => {
  const agent = await harness.agent('a');
  const first = harness.subscribe({ selectors: ALL, follow: true, refill: true });
  await first.isAccepted();
  const answer = unanswered(agent);
  publish(agent, range(20, 40), true);
  publish(agent, range(40, 50));
  await has(first, expected(range(40, 50)));
  const { cursor } = first;
  first.cancel();
  publish(agent, range(50, 60));
  answer();
  const changed = { ...NET, filter: 'process.pid > 0' };
  const added = { id: 'signals', topics: ['host', 'network'], filter: '' };
  const again = harness.subscribe({ selectors: [added, changed, ODD], follow: true, refill: true, cursor });
  await again.isAccepted();
  assert.deepEqual(
    again.accepted?.selectors.map(({ selector, start }) => `${selector} ${start}`),
    ['signals new', 'net changed', 'odd resumed'],
  );
  publish(agent, range(60, 70));
  const netToo = range(50, 70).flatMap((pid) => (pid % 5 === 4 ? [`${pid}: signals net`] : []));
  const odd = [...expected(range(20, 40), ['odd']), ...expected(range(50, 70), ['odd'])];
  await has(again, byPid([...odd, ...netToo]));
  assert.deepEqual(
    again.refilled.toSorted((a, b) => a - b),
    expected(range(20, 40), ['odd']).map((line) => Number.parseInt(line, 10)),
    'the changed one is owed nothing',
  );
});

test('a selector of a topic that nobody asked for begins at the cursor, and so it does from the next one', async () => {
  const agent = await harness.agent('a');
  record(agent, range(0, 10));
  const first = harness.subscribe({ selectors: [ODD], follow: true });
  await first.isAccepted();
  publish(agent, range(10, 20));
  await has(first, expected(range(10, 20), ['odd']));
  const { cursor } = first;
  first.cancel();
  publish(agent, range(20, 30));
  for (const given of [cursor, 'the next one']) {
    const from: string = given === cursor ? cursor : second;
    const again = harness.subscribe({ selectors: [NET, ODD], follow: true, cursor: from });
    await again.has(1);
    assert.deepEqual(
      again.accepted?.selectors.map(({ start }) => start),
      given === cursor ? ['new', 'resumed'] : ['resumed', 'resumed'],
    );
    await has(again, expected(range(given === cursor ? 20 : 25, 30), ['odd', 'net']));
    second = again.cursors.find(({ count }) => matched(again)[count - 1]?.startsWith('24'))?.cursor ?? '';
    again.cancel();
  }
});
let second = '';

test('limit and last count an event once, and throttle thins out the stream', async () => {
  const agent = await harness.agent('a');
  record(agent, range(0, 20));
  const ended = async (request: SubscribeRequest) => {
    const subscriber = harness.subscribe({ selectors: ALL, ...request });
    await subscriber.end();
    assert.equal(subscriber.error, undefined);
    return subscriber;
  };
  const all = expected(range(0, 20));
  assert.deepEqual(matched(await ended({ since: '1h', limit: '5' })), all.slice(0, 5));
  assert.deepEqual(matched(await ended({ last: 7 })), all.slice(-7));
  const limited = await ended({ since: '1h', limit: '5' });
  assert.deepEqual(matched(await ended({ cursor: limited.cursor })), all.slice(5));
  const thin = await ended({ since: '1h', throttle: '1h', throttleBy: ['topic'] });
  assert.deepEqual(matched(thin), ['0: low', '4: net']);
  assert.deepEqual(
    thin.coverage?.ledger?.selectors.map(({ selector, matched, throttled }) => [selector, matched, throttled]),
    [
      ['odd', '8', '8'],
      ['low', '8', '7'],
      ['net', '4', '3'],
    ],
  );
});

test('an event has the fields that the selectors want which it matches, and no others', async () => {
  const agent = await harness.agent('a');
  record(agent, range(1, 4));
  const subscriber = harness.subscribe({
    since: '1h',
    selectors: [
      { id: 'pid', topics: ['process'], filter: 'process.pid < 3', fields: ['process.pid'] },
      { id: 'comm', topics: ['process'], filter: 'process.pid > 1', fields: ['process.comm'] },
    ],
  });
  await subscriber.end();
  assert.deepEqual(
    subscriber.responses.flatMap(
      ({ events }) => events?.events.map(({ process }) => [process?.pid, process?.comm]) ?? [],
    ),
    [
      [1, ''],
      [2, 'c0'],
      [0, 'c1'],
    ],
  );
});

test('a cursor of a subscription with selectors is none of one without, and the reverse', async () => {
  const agent = await harness.agent('a');
  record(agent, range(0, 4));
  const several = harness.subscribe({ selectors: ALL, since: '1h' });
  await several.end();
  const plain = harness.subscribe({ topics: ['process'], since: '1h' });
  await plain.end();
  const one = harness.subscribe({ topics: ['process'], cursor: several.cursor });
  await one.end();
  assert.match(one.error?.message ?? '', /cursor is of a subscription with 3 selectors: give selectors/);
  const other = harness.subscribe({ selectors: ALL, cursor: plain.cursor });
  await other.end();
  assert.match(other.error?.message ?? '', /cursor is of a subscription without selectors/);
});
