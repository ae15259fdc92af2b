/** Groups of members that share a subscription's nodes: who gets what when members come, go, are slow, or the broker dies. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { HttpSink } from '../../../src/broker/api/http/http-sink.js';
import { NDJSON } from '../../../src/broker/api/http/stream-formats.js';
import { sliceOf } from '../../../src/broker/groups/slice.js';
import { idsOf, published } from '../../harness/broker/documents.js';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness, range } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { Relay } from '../../harness/cluster/relay.js';
import { until } from '../../harness/until.js';

const TIMES = { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000, interestMs: 600_000, cursorsMs: 86_400_000 };
const NODES = ['a', 'b', 'c', 'd', 'e', 'f'];
const SLICES = 8;
const REQUEST = { topics: ['process'], since: '1h', group: { slices: SLICES } };

let harness: Harness;
let agents: TestAgent[];
beforeEach(async () => {
  harness = new Harness();
  harness.groups = TIMES;
  await harness.startBroker();
  agents = [];
  for (const node of NODES) agents.push(await harness.agent(node));
});
afterEach(() => harness.destroy());

/** The broker with other times, and the same agents. */
async function restart(times: Partial<typeof TIMES>): Promise<void> {
  await harness.broker.abort();
  harness.groups = { ...TIMES, ...times };
  await harness.startBroker();
  agents = await Promise.all(agents.map(({ node, recorder }) => harness.agent(node, recorder)));
}

/** A member of the group `g`, which asks for processes. */
function member(name = ''): TestMember {
  return new TestMember(harness, 'g', REQUEST, name);
}

/** Two members that have their shares: one after the other, so that each share is counted when it is whole. */
async function two(...names: readonly [string?, string?]): Promise<[TestMember, TestMember]> {
  const first = member(names[0]);
  await first.has(SLICES);
  const second = member(names[1]);
  await second.has(SLICES / 2);
  await first.has(SLICES / 2);
  return [first, second];
}

