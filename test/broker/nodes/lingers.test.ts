/** Nodes are told how soon subscribers want live events: the shortest wish, and only while it is there. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { IntakeLoad } from '../../../src/broker/ingest/intake.js';
import { HoldSteps } from '../../../src/broker/nodes/asked/holds.js';
import { LeastLinger } from '../../../src/broker/nodes/least-linger.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import type { NodeSession } from '../../../src/broker/nodes/node-session.js';
import {
  INTAKE_AGAIN_SECONDS,
  INTAKE_BEHIND_MS,
  INTAKE_BUSY_MESSAGES_PER_SECOND,
  INTAKE_REVIEW_SECONDS,
  KiB,
  LEAST_LINGER_MS_MAX,
} from '../../../src/limits.js';
import type { ControlResponse } from '../../../src/wire/messages.js';
import { Harness } from '../../harness/broker/harness.js';
import { helloOf } from '../../harness/broker/hello.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const heard = (agent: TestAgent, lingers: readonly number[]) =>
  until(
    `lingers ${lingers}`,
    () => agent.lingers.length >= lingers.length,
    () => agent.lingers,
  ).then(() => assert.deepEqual(agent.lingers, lingers));

test('the shortest latency that anybody asks of a node is what it hears, until nobody does', async () => {
  const [a, b] = [await harness.agent('a'), await harness.agent('b')];
  const wish = async (latency: string, nodes: string[]) => {
    const subscriber = harness.subscribe({ topics: ['process'], nodes, follow: true, latency });
    await subscriber.isAccepted();
    return subscriber;
  };
  const first = await wish('25ms', ['a']);
  const second = await wish('10ms', ['*']);
  const longer = await wish('50ms', ['*']);
  const without = await wish('', ['*']);
  await heard(a, [25, 10]);
  await heard(b, [10]);
  second.cancel();
  await heard(a, [25, 10, 25]);
  await heard(b, [10, 50]);
  for (const subscriber of [longer, first, without]) subscriber.cancel();
  await until('nobody asks a', () => a.lingers.at(-1) === 0);
  await heard(b, [10, 50, 0]);
});

test('the more nodes are connected, to whichever broker, the longer each gathers at least', async () => {
  const store = await openLogs(scratchDirectory('linger'));
  const registry = new NodeRegistry(newBook(), store, openState(scratchDirectory('linger')), assert.fail);
  const idle = { messages: 100, bytes: 100 * KiB, tookMs: 100 * 50, seconds: 2, busy: 0.3 };
  let load: IntakeLoad = idle;
  const least = new LeastLinger(registry, 1_000, { takeLoad: () => load });
  const told = new Map<string, number[]>();
  const connect = (node: string) => {
    const { record, session: id } = registry.admit(helloOf(node), '10.0.0.1');
    const heard: number[] = [];
    told.set(node, heard);
    const send = ({ leastLinger }: ControlResponse) => leastLinger && heard.push(leastLinger.lingerMs!);
    registry.attach({ id, record, open: true, send, sendInterest: () => undefined } as unknown as NodeSession);
  };
  for (let node = 0; node < 40; node++) connect(`n${node}`);
  assert.equal(least.ms, 40);
  const lasts = [...told.values()].map((heard) => heard.at(-1)!);
  assert.ok(Math.min(...lasts) >= 30 && lasts.every((ms) => ms === lasts[0]), `${lasts}`);
  assert.ok([...told.values()].every((heard) => heard.length < 20));
  const elsewhere = { recorderId: 'r', bootId: 'b', epoch: 1, session: 's', holds: HoldSteps.NONE };
  for (let node = 0; node < 60; node++) registry.learn(`e${node}`, elsewhere);
  assert.equal(least.ms, 100);
  assert.ok([...told.values()].every((heard) => heard.at(-1)! >= 75));
  for (let node = 0; node < 100; node++) registry.learn(`e${node}`, { ...elsewhere, session: node < 60 ? '' : 's' });
  assert.equal(least.ms, 80);
  const look = (now: IntakeLoad) => {
    load = now;
    // Not before they have gathered once as they were told.
    const seconds = Math.max(INTAKE_REVIEW_SECONDS, Math.ceil(least.ms / 1000));
    for (let second = 0; second < seconds; second++) least.look();
    return least.ms;
  };
  // A few moments of waiting are none; a node that has one on its way when it sends the next is behind.
  const taking = (meanMs: number) => ({ ...idle, tookMs: idle.messages * meanMs });
  const behind = taking(INTAKE_BEHIND_MS + 10);
  assert.deepEqual([idle, taking(INTAKE_BEHIND_MS - 10), behind, behind].map(look), [80, 80, 160, 320]);
  assert.equal(told.get('n0')?.at(-1), 320);
  // Full frames become no fewer, and what takes long against a second does not against what is gathered for four.
  assert.equal(look({ ...behind, bytes: 100 * 64 * KiB }), 320);
  assert.deepEqual([taking(1_000), taking(1_000), taking(300), taking(700)].map(look), [640, 1_280, 1_280, 2_560]);
  assert.deepEqual([taking(700), taking(300)].map(look), [2_560, 1_792]);
  // One that is always busy has its nodes gather where they send many messages; rested, less again.
  const busy = { ...taking(50), busy: 1 };
  const many = 2 * INTAKE_BUSY_MESSAGES_PER_SECOND;
  assert.deepEqual(
    [busy, { ...busy, messages: many }, { ...idle, busy: 0.8 }, idle].map(look),
    [1_792, 3_584, 3_584, 2_509],
  );
  for (let times = 0; times < 10; times++) look(taking(4_000));
  assert.equal(least.ms, LEAST_LINGER_MS_MAX);
  // What was too little last is not tried again soon.
  for (let times = 0; times < 30; times++) look(idle);
  assert.equal(least.ms, 3_513);
  for (let times = 0; times < INTAKE_AGAIN_SECONDS; times++) look(idle);
  assert.equal(least.ms, 80);
  assert.ok(told.get('n0')!.at(-1)! <= 107);
  // What came on top of that while the broker caught up is given back.
  assert.deepEqual([behind, taking(300), taking(300)].map(look), [160, 320, 640]);
  for (let times = 0; times < 10; times++) look(idle);
  assert.equal(least.ms, 108);
  registry.close();
  await store.close();
});

test('a node that connects again, or later, is told once', async () => {
  const first = await harness.agent('a');
  const subscriber = harness.subscribe({ topics: ['process'], follow: true, latency: '25ms' });
  await subscriber.isAccepted();
  await heard(first, [25]);
  first.kill();
  await heard(await harness.agent('a', first.recorder), [25]);
  await heard(await harness.agent('b'), [25]);
});
