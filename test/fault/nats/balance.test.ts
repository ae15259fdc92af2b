/**
 * A broker of two is killed and started again: it gets its part of the nodes back, and no event is missing or comes twice. It takes two
 * minutes, so that `npm run check` runs it and `npm test` does not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../../src/client/client.js';
import { sequenceNumber } from '../../harness/bus/numbered.js';
import { credentialIn } from '../../harness/bus/token.js';
import { NatsCluster } from '../../harness/nats/nats-cluster.js';
import { Numbers } from '../../harness/oracle/received.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';
import { cannotCluster } from './cluster-run.js';

const NODES = 30;
const isLong = runs(1) > 1;

test('a broker that was killed and started again gets nodes back from the other, and nothing is missing or comes twice', {
  skip: isLong ? cannotCluster() : 'only with BACKPLANE_TEST_FACTOR',
}, async () => {
  const cluster = await NatsCluster.start();
  const stop = new AbortController();
  const client = cluster.client();
  try {
    await cluster.agent({ name: 'agent', nodes: NODES, eventsPerSecond: 2, unguarded: true });
    const numbers = new Map<string, Numbers>();
    const told = { events: 0, twice: 0, gaps: 0 };
    const following = (async () => {
      for await (const item of client.subscribe({ topics: ['process'], follow: true }, stop.signal)) {
        if (item.kind === 'gap') told.gaps += 1;
        if (item.kind !== 'events') continue;
        const own = numbers.get(item.batch.node) ?? new Numbers();
        numbers.set(item.batch.node, own);
        for (const { process } of item.batch.events) {
          const number = sequenceNumber(process?.commandArgs);
          told.events += 1;
          if (number !== undefined && !own.add(number)) told.twice += 1;
        }
      }
    })();
    const counts = async () => {
      const asked = new Client([cluster.brokers[1]!.grpc], credentialIn(cluster.brokerDir));
      try {
        return (await asked.getStatus()).brokers.map(({ nodes }) => nodes);
      } finally {
        asked.close();
      }
    };
    let seen: number[] = [];
    const all = async (holds: (nodes: readonly number[]) => boolean) => {
      seen = await counts();
      return holds(seen);
    };
    const shown = () => ({ seen, ...told });
    const haveAll = (nodes: readonly number[]) => nodes.reduce((sum, each) => sum + each, 0) === NODES;
    await until('all nodes to be told of', () => numbers.size === NODES, shown);
    await cluster.brokers[0]!.end('SIGKILL');
    await until('the other to have all', () => all((nodes) => nodes.includes(NODES)), shown);
    cluster.brokers[0]!.start();
    await cluster.brokers[0]!.serving();
    const isBalanced = (nodes: readonly number[]) =>
      nodes.length === 2 && haveAll(nodes) && Math.min(...nodes) >= NODES / 2 - 1;
    await until('half of them to be at each', () => all(isBalanced), shown);
    const before = told.events;
    await until('more to come of all', () => told.events > before + 4 * NODES, shown);
    stop.abort();
    await following;
    const missing = [...numbers.values()].reduce((sum, { min, max, count }) => sum + (max - min + 1 - count), 0);
    assert.deepEqual({ missing, twice: told.twice, gaps: told.gaps }, { missing: 0, twice: 0, gaps: 0 });
  } finally {
    stop.abort();
    client.close();
    await cluster.destroy();
  }
});