/** Each node records and sends an event of each of these pids. */
function publish(pids: readonly number[]): void {
  for (const agent of agents) {
    for (const pid of pids) agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

function all(pids: readonly number[]): string[] {
  return NODES.flatMap((node) => pids.map((pid) => `${node}:${pid}`)).sort();
}

/** Waits until these events have come to the members together. */
async function came(events: readonly string[], ...members: readonly TestMember[]): Promise<void> {
  const missing = () => {
    const seen = new Set(members.flatMap(({ subscriber }) => subscriber.events));
    return events.filter((event) => !seen.has(event));
  };
  const failed = () => members.find(({ subscriber }) => subscriber.error)?.subscriber.error;
  await until('all events', () => missing().length === 0 || failed() !== undefined, missing);
  assert.equal(failed(), undefined);
}

const code = (expected: status) => (error: { code?: number }) => error.code === expected;

test('members share the nodes, each event comes to one of them, and who joins takes its share only', async () => {
  const first = member();
  await first.has(SLICES);
  assert.equal(first.subscriber.accepted?.group?.slices, SLICES);
  publish([1, 2, 3]);
  await came(all([1, 2, 3]), first);
  await first.commit();
  const second = member();
  await second.has(SLICES / 2);
  await first.has(SLICES / 2);
  publish([4, 5]);
  await came(all([4, 5]), first, second);
  const both = [...first.subscriber.events, ...second.subscriber.events].sort();
  assert.deepEqual(both, all([1, 2, 3, 4, 5]), 'nothing that was committed came again');
  for (const node of NODES) {
    const owner = second.slices.has(sliceOf(node, SLICES)) ? second : first;
    assert.ok(owner.subscriber.events.includes(`${node}:5`), 'all of a node comes to one');
  }
});

test('what a member that goes has not committed comes to another, and what it has does not', async () => {
  const [first, second] = await two();
  publish([1]);
  await came(all([1]), first, second);
  await second.commit();
  const given = second.subscriber.events.length;
  const its = NODES.filter((node) => second.slices.has(sliceOf(node, SLICES)));
  publish([2]);
  await came(all([2]), first, second);
  second.cancel();
  await first.has(SLICES);
  await came(
    its.map((node) => `${node}:2`),
    first,
  );
  publish([3]);
  await came(all([3]), first);
  assert.equal(given, its.length);
  assert.deepEqual(
    [...first.subscriber.events].filter((event) => event.endsWith(':1') && its.includes(event[0]!)),
    [],
  );
  const twice = first.subscriber.events.filter((event, index, events) => events.indexOf(event) !== index);
  assert.deepEqual(twice, [], 'slices that stayed are undisturbed');
});

test('a commit holds what the epoch was given, never goes back, and is all or nothing', async () => {
  const one = member();
  await one.has(SLICES);
  publish([1]);
  await came(all([1]), one);
  const [node] = NODES as [string];
  const slice = sliceOf(node, SLICES);
  const early = one.slices.get(slice)!;
  publish([2]);
  await came(all([2]), one);
  const late = one.slices.get(slice)!;
  const other = [...one.slices].find(([index, { cursor }]) => index !== slice && cursor !== '')!;
  const commit = (...slices: Parameters<TestMember['commitAs']>[0]) => one.commitAs(slices);
  const { epoch } = late;
  await assert.rejects(commit({ slice, epoch, cursor: other[1].cursor }), code(status.INVALID_ARGUMENT));
  await assert.rejects(commit({ slice, epoch, cursor: `${late.cursor.split('~')[0]}` }), code(status.INVALID_ARGUMENT));
  await assert.rejects(commit({ slice: SLICES, epoch, cursor: late.cursor }), code(status.INVALID_ARGUMENT));
  await assert.rejects(commit({ slice, epoch: Number(epoch) - 1, cursor: late.cursor }), code(status.ABORTED));
  await assert.rejects(
    commit(
      { slice: other[0], epoch: other[1].epoch, cursor: other[1].cursor },
      { slice, epoch: 1, cursor: late.cursor },
    ),
    code(status.ABORTED),
  );
  const committed = async (index: number) => {
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/groups/g`);
    const { slices } = (await answer.json()) as { slices: { cursor: string }[] };
    return slices[index]!.cursor;
  };
  assert.equal(await committed(other[0]), '', 'one of the slices was fenced: nothing is committed');
  await commit({ slice, epoch, cursor: late.cursor });
  assert.equal(await committed(slice), late.cursor.split('~')[0]);
  await commit({ slice, epoch, cursor: early.cursor });
  assert.equal(await committed(slice), late.cursor.split('~')[0]);
});

test('after the broker was killed members go on behind what is committed, in later epochs', async () => {
  const before = member();
  await before.has(SLICES);
  publish([1]);
  await came(all([1]), before);
  await before.commit();
  publish([2]);
  await came(all([2]), before);
  const held = before.slices;
  await harness.interestIsSaved();
  await harness.broker.abort();
  await harness.startBroker();
  agents = await Promise.all(agents.map(({ node, recorder }) => harness.agent(node, recorder)));
  const after = member();
  await after.has(SLICES);
  await came(all([2]), after);
  assert.deepEqual(
    after.subscriber.events.filter((event) => event.endsWith(':1')),
    [],
  );
  const [slice, { epoch, cursor }] = [...held][0]!;
  assert.ok(Number(after.slices.get(slice)!.epoch) > Number(epoch));
  await assert.rejects(after.commitAs([{ slice, epoch, cursor: cursor || 'x' }]), code(status.ABORTED));
});

test('events that stay uncommitted for too long go to another member, and come back to who commits', async () => {
  await restart({ commitMs: 1_000, revokeMs: 50 });
  const [slow, quick] = await two();
  publish([1]);
  await came(all([1]), slow, quick);
  const its = NODES.filter((node) => slow.slices.has(sliceOf(node, SLICES))).map((node) => `${node}:1`);
  assert.notEqual(its.length, 0);
  const held = slow.slices;
  await quick.commit();
  await came(its, quick);
  await quick.commit();
  const [lost, { epoch, cursor }] = [...held].find(([slice, { cursor }]) => cursor !== '' && !slow.slices.has(slice))!;
  await assert.rejects(slow.commitAs([{ slice: lost, epoch, cursor }]), code(status.ABORTED));
  await slow.has(SLICES / 2);
  assert.equal(slow.subscriber.error, undefined, 'who is slow stays a member');
});

test('a group is one subscription: another filter, other nodes or slices are refused, the bare name is not', async () => {
  const first = member('one');
  await first.has(SLICES);
  const refused = async (request: object, group: object, expected: status, said: RegExp) => {
    const other = harness.subscribe({ follow: true, ...request, group: { name: 'g', ...group } });
    await other.end();
    assert.equal(other.error?.code, expected, other.error?.message);
    assert.match(other.error?.message ?? '', said);
  };
  await refused({ topics: ['file'] }, {}, status.FAILED_PRECONDITION, /topics process.*groups set-filter g/);
  await refused({ topics: ['process'], nodes: ['a'] }, {}, status.FAILED_PRECONDITION, /every node/);
  await refused({ topics: ['process'] }, { slices: 16 }, status.FAILED_PRECONDITION, /has 8 slices/);
  await refused({ topics: ['process'] }, { member: 'one' }, status.ALREADY_EXISTS, /member one/);
  await refused({ last: 5 }, {}, status.INVALID_ARGUMENT, /last: is not for members of a group/);
  await refused({ limit: 5 }, {}, status.INVALID_ARGUMENT, /limit: is not/);
  await refused({ throttle: '5s' }, {}, status.INVALID_ARGUMENT, /throttle: is not/);
  await refused({ follow: false }, {}, status.INVALID_ARGUMENT, /needs follow/);
  await refused({}, { slices: 7 }, status.INVALID_ARGUMENT, /one of 8, 16, 32, 64/);
  await refused({}, { name: 'no way' }, status.INVALID_ARGUMENT, /group/);
  await refused({}, { name: 'other' }, status.NOT_FOUND, /there is no group other/);
  const bare = new TestMember(harness, 'g');
  await bare.has(SLICES / 2);
  publish(range(1, 3));
  await came(all([1, 2]), first, bare);
});

test('a named member keeps its slices while it has no connection for a while', async () => {
  const [first, second] = await two('one', 'two');
  const held = [...first.slices.keys()];
  // The connection goes with the stream.
  first.cancel();
  publish([1]);
  const again = member('one');
  await again.has(SLICES / 2);
  assert.deepEqual([...again.slices.keys()].sort(), held.sort());
  await came(all([1]), again, second);
  assert.deepEqual([...second.slices.keys()].length, SLICES / 2);
});

test('a member whose connection is silent loses its slices, and is told when it can be; others do not', async () => {
  await restart({ memberMs: 1_000 });
  const relay = await Relay.start([harness.broker.grpcAddress]);
  try {
    const quiet = new TestMember(harness, 'g', REQUEST);
    await quiet.has(SLICES);
    const hung = new TestMember(harness, 'g', {}, 'named', relay.address);
    await hung.has(SLICES / 2);
    await quiet.has(SLICES / 2);
    publish([1]);
    await came(all([1]), quiet, hung);
    const its = NODES.filter((node) => hung.slices.has(sliceOf(node, SLICES))).map((node) => `${node}:1`);
    relay.halfOpen();
    await quiet.has(SLICES);
    await came(its, quiet);
    assert.equal(quiet.subscriber.error, undefined);
  } finally {
    relay.close();
  }
});

test('a member over HTTP is gone when it has taken nothing of what was written for too long', async () => {
  const server = createServer((_request, response) => {
    const sink = new HttpSink(response, NDJSON);
    const watch = sink.connection.watch(200, () => server.emit('silent'));
    response.once('close', watch);
    const text = 'x'.repeat(500_000);
    const write = () => sink.write({ kind: 'message', message: { nodeStatus: { node: 'a', message: text } } });
    const fill = async () => {
      for (;;) await write();
    };
    fill().catch(() => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  let isSilent = false;
  server.once('silent', () => {
    isSilent = true;
  });
  let read = 0;
  socket.on('data', (bytes) => {
    read += bytes.length;
  });
  await until('some of it', () => read > 5_000_000);
  assert.equal(isSilent, false, 'who reads is there');
  socket.pause();
  await until('silence', () => isSilent);
  socket.destroy();
  server.close();
});

test('a member over HTTP/2 that is slow answers PINGs, and is not taken for one that is gone', async () => {
  let silent = 0;
  let sink: HttpSink | undefined;
  const server = createHttp2Server((_request, response) => {
    sink = new HttpSink(response as unknown as ServerResponse, NDJSON);
    sink.connection.watch(200, () => silent++);
    const message = { nodeStatus: { node: 'a', message: 'x'.repeat(500_000) } };
    sink.write({ kind: 'message', message }).catch(() => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  let pings = 0;
  session.on('ping', () => pings++);
  // Nothing of its answer is read.
  const request = session.request({ ':path': '/' }).on('error', () => undefined);
  await once(request, 'response');
  await until('more PINGs than a silent one is sent', () => pings > 10);
  assert.equal(silent, 0);
  session.destroy();
  server.close();
});

async function hasLag(group: string, events: number): Promise<void> {
  let seen = '';
  const isSo = async () => {
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/groups/${group}`);
    seen = ((await answer.json()) as { group: { lagEvents: string } }).group.lagEvents;
    return seen === String(events);
  };
  await until(`a lag of ${events}`, isSo, () => seen);
}

test('what applications publish is shared by its keys, and resumed exactly, beside kernel events', async () => {
  const keys = range(0, 20).map((number) => `key-${number}`);
  const publisher = harness.publisher();
  const sent = (round: number) =>
    publisher.publish(
      'app.jobs',
      keys.map((key) => published(`${key}:${round}`, {}, { key })),
    );
  const request = { ...REQUEST, topics: ['process', 'app.*'] };
  const first = new TestMember(harness, 'apps', request);
  await first.has(SLICES);
  const second = new TestMember(harness, 'apps');
  await second.has(SLICES / 2);
  await first.has(SLICES / 2);
  await sent(1);
  publish([1]);
  await came(all([1]), first, second);
  const ids = (...members: TestMember[]) => members.flatMap(({ subscriber }) => idsOf(subscriber)).sort();
  await until('all documents', () => ids(first, second).length >= keys.length);
  assert.deepEqual(ids(first, second), keys.map((key) => `${key}:1`).sort());
  for (const key of keys) {
    const owner = second.slices.has(sliceOf(key, SLICES)) ? second : first;
    assert.ok(ids(owner).includes(`${key}:1`), 'all of a key comes to one');
  }
  await hasLag('apps', keys.length + all([1]).length);
  await first.commit();
  await second.commit();
  await hasLag('apps', 0);
  await sent(2);
  await until('the second', () => ids(first, second).length >= 2 * keys.length);
  await hasLag('apps', keys.length);
  await harness.interestIsSaved();
  await harness.broker.abort();
  await harness.startBroker();
  // As the log has it.
  await hasLag('apps', keys.length);
  const after = new TestMember(harness, 'apps');
  await after.has(SLICES);
  await until('what is not committed', () => ids(after).length >= keys.length);
  assert.deepEqual(ids(after), keys.map((key) => `${key}:2`).sort());
  await after.commit();
  await hasLag('apps', 0);
});
