/** The streams that a broker finds at its start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JetStreamManager, StreamConfig } from '@nats-io/jetstream';
import {
  checkCluster,
  fitCluster,
  fitClusterAtStart,
  makeCluster,
  streamText,
} from '../../../src/broker/nats/cluster-streams.js';
import { MiB, READER_LOOKS } from '../../../src/limits.js';

test('servers that have just begun, and know no stream yet, are asked several times', async () => {
  const made = new Map<string, StreamConfig>();
  /** How often nothing is known of any stream. */
  let blind = 0;
  let looks = 0;
  const streams = {
    add: async (config: StreamConfig) => void made.set(config.name, config),
    info: async (name: string) => {
      if (name === 'BP_c_0') looks++;
      const config = looks > blind ? made.get(name) : undefined;
      if (config === undefined) throw Object.assign(new Error('stream not found'), { code: 10_059 });
      return { config, state: { last_seq: 0 } };
    },
  };
  const manager = { streams } as unknown as JetStreamManager;
  await makeCluster(manager, 'c', { bytesMax: 512 * MiB, ageMsMax: 3_600_000, replicas: 1 });
  const identity = await fitCluster(manager, 'c');
  [blind, looks] = [READER_LOOKS - 1, 0];
  assert.equal(await fitClusterAtStart(manager, 'c', 1), identity);
  [blind, looks] = [READER_LOOKS, 0];
  await assert.rejects(fitClusterAtStart(manager, 'c', 1), /cluster c has no streams: backplane cluster init/);
  [blind, looks] = [0, 0];
  made.delete('BP_c_3');
  await assert.rejects(fitClusterAtStart(manager, 'c', 1), /stream BP_c_3 is gone/);
  assert.equal(looks, READER_LOOKS);
});

test('a replica that is away, behind or nowhere is a fault that passes by itself', async () => {
  const made = new Map<string, StreamConfig>();
  let replicas: readonly object[] = [];
  const streams = {
    add: async (config: StreamConfig) => void made.set(config.name, config),
    info: async (name: string) => {
      const config = made.get(name);
      if (config === undefined) throw Object.assign(new Error('stream not found'), { code: 10_059 });
      return { config, state: { last_seq: 0, bytes: 0 }, cluster: { leader: 'n1', replicas } };
    },
  };
  const manager = { streams } as unknown as JetStreamManager;
  await makeCluster(manager, 'c', { bytesMax: 512 * MiB, ageMsMax: 3_600_000, replicas: 3 });
  const [n2, n3] = ['n2', 'n3'].map((name) => ({ name, current: true }));
  const rows: readonly (readonly [readonly object[], string])[] = [
    [[n2!, n3!], 'as it must be'],
    [[n2!, { ...n3, current: false }], 'its replica on n3 is not current'],
    [[{ ...n2, offline: true }, n3!], 'its replica on n2 is away'],
    [[n2!], 'it has 2 of them'],
    [[], 'it has 1 of them'],
  ];
  for (const [are, told] of rows) {
    replicas = are;
    const [first] = await checkCluster(manager, 'c');
    assert.equal(streamText(first!), `BP_c_0: 0 of 64MiB, 1h, 3 replicas: ${told}`);
    assert.deepEqual(first!.unfit, []);
  }
});
