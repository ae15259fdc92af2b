/** Nodes whose history comes beside the live stream: whoever can be asked again is, whenever that is known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import { type Approached, LateNodes } from '../../../../src/broker/delivery/live/late-nodes.js';
import { Planner } from '../../../../src/broker/delivery/plan.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

const HERE = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };

interface Asked {
  readonly late: LateNodes;
  /** Each answers a round. */
  readonly rounds: ((reached: boolean) => void)[];
  told: number;
}

function lateNodes(signal: AbortSignal): Asked {
  const rounds: Asked['rounds'] = [];
  const asked: Asked = {
    rounds,
    told: 0,
    late: new LateNodes({
      meeting: () => HERE,
      round: () => new Promise((resolve) => rounds.push(resolve)),
      offset: () => 7 + rounds.length,
      rewinds: () => rounds.length,
      notify: () => asked.told++,
      signal,
    }),
  };
  return asked;
}

/** What the live loop is given to join, and joins. */
async function joined(late: LateNodes): Promise<Approached[]> {
  const all: Approached[] = [];
  await late.join(async (approached) => all.push(approached) > 0);
  return all;
}

test('a node that is back before its failed round was noticed is asked again', async () => {
  const view = new NodeView('a');
  const ending = new AbortController();
  const asked = lateNodes(ending.signal);
  const { late, rounds } = asked;
  late.add(view);
  // It went and came back, while the subscriber had not read what had come before.
  late.add(view);
  rounds[0]!(false);
  await until('another round', () => rounds.length === 2);
  assert.deepEqual(await joined(late), []);
  rounds[1]!(true);
  await until('the second of them', () => rounds.length === 3);
  rounds[2]!(true);
  await until('its history has all but met the tail', () => asked.told === 2);
  // The rest is in the log, from where the last round began, unless that went back since before the first.
  assert.deepEqual(await joined(late), [{ view, offset: 9, rewinds: 1 }]);
  assert.deepEqual(await joined(late), []);
  ending.abort();
});

test('a node that failed and did not come back is not asked again', async () => {
  const asked = lateNodes(new AbortController().signal);
  asked.late.add(new NodeView('a'));
  asked.rounds[0]!(false);
  await until('the failure is known', () => asked.told > 0);
  assert.equal(asked.rounds.length, 1);
});

test('two rounds suffice for a late node, however slow it is and however much arrives meanwhile', async () => {
  const harness = await Harness.start();
  try {
    const other = await harness.agent('other');
    const subscriber = harness.subscribe({ topics: ['process', 'host'], since: '1h', follow: true });
    await subscriber.isAccepted();
    const recorder = new TestRecorder('recorder-slow');
    for (const pid of range(0, 100)) recorder.record('process.exec', pid);
    const slow = await harness.agent('slow', recorder);
    await until('that it is asked', () => slow.interests.length > 0);
    let pid = 100;
    const publish = () => {
      recorder.record('process.exec', pid++);
      slow.publish();
    };
    // Whoever answers it has something newer by then.
    slow.midHistory = async () => {
      for (let more = 0; more < 20; more++) publish();
    };
    await until('history has met the tail', () => {
      publish();
      return subscriber.responses.some(({ events }) => events?.node === 'slow' && !events.history);
    });
    assert.equal(slow.historyQueries, 2);
    publish();
    await until('all of it', () => subscriber.pids.at(-1) === pid - 1);
    assert.deepEqual(subscriber.pids, range(0, pid));
    assert.equal(other.historyQueries, 1);
    // Whoever resumes anywhere has what is missing, once.
    for (const { cursor, count } of subscriber.cursors.filter((_, at) => at % 7 === 0)) {
      const again = harness.subscribe({ topics: ['process', 'host'], follow: true, cursor });
      await until('all that was missing', () => again.pids.length >= pid - count);
      assert.deepEqual(again.pids, range(count, pid));
      again.cancel();
    }
  } finally {
    await harness.destroy();
  }
});

test('while the log of a node goes back nobody knows up to where its recorder is to be asked', () => {
  const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const log = { isGoingBack: true };
  const planner = new Planner(
    { topics: ['process'] } as never,
    { predicateIds: [1n] } as never,
    { hold: () => at(3n), coveredTo: () => at(5n) } as never,
    { partition: () => log } as never,
    undefined as never,
    undefined as never,
  );
  assert.equal(planner.meeting('a'), undefined);
  log.isGoingBack = false;
  assert.deepEqual(planner.meeting('a'), at(5n));
});
