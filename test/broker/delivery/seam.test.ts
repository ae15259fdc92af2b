/** History, and the seam between history and live events. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Harness, range } from '../../harness/broker/harness.js';
import { TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const PROCESS = { topics: ['process'] };

/** Nodes `a` with the even and `b` with the odd pids, alternating in time. Returns when the first event was. */
async function twoNodes(eventsEach: number): Promise<bigint> {
  const startNs = BigInt(Date.now() - 60_000) * 1_000_000n;
  const [a, b] = [new TestRecorder('a', 1, startNs), new TestRecorder('b', 1, startNs + 500_000n)];
  for (const pid of range(0, eventsEach)) {
    a.record('process.exec', 2 * pid);
    b.record('process.exec', 2 * pid + 1);
  }
  await harness.agent('a', a);
  await harness.agent('b', b);
  return startNs;
}

test('a replay merges all nodes by wall time, and ends with their coverage', async () => {
  await twoNodes(300);
  const subscriber = harness.subscribe({ ...PROCESS, since: '1h' });
  await subscriber.end();
  assert.deepEqual(subscriber.pids, range(0, 600));
  assert.deepEqual(
    subscriber.coverage?.nodes.map(({ node, events, absent }) => [node, events, absent]),
    [
      ['a', '300', false],
      ['b', '300', false],
    ],
  );
});

test('last counts over all nodes, until is exclusive, and a window begins at its since', async () => {
  const startNs = await twoNodes(100);
  const last = harness.subscribe({ ...PROCESS, last: 7 });
  await last.end();
  assert.deepEqual(last.pids, range(193, 200));
  const since = new Date(Number(startNs / 1_000_000n) + 11).toISOString();
  const before = new Date(Number(startNs / 1_000_000n) + 21).toISOString();
  const window = harness.subscribe({ ...PROCESS, nodes: ['a'], since, until: before });
  await window.end();
  assert.deepEqual(
    window.pids,
    range(10, 20).map((n) => 2 * n),
  );
});

test('every cursor of a replay resumes exactly behind its batch', async () => {
  await twoNodes(20);
  const whole = harness.subscribe({ ...PROCESS, since: '1h' });
  await whole.end();
  for (const { cursor, count } of whole.cursors) {
    const rest = harness.subscribe({ ...PROCESS, cursor });
    await rest.end();
    assert.deepEqual(rest.pids, range(count, 40));
  }
  const nothing = harness.subscribe({ ...PROCESS, cursor: whole.coverage!.cursor });
  await nothing.end();
  assert.deepEqual(nothing.pids, []);
});

test('since with follow has no seam while events are published all the time', async () => {
  const agent = await harness.agent('a');
  let pid = 0;
  let stop = false;
  const publishing = (async () => {
    while (!stop) {
      for (let i = 0; i < 20; i++) agent.recorder.record(i % 4 ? 'process.exec' : 'network.tcp.connect', pid++);
      agent.publish();
      await sleep(1);
    }
  })();
  await sleep(20);
  const subscribers = [
    harness.subscribe({ since: '1h', follow: true }),
    harness.subscribe({ since: '1h', follow: true, topics: ['process'], filter: 'process.pid % 3 == 0' }),
  ];
  await sleep(30);
  subscribers.push(harness.subscribe({ since: '1h', follow: true }), harness.subscribe({ last: 50, follow: true }));
  for (const subscriber of subscribers) await subscriber.isAccepted();
  await sleep(100);
  stop = true;
  await publishing;
  agent.recorder.record('process.exec', 3 * 1_000_000);
  agent.publish();
  for (const subscriber of subscribers) await until('the end', () => subscriber.pids.includes(3_000_000));
  const [whole, filtered, second, last] = subscribers;
  const expected = agent.recorder.events.map(({ event }) => event.process!.pid);
  assert.deepEqual(byTopic(whole!.events, agent.recorder), byTopic(named(expected), agent.recorder));
  assert.deepEqual(byTopic(second!.events, agent.recorder), byTopic(named(expected), agent.recorder));
  assert.deepEqual(
    filtered!.pids,
    expected.filter((p) => p % 3 === 0 && isProcess(p)),
  );
  const tail = new Set(last!.pids);
  assert.equal(tail.size, last!.pids.length);
  assert.deepEqual(
    [...tail].sort((x, y) => x - y),
    expected.filter((p) => p >= Math.min(...tail)),
  );
  const live = whole!.responses.filter(({ events }) => events && !events.history);
  assert.ok(live.length > 0 && whole!.responses.some(({ events }) => events?.history));
});

