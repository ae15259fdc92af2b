/** Members of a group by the client library, over gRPC and HTTP, at one broker. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { type Bus, connect, type GroupBatch } from '../../../src/client/library/grpc.js';
import { connect as connectByHttp } from '../../../src/client/library/http.js';
import { all } from '../../harness/all.js';
import { Harness } from '../../harness/broker/harness.js';
import { busEvent } from '../../harness/bus/event-fixture.js';
import { ScriptedBroker } from '../../harness/scripted-broker.js';
import { until } from '../../harness/until.js';

const NODES = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Joins, and collects what it is given. */
function member(bus: Bus, options: { readonly member?: string } = {}) {
  const leaving = new AbortController();
  const batches: GroupBatch[] = [];
  const left = (async () => {
    const group = bus.group('triage', { slices: 8, ...options });
    // Before the agents' first event, which is told by the clock of their start.
    const subscription = { topics: ['process'], since: '1h', signal: leaving.signal };
    for await (const batch of group.batches(subscription)) batches.push(batch);
  })();
  return { batches, leave: () => leaving.abort(), left };
}

/** `node:pid` of each event. */
function namesOf(batches: readonly GroupBatch[]): string[] {
  return batches
    .flatMap(({ node, events }) =>
      events.map((event) => `${node}:${event.type === 'process.exec' && event.process.pid}`),
    )
    .sort();
}

async function started(t: TestContext) {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const agents = await Promise.all(NODES.map((node) => harness.agent(node)));
  const grpc = await connect({ brokers: [harness.broker.grpcAddress] });
  const http = await connectByHttp({ brokers: [harness.broker.httpAddress] });
  t.after(() => Promise.all([grpc.close(), http.close()]));
  const happens = (pid: number) => {
    for (const agent of agents) {
      agent.recorder.record('process.exec', pid);
      agent.publish();
    }
  };
  return { harness, agents, grpc, http, happens };
}

test('members share the nodes; what one leaves uncommitted the other gets, and the one that left is fenced', async (t) => {
  const { harness, agents, grpc, http, happens } = await started(t);
  const [first, second] = [member(grpc), member(http)];
  await until('both have slices', async () => {
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/groups`);
    const { groups } = (await answer.json()) as { groups: { members: { slices: number[] }[] }[] };
    return groups[0]?.members.filter(({ slices }) => slices.length === 4).length === 2;
  });
  await until('interest', () => agents.every(({ topics }) => topics.includes('process')));
  const all = (pid: number) => NODES.map((node) => `${node}:${pid}`);
  happens(1);
  await until('all events', () => first.batches.length + second.batches.length >= NODES.length);
  assert.deepEqual(namesOf([...first.batches, ...second.batches]), all(1));
  for (const batch of [...first.batches, ...second.batches]) await batch.commit();
  happens(2);
  await until('all events again', () => namesOf([...first.batches, ...second.batches]).length === 2 * NODES.length);
  // A member has all of a node.
  const nodes = (of: typeof first) => [...new Set(of.batches.map(({ node }) => node))];
  assert.deepEqual([...nodes(first), ...nodes(second)].sort(), NODES);
  assert.ok(nodes(first).length > 0 && nodes(second).length > 0);

  const uncommitted = first.batches.filter((batch) => namesOf([batch])[0]!.endsWith(':2'));
  first.leave();
  await first.left;
  await until(
    'the other gets them',
    () => namesOf(second.batches).filter((name) => name.endsWith(':2')).length === NODES.length,
  );
  await assert.rejects(uncommitted[0]!.commit(), { code: 'fenced' });
  assert.deepEqual(namesOf(second.batches.filter((batch) => namesOf([batch])[0]!.endsWith(':2'))), all(2));
  const last = second.batches.find((batch) => batch.node === uncommitted[0]!.node);
  await last!.commit();
  second.leave();
  await second.left;
});

test('a member comes back while the broker still holds its lost connection for alive', async (t) => {
  const events = Array.from({ length: 6 }, (_, pid) => busEvent('process.exec', { process: { pid } }));
  const cut = (code: status) => ({ after: 3, code, details: 'the member "one" is connected' });
  const cuts = [cut(status.UNAVAILABLE), cut(status.ALREADY_EXISTS), undefined];
  const broker = await ScriptedBroker.start({ events, cuts });
  t.after(() => broker.stop());
  const bus = await connect({ brokers: [broker.address] });
  t.after(() => bus.close());
  const one = member(bus, { member: 'one' });
  // Nothing is committed, so that all comes again each time.
  await until('all events', () => namesOf(one.batches).length === 3 + 3 + 6);
  assert.deepEqual(
    broker.requests.map(({ group, cursor }) => [group?.name, group?.member, cursor]),
    Array.from({ length: 3 }, () => ['triage', 'one', '']),
  );
  one.leave();
  await one.left;
  const refused = await ScriptedBroker.start({
    events,
    cuts: [{ ...cut(status.ALREADY_EXISTS), after: 0 }],
    refusing: true,
  });
  t.after(() => refused.stop());
  const other = await connect({ brokers: [refused.address] });
  t.after(() => other.close());
  await assert.rejects(all(other.group('triage', { member: 'one' }).batches()), { code: 'already_exists' });
});

test('a member whose connection breaks joins again by itself, and is given what it had not committed', async (t) => {
  const { harness, agents, happens } = await started(t);
  let breaks = new AbortController();
  const http = await connectByHttp({
    brokers: [harness.broker.httpAddress],
    fetch: (input, init) => {
      const either = new AbortController();
      for (const signal of [init!.signal!, breaks.signal]) signal.addEventListener('abort', () => either.abort());
      return fetch(input, { ...init, signal: either.signal });
    },
  });
  t.after(() => http.close());
  const one = member(http, { member: 'one' });
  await until('interest', () => agents.every(({ topics }) => topics.includes('process')));
  happens(1);
  await until('all events', () => one.batches.length === NODES.length);
  const [committed] = one.batches;
  await committed!.commit();
  const broken = breaks;
  breaks = new AbortController();
  broken.abort();
  await until('what was not committed', () => one.batches.length === 2 * NODES.length - 1);
  assert.deepEqual(
    namesOf(one.batches.slice(NODES.length)),
    NODES.filter((node) => node !== committed!.node).map((node) => `${node}:1`),
  );
  one.leave();
  await one.left;
});
