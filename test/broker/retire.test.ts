/** A broker that retires sends away what is connected, some at a time, to others that it knows of. */
import assert from 'node:assert/strict';
import { after, before, mock, test } from 'node:test';
import { CutOff } from '../../src/broker/cut-off.js';
import { arrivalOf, Retirement, sendAway } from '../../src/broker/retirement.js';
import { Client } from '../../src/client/client.js';
import { clientError } from '../../src/client/client-error.js';
import { isSentAway } from '../../src/flow/reconnect.js';
import {
  CUT_OFF_MS,
  RETIRE_ARRIVAL_MS,
  RETIRE_AT_ONCE,
  RETIRE_LATE_MS,
  RETIRE_MS_MAX,
  RETIRE_SETTLE_MS,
  RETIRE_UNKNOWN_MS,
} from '../../src/limits.js';
import { Harness, range } from '../harness/broker/harness.js';
import { until } from '../harness/until.js';

const NODES = 8;
const SUBSCRIBERS = 8;
let harness: Harness;
let client: Client;

before(async () => {
  harness = new Harness();
  await harness.startBroker();
  client = new Client([harness.broker.grpcAddress]);
});
after(async () => {
  client.close();
  await harness.destroy();
});

async function connectAll() {
  const agents = await Promise.all(range(0, NODES).map((index) => harness.agent(`n${index}`)));
  const subscribers = range(0, SUBSCRIBERS).map(() => harness.subscribe({ topics: ['process'], follow: true }));
  await Promise.all(subscribers.map((subscriber) => subscriber.isAccepted()));
  return { agents, subscribers };
}

const ready = async () => (await fetch(`http://${harness.broker.httpAddress}/readyz`)).text();

test('alone it has nowhere to send anybody, and says so; forced it sends all away and takes no others', async () => {
  await assert.rejects(client.retire(false), {
    code: 'failed_precondition',
    message: /^there is nowhere to go: no other broker of this cluster is known/,
  });
  assert.equal(await ready(), 'ok\n');
  const { agents, subscribers } = await connectAll();
  const answer = await client.retire(true);
  const withinMs = Math.ceil(((NODES + SUBSCRIBERS) * RETIRE_UNKNOWN_MS) / RETIRE_AT_ONCE);
  assert.deepEqual({ ...answer }, { agents: NODES, subscribers: SUBSCRIBERS, withinMs });
  assert.equal(await ready(), 'retired\n');
  await until('all agents went', () => agents.every(({ ended }) => ended !== undefined));
  for (const { ended } of agents) assert.match(ended!, /the broker is retired: connect to another one/);
  for (const subscriber of subscribers) {
    await subscriber.end();
    assert.match(subscriber.error!.message, /the broker is retired: resume at another one with the last cursor/);
    assert.ok(isSentAway(clientError(subscriber.error)));
    assert.notEqual(subscriber.cursor, '');
  }
  await assert.rejects(harness.agent('new'), /the broker is retired/);
  assert.deepEqual(
    harness.logged.filter(({ msg }) => /^an agent: /.test(msg)),
    [],
    'not a line for each that tries',
  );
  await assert.rejects(harness.subscribe({ follow: true }).isAccepted(), /the broker is retired/);
  // Asked again it says the same.
  assert.equal((await client.retire(false)).agents, NODES);
  const { nodes, subscriptions } = await client.getStatus();
  assert.deepEqual([nodes, subscriptions], [0, 0]);
});

test('a broker that is stopped sends all away first where there are others', async () => {
  await harness.broker.abort();
  harness.others = () => 1;
  await harness.startBroker();
  const { agents, subscribers } = await connectAll();
  await harness.broker.drain();
  await until('all went', () => agents.every(({ ended }) => ended !== undefined));
  for (const { ended } of agents) assert.match(ended!, /the broker is retired/);
  for (const { error } of subscribers) assert.match(error!.message, /the broker is retired/);
});

test('so many are on their way at a time, and each that has arrived makes place for another', async () => {
  const left: number[] = [];
  const arrived = new Set<number>();
  let most = 0;
  const all = range(0, 3 * RETIRE_AT_ONCE).map((index) => ({
    leave: () => {
      left.push(index);
      most = Math.max(most, left.length - arrived.size);
    },
    // Nobody arrives before they are as many as may be.
    hasArrived: () => {
      if (left.length - arrived.size === RETIRE_AT_ONCE) arrived.add(index);
      return arrived.has(index);
    },
  }));
  await sendAway(all);
  assert.equal(most, RETIRE_AT_ONCE);
  assert.equal(new Set(left).size, all.length);
  assert.equal(arrived.size, all.length - RETIRE_AT_ONCE);
});