test('a node that connects during a follow is served from its past and joins without a seam', async () => {
  const first = await harness.agent('a');
  const subscriber = harness.subscribe({ ...PROCESS, since: '1h', follow: true });
  await subscriber.isAccepted();
  const recorder = new TestRecorder('b');
  for (const pid of range(0, 500)) recorder.record('process.exec', pid);
  const second = await harness.agent('b', recorder);
  let pid = 500;
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 10; i++) recorder.record('process.exec', pid++);
    second.publish();
    first.recorder.record('process.exec', 10_000 + round);
    first.publish();
    await sleep(2);
  }
  await subscriber.has(pid + 30);
  const of = (node: string) => subscriber.events.filter((event) => event.startsWith(`${node}:`));
  assert.deepEqual(
    of('b'),
    range(0, pid).map((each) => `b:${each}`),
  );
  assert.deepEqual(
    of('a'),
    range(10_000, 10_030).map((each) => `a:${each}`),
  );
  assert.ok(subscriber.responses.some(({ nodeStatus }) => nodeStatus?.node === 'b'));
});

test('a node that dies in the middle of its history delivers the rest when it is back', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(0, 400)) agent.recorder.record('process.exec', pid);
  let frames = 0;
  agent.midHistory = async () => {
    if (++frames === 3) agent.kill();
  };
  const subscriber = harness.subscribe({ ...PROCESS, since: '1h', follow: true });
  await until('coverage', () => subscriber.coverage !== undefined);
  assert.ok(subscriber.pids.length < 400);
  assert.notEqual(subscriber.coverage?.nodes[0]?.message, '');
  for (const pid of range(400, 500)) agent.recorder.record('process.exec', pid);
  const again = await harness.agent('a', agent.recorder);
  await until('interest', () => again.interests.length > 0);
  again.publish();
  for (const pid of range(500, 520)) agent.recorder.record('process.exec', pid);
  again.publish();
  await subscriber.has(520);
  assert.deepEqual(subscriber.pids, range(0, 520));
});

test('a node that answers its interest late is named, and then served', async () => {
  const agent = await harness.agent('a');
  agent.holdInterest = true;
  agent.recorder.record('process.exec', 1);
  const subscriber = harness.subscribe({ ...PROCESS, since: '1h', follow: true });
  await subscriber.isAccepted();
  assert.deepEqual(subscriber.accepted?.nodesMissing, ['a']);
  agent.answerInterest();
  await subscriber.has(1);
  agent.recorder.record('process.exec', 2);
  agent.publish();
  await subscriber.has(2);
  assert.deepEqual(subscriber.pids, [1, 2]);
});

for (const resumes of [false, true]) {
  const how = resumes ? 'resumed in between' : 'without a past';
  test(`what a node sent before it was known from where it sends all is delivered, ${how}`, async () => {
    const [agent, other] = [await harness.agent('a'), await harness.agent('b')];
    agent.answersLate = true;
    const topics = ['process', 'network'];
    const first = harness.subscribe({ topics, follow: true });
    await first.isAccepted();
    assert.deepEqual(first.accepted?.nodesMissing, ['a']);
    agent.recorder.record('process.exec', 1);
    agent.recorder.record('network.tcp.connect', 2);
    agent.publish();
    await until('its frame to be in the log', () => agent.acknowledged.get('process') !== undefined);
    // Behind the second one all that was in the log before the first has been read.
    for (const pid of [1001, 1002]) {
      other.recorder.record('process.exec', pid);
      other.publish();
      await until('it', () => first.pids.includes(pid));
    }
    if (resumes) first.cancel();
    agent.answerLate();
    const subscriber = resumes ? harness.subscribe({ topics, follow: true, cursor: first.cursor }) : first;
    await subscriber.isAccepted();
    const got = () => [...new Set([first, subscriber])].flatMap(({ pids }) => pids).filter((pid) => pid < 1000);
    await until('what it had sent', () => got().length === 2, got);
    agent.recorder.record('process.exec', 3);
    agent.publish();
    await until('what it sends then', () => got().length === 3, got);
    assert.deepEqual(got(), [1, 2, 3]);
    assert.deepEqual(subscriber.gaps, []);
  });
}

