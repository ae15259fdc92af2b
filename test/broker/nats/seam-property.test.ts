/** Seams of two brokers on NATS, at random: nodes and subscribers also move between them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Harness } from '../../harness/broker/harness.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { makeTestCluster } from '../../harness/nats/state-under-test.js';
import { runs } from '../../harness/runs.js';
import { crewTimes } from '../../harness/seam/crew.js';
import { play, seamSeed } from '../../harness/seam/play.js';

const RUNS = runs(4);

test('no event is missing at a seam, or comes twice, whatever comes when and wherever', {
  skip: needsNats(),
}, async () => {
  for (let run = 0; run < RUNS; run++) {
    const servers = await NatsServers.start();
    await makeTestCluster(servers);
    const brokers = [new Harness(), new Harness()];
    try {
      for (const broker of brokers) {
        broker.nats = { servers: servers.urls.split(','), cluster: 'test', onLost: assert.fail };
        broker.groups = crewTimes(seamSeed() + run);
        await broker.startBroker();
      }
      await play(brokers, seamSeed() + run);
    } finally {
      for (const broker of brokers) await broker.destroy();
      await servers.destroy();
    }
  }
});
