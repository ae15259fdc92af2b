/** Tokens that end while the client library uses them: another takes their place without a word, over gRPC and HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bus, connect, type FeedItem } from '../../../src/client/library/grpc.js';
import { connect as connectByHttp } from '../../../src/client/library/http.js';
import { Identities } from '../../harness/access/identities.js';
import { Harness } from '../../harness/broker/harness.js';
import { until } from '../../harness/until.js';

const ROLES = `
roles: { user: { verbs: [subscribe, history, view, publish], topics: [process, app.a] } }
bindings: [{ role: user, identities: [first, second] }]
`;

test('whose token ends goes on with the one that there is then; who has no other is told', async (t) => {
  const identities = new Identities(ROLES, ['first', 'second']);
  const harness = new Harness();
  t.after(() => harness.destroy());
  harness.wantsToken = true;
  harness.access = identities.files;
  await harness.startBroker();
  const agent = await harness.agent('a');
  let name = 'first';
  const token = () => identities.token(name);
  const { grpcAddress, httpAddress } = harness.broker;
  const buses = [
    await connect({ brokers: [grpcAddress], token }),
    await connectByHttp({ brokers: [httpAddress], token }),
    await connect({ brokers: [grpcAddress], token: token() }),
  ] as const;
  t.after(() => Promise.all(buses.map((bus) => bus.close())));
  const read = (bus: Bus) => {
    const items: FeedItem[] = [];
    const over = (async () => {
      for await (const item of bus.subscribe({ topics: ['process'], follow: true })) items.push(item);
    })().catch((cause: { code: string }) => cause.code);
    return { items, over };
  };
  const feeds = buses.map(read);
  const happens = (pid: number) => {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  };
  const pids = ({ items }: (typeof feeds)[number]) =>
    items.flatMap((item) =>
      item.kind === 'event' && item.event.type === 'process.exec' ? [item.event.process.pid] : [],
    );
  await until('all live', () => feeds.every(({ items }) => items.some(({ kind }) => kind === 'accepted')));
  happens(1);
  for (const bus of buses) await bus.publish('app.a', 1);
  await until('the first', () => feeds.every((feed) => pids(feed).length === 1));

  name = 'second';
  identities.revoke('first');
  const [byGrpc, byHttp, fixed] = feeds as [(typeof feeds)[0], (typeof feeds)[0], (typeof feeds)[0]];
  assert.equal(await fixed.over, 'unauthenticated');
  for (const { items } of [byGrpc, byHttp])
    await until('a new stream', () => items.some((item) => item.kind === 'link' && item.cause === undefined));
  happens(2);
  await until('the second', () => pids(byGrpc).length === 2 && pids(byHttp).length === 2);
  assert.deepEqual([pids(byGrpc), pids(byHttp), pids(fixed)], [[1, 2], [1, 2], [1]]);
  for (const bus of buses.slice(0, 2)) {
    await bus.publish('app.a', 2);
    assert.equal((await bus.nodes()).length, 1);
  }
  await assert.rejects(buses[2].publish('app.a', 2), { code: 'unauthenticated' });
  await assert.rejects(buses[2].nodes(), { code: 'unauthenticated' });
});