for (const follow of [true, false]) {
  for (const isKnown of [true, false]) {
    const how = `${isKnown ? 'is back' : 'is there'} during a replay${follow ? ' and what follows' : ''}`;
    test(`a node that ${how} is not forgotten by who is cut off and resumes`, async () => {
      const recorder = new TestRecorder('a');
      for (const pid of range(1000, 1005)) recorder.record('process.exec', pid);
      if (isKnown) (await harness.agent('a', recorder)).kill();
      const other = await harness.agent('b');
      for (const pid of range(0, 400)) other.recorder.record('process.exec', pid);
      let goesOn = () => {};
      let frames = 0;
      other.midHistory = () => (++frames === 3 ? new Promise((resolve) => (goesOn = resolve)) : sleep(1));
      const first = harness.subscribe({ ...PROCESS, since: '1h', follow });
      await until('the middle', () => frames === 3 && first.pids.length > 0);
      await harness.agent('a', recorder);
      const count = first.pids.length;
      goesOn();
      await until('more', () => first.pids.length > count);
      first.cancel();
      const { events, cursor } = first;
      const second = harness.subscribe({ ...PROCESS, follow, cursor });
      const got = () => [...events, ...second.events];
      await until('all', () => got().length >= 405, got);
      for (const [node, from, to] of [['a', 1000, 1005] as const, ['b', 0, 400] as const]) {
        const own = got().filter((event) => event.startsWith(`${node}:`));
        assert.deepEqual(
          own,
          range(from, to).map((pid) => `${node}:${pid}`),
        );
      }
    });
  }
}

const REPLAYS = [
  { from: 'within it', isCut: true, window: { since: '1h' } },
  { from: 'its end', isCut: false, window: { since: '1h' } },
  { from: 'the end of its last', isCut: false, window: { last: 200 } },
];
for (const { from, isCut, window } of REPLAYS) {
  test(`what a replay had is not had again by who goes on from ${from}, nor is anything missing`, async () => {
    const startNs = BigInt(Date.now() - 60_000) * 1_000_000n;
    const [a, b] = [new TestRecorder('a', 1, startNs), new TestRecorder('b', 1, startNs)];
    const agents = [await harness.agent('a', a), await harness.agent('b', b)];
    // From here on the log is to have all, and has nothing yet.
    await harness.subscribe({ ...PROCESS, follow: true }).isAccepted();
    for (const pid of range(0, 100)) for (const { recorder } of agents) recorder.record('process.exec', pid);
    let goesOn = () => {};
    let frames = 0;
    agents[0]!.midHistory = () =>
      isCut && ++frames === 2 ? new Promise((resolve) => (goesOn = resolve)) : Promise.resolve();
    const first = harness.subscribe({ ...PROCESS, ...window });
    await until('what there is', () => (isCut ? first.pids.length === 199 : first.ended));
    first.cancel();
    goesOn();
    const { events, cursor } = first;
    // Recorded only now, and before the replay was asked for: some events are held until more is known of them.
    if (!isCut)
      for (const pid of range(100, 110)) for (const { recorder } of agents) recorder.record('process.exec', pid);
    const second = harness.subscribe({ ...PROCESS, cursor, follow: true });
    await until('coverage', () => second.coverage !== undefined || second.error !== undefined);
    for (const pid of range(isCut ? 100 : 110, 120))
      for (const { recorder } of agents) recorder.record('process.exec', pid);
    for (const agent of agents) agent.publish();
    const got = () => [...events, ...second.events];
    await until('all', () => got().filter((event) => event.endsWith(':119')).length === 2, got);
    for (const node of ['a', 'b'])
      assert.deepEqual(
        got().filter((event) => event.startsWith(`${node}:`)),
        range(0, 120).map((pid) => `${node}:${pid}`),
      );
  });
}

