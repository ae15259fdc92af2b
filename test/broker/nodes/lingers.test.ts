/** Nodes are told how soon subscribers want live events: the shortest wish, and only while it is there. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { IntakeLoad } from '../../../src/broker/ingest/intake.js';
import { HoldSteps } from '../../../src/broker/nodes/asked/holds.js';
import { LeastLinger } from '../../../src/broker/nodes/least-linger.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import type { NodeSession } from '../../../src/broker/nodes/node-session.js';
import { INTAKE_REVIEW_SECONDS, KiB, LEAST_LINGER_MS_MAX } from '../../../src/limits.js';
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
  const idle = { messages: 100, bytes: 100 * KiB, waited: 0 };
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
    for (let second = 0; second < INTAKE_REVIEW_SECONDS; second++) least.look();
    return least.ms;
  };
  // What they send has to wait.
  const behind = { ...idle, waited: 60 };
  assert.deepEqual([idle, behind, behind].map(look), [80, 160, 320]);
  assert.equal(told.get('n0')?.at(-1), 320);
  // Full frames become no fewer, and some that wait are neither too many nor none.
  assert.equal(look({ ...behind, bytes: 100 * 64 * KiB }), 320);
  assert.equal(look({ ...idle, waited: 30 }), 320);
  for (let times = 0; times < 10; times++) look(behind);
  assert.equal(least.ms, LEAST_LINGER_MS_MAX);
  for (let times = 0; times < 30; times++) look(idle);
  assert.equal(least.ms, 80);
  assert.ok(told.get('n0')!.at(-1)! <= 107);
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
