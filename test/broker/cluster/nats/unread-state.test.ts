/** A broker that does not read its state for a while, as the stream becomes another one. */
import assert from 'node:assert/strict';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NatsStateOptions } from '../../../../src/broker/cluster/nats/nats-state.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { newCluster, openNatsState, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();

async function twoStates(link: NatsLink, options: Partial<NatsStateOptions>) {
  const cluster = await newCluster(link);
  return [
    await openNatsState(link, cluster, { broker: 'b1', ...options }),
    await openNatsState(nats.links[1], cluster, { broker: 'b2', ...options }),
  ] as const;
}

test('who does not read writes nothing over what it has not read, also at a sequence that it knows', {
  skip,
}, async () => {
  const store = join(nats.servers.first.dir, 'jetstream');
  const kept = `${store}.before`;
  let isDeaf = false;
  const { manager } = nats.links[0];
  const add: typeof manager.consumers.add = (...args) =>
    isDeaf ? Promise.reject(new Error('no consumer can be made')) : manager.consumers.add(...args);
  const link: NatsLink = Object.create(nats.links[0], {
    manager: {
      value: Object.create(manager, { consumers: { value: Object.assign(Object.create(manager.consumers), { add }) } }),
    },
  });
  // Without ticks each message of the stream is a change that the test makes.
  const times = { tickMs: 3_600_000, silenceMs: 3_600_000, retryMsMin: 50, retryMsMax: 100, writeMs: 2_000 };
  const [one, other] = await twoStates(link, { times, onRegression: () => undefined });
  await one.put('count', { number: 0 });
  await until('that the other has it', () => other.get('count') !== undefined);
  nats.servers.first.pause();
  cpSync(store, kept, { recursive: true });
  nats.servers.first.resume();
  let known = 0;
  for (let number = 1; number <= 5; number++) known = await one.put('count', { number });
  isDeaf = true;
  await nats.servers.first.kill();
  rmSync(store, { recursive: true });
  renameSync(kept, store);
  nats.servers.first.start();
  await nats.servers.first.ready();
  await until('that the other has noticed', () => other.get('count')?.value.number === 0);
  let revision = 0;
  while (revision < known) revision = await other.put('count', { number: 100 + revision });
  assert.equal(revision, known, 'another change has the same number');
  await assert.rejects(one.put('count', { number: 6 }), { code: 'unavailable' });
  assert.equal(one.get('count')?.value.number, 5, 'it has not read anything since');
  const { revision: last } = other.get('count')!;
  assert.equal(last, known);
  isDeaf = false;
  await until('that it reads again', () => one.get('count')?.value.number === other.get('count')?.value.number);
  await one.put('count', { number: 7 }, known);
  await until('that the other has it', () => other.get('count')?.value.number === 7);
  await Promise.all([one.close(), other.close()]);
});