test('what a node did not send, as its broker did not know that it was to, is had of its recorder', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ ...PROCESS, follow: true });
  await subscriber.isAccepted();
  for (const pid of [1, 2, 3]) {
    agent.recorder.record('process.exec', pid);
    // The first time nothing of it is in the log yet.
    agent.beginAnew();
    agent.recorder.record('process.exec', pid + 10);
    agent.publish();
    await subscriber.has(2 * pid);
  }
  assert.deepEqual(subscriber.pids, [1, 11, 2, 12, 3, 13]);
  assert.deepEqual(subscriber.gaps, []);
});

test('a node that says its answer reaches into a later recording hides nothing by it', async () => {
  const agent = await harness.agent('a');
  agent.reaches = (upTo) => ({ ...upTo, epoch: upTo.epoch + 1 });
  agent.recorder.record('process.exec', 1);
  const first = harness.subscribe({ ...PROCESS, since: '1h' });
  await first.end();
  agent.recorder.record('process.exec', 2);
  const second = harness.subscribe({ ...PROCESS, cursor: first.cursor });
  await second.end();
  assert.deepEqual([...first.pids, ...second.pids], [1, 2]);
});

test('who goes on from the end of a window that has an end has what came after it', async () => {
  const startNs = await twoNodes(100);
  const until = new Date(Number(startNs / 1_000_000n) + 51).toISOString();
  const first = harness.subscribe({ ...PROCESS, since: '1h', until });
  await first.end();
  assert.deepEqual(first.pids, range(0, 100));
  const second = harness.subscribe({ ...PROCESS, cursor: first.cursor, follow: true });
  await second.has(100);
  assert.deepEqual(second.pids, range(100, 200));
});

test('a live subscription ends at its until', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({
    ...PROCESS,
    follow: true,
    until: new Date(Date.now() + 3_000).toISOString(),
  });
  await subscriber.isAccepted();
  // A millisecond of wall time each: the first half lies before the end.
  for (const pid of range(0, 20_000)) {
    agent.recorder.record('process.exec', pid);
    if (pid % 3000 === 0) agent.publish();
  }
  agent.publish();
  await subscriber.end();
  assert.equal(subscriber.error, undefined);
  assert.ok(subscriber.pids.length > 0 && subscriber.pids.length < 20_000);
  assert.deepEqual(subscriber.pids, range(0, subscriber.pids.length));
});

function isProcess(pid: number): boolean {
  return pid === 3_000_000 || (pid % 20) % 4 !== 0;
}

function named(pids: readonly number[]): string[] {
  return pids.map((pid) => `a:${pid}`);
}

/** Order is promised per node and topic. */
function byTopic(events: readonly string[], recorder: TestRecorder): Record<string, string[]> {
  const topics = new Map(recorder.events.map(({ event }) => [`a:${event.process!.pid}`, event.topic]));
  const sorted: Record<string, string[]> = {};
  for (const event of events) {
    const topic = topics.get(event) ?? 'unknown';
    sorted[topic] = [...(sorted[topic] ?? []), event];
  }
  return sorted;
}

test('a node that fails before its part of the last events is asked for the window again, not for all it recorded', async () => {
  const recorder = new TestRecorder('a', 1, BigInt(Date.now() - 3_600_000) * 1_000_000n);
  for (const pid of range(0, 10)) recorder.record('process.exec', pid);
  // The recorder's clock goes on by a millisecond an event: the window begins behind these.
  const since = new Date(Number(recorder.wallAt(recorder.frontier) / 1_000_000n) + 2).toISOString();
  for (const pid of range(10, 20)) recorder.record('process.exec', pid);
  const agent = await harness.agent('a', recorder);
  agent.answerWith = () => agent.kill();
  const subscriber = harness.subscribe({ ...PROCESS, since, last: 100, follow: true });
  await until('that it fails', () => agent.ended !== undefined);
  await harness.agent('a', recorder);
  await subscriber.until('the window', () => subscriber.pids.includes(19));
  assert.ok(!subscriber.pids.includes(9), subscriber.pids.join());
});
