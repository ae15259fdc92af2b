/** What a broker knows of others by what each says of itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import { openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const SIGNS = { nodes: 0, bytesPerSecond: 0, address: '10.0.0.1:8484', version: '1.2.3', retired: false };
const LEASE_MS = 15_000;

test('a broker that lives is told from one that left a lease', async () => {
  const state = openState(scratchDirectory('leases'));
  let nowMs = 0;
  const [own, live, killed, left] = ['own', 'live', 'killed', 'left'].map(
    (name) => new BrokerLeases(state, name, () => nowMs, LEASE_MS),
  ) as [BrokerLeases, BrokerLeases, BrokerLeases, BrokerLeases];
  for (const leases of [live, killed, left]) await leases.beat(SIGNS);
  assert.deepEqual(
    own.all().map(({ broker }) => broker),
    ['killed', 'left', 'live'],
  );
  const beats = ['live', 'killed', 'left'].map((broker) => own.stillBeats(broker));
  nowMs = LEASE_MS - 1;
  await live.beat({ ...SIGNS, nodes: 1 });
  await left.leave();
  assert.deepEqual(await Promise.all([beats[0], beats[2]]), [true, false]);
  nowMs = LEASE_MS;
  assert.deepEqual(own.expire(true), ['killed']);
  assert.equal(await beats[1], false);
});