test('a node has arrived where another broker has it and its frames go on, or nothing comes of it for a while', () => {
  const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const is = { elsewhere: false, to: at(1n), ms: 0 };
  const arrival = () => arrivalOf({ isElsewhere: () => is.elsewhere, coveredTo: () => is.to }, () => is.ms);
  const [talks, silent] = [arrival(), arrival()];
  // What its broker had of it yet.
  is.to = at(2n);
  assert.ok(!talks());
  const late = arrival();
  is.elsewhere = true;
  assert.deepEqual([talks(), late()], [true, false]);
  is.to = at(3n);
  assert.ok(late());
  is.to = at(1n);
  assert.ok(!silent());
  is.ms = RETIRE_SETTLE_MS - 1;
  assert.ok(!silent());
  is.ms++;
  assert.ok(silent());
});

test('subscribers leave after all agents, whom they would have to wait for', async () => {
  const left: string[] = [];
  const leaving = (kind: string, count: number) =>
    range(0, count).map(() => ({ leave: () => left.push(kind), hasArrived: () => true }));
  const retirement = new Retirement({
    agents: { retire: () => leaving('agent', 3) },
    subscribers: { retire: () => leaving('subscriber', 30) },
    publishers: { drain: () => left.push('publishers') },
    ...{ others: () => 1, begins: () => undefined, trail: { record: async () => undefined }, logger: harness.logger },
  });
  await retirement.finished();
  assert.deepEqual(left, [...Array(3).fill('agent'), ...Array(30).fill('subscriber'), 'publishers']);
});

test('where the process is late, nobody waits for who has not arrived: the last has left in time', async () => {
  let nowMs = 0;
  const clock = mock.method(performance, 'now', () => nowMs);
  const left: number[] = [];
  // The process stands still as the first leaves: by then all are due.
  const leave = () => {
    nowMs = RETIRE_MS_MAX;
    left.push(nowMs);
  };
  const sending = sendAway(range(0, 3 * RETIRE_AT_ONCE).map(() => ({ leave, hasArrived: () => false })));
  const leftAtOnce = left.length;
  clock.mock.restore();
  await sending;
  assert.equal(leftAtOnce, 3 * RETIRE_AT_ONCE);
});

test('where the process is late, each waits as long as if none arrived, and no longer', async () => {
  let nowMs = 0;
  const leftMs: number[] = [];
  // So much passes between any two looks at the clock.
  const clock = mock.method(performance, 'now', () => {
    nowMs += RETIRE_LATE_MS;
    return nowMs;
  });
  await sendAway(range(0, 4).map(() => ({ leave: () => leftMs.push(nowMs), hasArrived: () => true })));
  clock.mock.restore();
  const waits = leftMs.slice(1).map((ms, at) => ms - leftMs[at]!);
  const mostMs = RETIRE_ARRIVAL_MS / RETIRE_AT_ONCE;
  assert.ok(
    waits.every((ms) => ms >= mostMs && ms < mostMs + 5 * RETIRE_LATE_MS),
    `${waits}`,
  );
});

test('a broker that is cut off for long sends agents away once, and only where there are others', () => {
  const clock = { ms: 0 };
  const is: { trouble: string | undefined; others: number; sent: number; again: number } = {
    ...{ trouble: undefined, others: 0, sent: 0, again: 0 },
  };
  const agents = {
    turnAway: () => {
      is.sent++;
      return [];
    },
    takeAgain: () => {
      is.again++;
    },
  };
  const { logger } = harness;
  const cutOff = new CutOff({ trouble: () => is.trouble, others: () => is.others, agents, logger }, () => clock.ms);
  const after = (ms: number) => {
    clock.ms += ms;
    cutOff.look();
    return [is.sent, is.again];
  };
  is.trouble = 'NATS is away';
  assert.deepEqual(after(0), [0, 0]);
  assert.deepEqual(after(CUT_OFF_MS), [0, 0], 'there is nowhere to go');
  is.others = 1;
  assert.deepEqual(
    [after(1), after(1)],
    [
      [1, 0],
      [1, 0],
    ],
  );
  is.trouble = undefined;
  assert.deepEqual(
    [after(1), after(1)],
    [
      [1, 1],
      [1, 1],
    ],
  );
  is.trouble = 'NATS is away again';
  assert.deepEqual(
    [after(1), after(CUT_OFF_MS - 1), after(1)],
    [
      [1, 1],
      [1, 1],
      [2, 1],
    ],
  );
});
