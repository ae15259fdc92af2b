/** What becomes of a group that is changed, reset, deleted, left alone, or away for longer than the log reaches back. */
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { partitionOf } from '../../../src/broker/log/partition-log.js';
import { MiB } from '../../../src/limits.js';
import { nsToTimestamp } from '../../../src/wire/messages.js';
import { auditEntries } from '../../harness/broker/documents.js';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

const TIMES = { memberMs: 10_000, commitMs: 300_000, revokeMs: 50, interestMs: 600_000, cursorsMs: 86_400_000 };
const SLICES = 8;
const NODES = ['a', 'b'];

let harness: Harness;
let agents: TestAgent[];
beforeEach(() => {
  harness = new Harness();
  agents = [];
});
afterEach(() => harness.destroy());

async function start(times: Partial<typeof TIMES> = {}, log = harness.log): Promise<void> {
  harness.groups = { ...TIMES, ...times };
  harness.log = log;
  await harness.startBroker();
  for (const node of NODES) agents.push(await harness.agent(node));
}

function member(filter = '', request: object = {}): TestMember {
  return new TestMember(harness, 'g', {
    topics: ['process'],
    since: '1h',
    filter,
    group: { slices: SLICES },
    ...request,
  });
}

function publish(pids: readonly number[]): void {
  for (const agent of agents) {
    for (const pid of pids) agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

const all = (pids: readonly number[]) => NODES.flatMap((node) => pids.map((pid) => `${node}:${pid}`));
const came = (one: TestMember, pids: readonly number[]) =>
  one.subscriber.until(`${pids}`, () => all(pids).every((event) => one.subscriber.events.includes(event)));

interface GroupJson {
  readonly members: readonly { readonly member: string; readonly state: string }[];
  readonly lagEvents: string;
  readonly lagSince?: string;
  readonly expired: boolean;
  readonly interestUntil?: string;
  readonly cursorsUntil?: string;
  readonly filter: string;
  readonly unattendedBytes: string;
}

async function ask(
  path: string,
  method = 'GET',
  body?: object,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const init =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`http://${harness.broker.httpAddress}/v1/groups${path}`, { method, ...init });
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
}

async function group(): Promise<GroupJson> {
  const { json } = await ask('/g');
  return json.group as GroupJson;
}

/** The member goes, and the broker knows it. */
async function leaves(one: TestMember): Promise<void> {
  one.cancel();
  await until('the group to be left', async () => (await group()).members.length === 0);
}

test('another filter keeps the place: what is committed does not come again, what follows is matched anew', async () => {
  await start();
  const before = member('process.pid < 100');
  await before.has(SLICES);
  publish([1, 100]);
  await came(before, [1]);
  await before.commit();
  publish([2, 200, 3]);
  await came(before, [2, 3]);
  const { json } = await ask('/g/filter', 'POST', { filter: 'process.pid >= 100' });
  const slices = json.slices as {
    cursor: string;
    from: { node: string; topic: string; position: { timeNs: string } }[];
  }[];
  const from = slices.flatMap(({ from }) => from);
  assert.deepEqual(
    from.map(({ node, topic }) => `${node} ${topic}`).sort(),
    NODES.map((node) => `${node} process`),
    'each slice says from where the filter holds',
  );
  await before.subscriber.end();
  assert.equal(before.subscriber.error?.code, status.UNAVAILABLE);
  const other = member('process.pid < 100');
  await other.subscriber.end();
  assert.equal(other.subscriber.error?.code, status.FAILED_PRECONDITION);
  const after = member('process.pid >= 100');
  await after.has(SLICES);
  publish([4, 300]);
  await came(after, [200, 300]);
  assert.deepEqual(
    after.subscriber.events.filter((event) => !/:[23]00$/.test(event)),
    [],
  );
  assert.equal((await group()).filter, 'process.pid >= 100');
});

test('a group is reset and deleted without members only, on record; after a reset it begins where it was told', async () => {
  await start();
  const first = member();
  await first.has(SLICES);
  publish([1]);
  await came(first, [1]);
  await first.commit();
  const refused = await ask('/g/reset', 'POST', { to: 'oldest' });
  assert.deepEqual([refused.status, refused.json.code], [409, 'failed_precondition']);
  assert.equal((await ask('/g', 'DELETE')).status, 409);
  await leaves(first);
  assert.equal((await ask('/g/reset', 'POST', { to: 'somewhere' })).json.field, 'to');
  assert.equal((await ask('/g/reset', 'POST', { to: '' })).status, 400);
  assert.equal((await ask('/none/reset', 'POST', { to: 'now' })).status, 404);
  assert.equal((await ask('/g/reset', 'POST', { to: 'oldest' })).status, 200);
  await until('all that the log has to be counted', async () => (await group()).lagEvents === '2', group);
  assert.ok((await group()).lagSince);
  const again = member();
  await came(again, [1]);
  await again.commit();
  await leaves(again);
  publish([2]);
  // The recorders' clocks count a millisecond an event, from when they began.
  const later = new Date(Date.now() + 3_600_000).toISOString();
  assert.equal((await ask('/g/reset', 'POST', { to: later })).status, 400, 'not in the future');
  for (const agent of agents) agent.recorder.record('process.exec', 3);
  assert.equal((await ask('/g/reset', 'POST', { to: 'now' })).status, 200);
  // Agents that lag send what was recorded before: nobody will process it.
  for (const agent of agents) agent.publish();
  await until('the frames', () => agents.every(isAcknowledged));
  assert.equal((await group()).lagEvents, '0');
  const anew = member();
  await anew.has(SLICES);
  assert.deepEqual(anew.subscriber.events, []);
  await leaves(anew);
  assert.equal((await ask('/g', 'DELETE')).status, 200);
  assert.equal((await ask('/g')).status, 404);
  const entries = (await auditEntries(harness)).filter(({ action, outcome }) => {
    return action !== 'subscribe' && action !== 'history' && outcome === 'done';
  });
  assert.deepEqual(
    entries.map(({ action, group, to }) => `${action} ${group} ${to ?? ''}`.trim()),
    ['reset_group g oldest', 'reset_group g now', 'delete_group g'],
  );
});

test('without members nodes are asked for a while, and cursors kept for longer; then only a reset helps', async () => {
  await start({ interestMs: 2_000, cursorsMs: 4_000 });
  const first = member();
  await first.has(SLICES);
  publish([1]);
  await came(first, [1]);
  assert.equal((await group()).interestUntil, undefined);
  await first.commit();
  await until('no lag', async () => (await group()).lagEvents === '0');
  await leaves(first);
  publish([2, 3]);
  await until('lag', async () => (await group()).lagEvents === '4', group);
  const left = await group();
  assert.ok(left.interestUntil && left.cursorsUntil && left.interestUntil < left.cursorsUntil);
  assert.ok(Number(left.unattendedBytes) > 0);
  await until('the end of interest', async () => (await group()).interestUntil === undefined, group);
  await until('the end of cursors', async () => (await group()).expired, group);
  const late = member();
  await late.subscriber.end();
  assert.equal(late.subscriber.error?.code, status.OUT_OF_RANGE);
  assert.match(late.subscriber.error?.message ?? '', /groups reset g --to oldest\|now\|TIME/);
  assert.equal((await ask('/g/reset', 'POST', { to: '1h' })).status, 200);
  const again = member();
  await came(again, [1, 2, 3]);
});

test('a cursor that the log no longer reaches resumes from the recorders, exactly behind what is committed', async () => {
  await start({ interestMs: 100 }, { bytesMax: MiB });
  await isLeftBehind19();
  await until('the end of interest', async () => (await group()).interestUntil === undefined, group);
  await fill();
  await goesOnFrom20();
});

test('a log that forgets fast loses nothing of a group that was left a moment ago', async () => {
  await start({}, { bytesMax: MiB });
  await isLeftBehind19();
  await fill();
  await goesOnFrom20();
});

test('what is committed only when the log has forgotten it is committed: it does not come again, and nothing is missed', async () => {
  await start({}, { bytesMax: MiB });
  const slow = member();
  await slow.has(SLICES);
  publish(range(1, 20));
  await came(slow, range(1, 20));
  const held = [...slow.slices].flatMap(([slice, { epoch, cursor }]) => (cursor ? [{ slice, epoch, cursor }] : []));
  await fill();
  await came(slow, [20, 21]);
  await slow.commitAs(held);
  await leaves(slow);
  await goesOnFrom20();
});

test('a member that falls behind all that the log keeps gets the rest from the recorders', async () => {
  await start({}, { bytesMax: MiB });
  const slow = member();
  await slow.has(SLICES);
  slow.subscriber.pause();
  // More than waits in front of it, and than the broker remembers of the log's end.
  for (let pid = 1; pid <= 20; pid++) {
    for (const agent of agents) {
      for (let at = 0; at < 80; at++) agent.recorder.record('process.exec', pid, 'x'.repeat(3_000));
      agent.publish();
    }
    await until('acknowledgements', () => agents.every(isAcknowledged));
  }
  slow.subscriber.resume();
  const { subscriber } = slow;
  await subscriber.until('all events', () => subscriber.pids.length >= 2 * 20 * 80 || subscriber.gaps.length > 0);
  assert.deepEqual(slow.subscriber.gaps, []);
  for (const node of NODES) {
    const pids = slow.subscriber.events.filter((event) => event.startsWith(node));
    assert.deepEqual(
      pids,
      range(1, 21).flatMap((pid) => Array.from({ length: 80 }, () => `${node}:${pid}`)),
    );
  }
});

test('without positions a group goes on from its last commit, by each node its own clock', async () => {
  const hourNs = 3_600_000_000_000n;
  await start({}, { bytesMax: MiB });
  const nowNs = () => BigInt(Date.now()) * 1_000_000n + hourNs;
  const hello = () => ({ wallTime: nsToTimestamp(nowNs()) });
  // Its frames are forgotten with those of the node `a`.
  const ahead = range(0, 100)
    .map((at) => `ahead-${at}`)
    .find((name) => partitionOf(name) === partitionOf('a'))!;
  agents.push(await harness.agent(ahead, new TestRecorder('r-ahead', 1, nowNs()), hello()));
  const first = member();
  await first.has(SLICES);
  publish([1, 2]);
  await came(first, [1, 2]);
  await first.subscriber.until('all', () => first.subscriber.events.includes(`${ahead}:2`));
  await first.commit();
  await leaves(first);
  await fill();
  await harness.broker.abort();
  rmSync(join(harness.dataDir, 'broker', 'parked.json'), { force: true });
  await harness.startBroker();
  for (const { node, recorder } of agents) await harness.agent(node, recorder, node === ahead ? hello() : {});
  const after = member();
  await after.subscriber.until('a gap of each node', () => after.subscriber.gaps.length === NODES.length + 1);
  await after.has(SLICES);
  const again = after.subscriber.events.filter((event) => [`${ahead}:1`, `${ahead}:2`].includes(event));
  assert.deepEqual(again, [], 'nothing that was committed comes again');
});

test('another filter keeps the place of a cursor that the log no longer reaches', async () => {
  await start({ interestMs: 100 }, { bytesMax: MiB });
  await isLeftBehind19();
  await until('the end of interest', async () => (await group()).interestUntil === undefined, group);
  await fill();
  const { status } = await ask('/g/filter', 'POST', { filter: 'process.pid != 20' });
  assert.equal(status, 200);
  const after = member('process.pid != 20');
  await came(after, [21]);
  assert.deepEqual(
    after.subscriber.events.filter((event) => Number(event.split(':')[1]) < 21),
    [],
  );
  assert.deepEqual(after.subscriber.gaps, [], 'the recorders have all of it');
});

test('what neither log nor recorders have comes first, as a gap', async () => {
  await start({ interestMs: 100 }, { bytesMax: MiB });
  const first = member();
  await first.has(SLICES);
  publish([1]);
  await came(first, [1]);
  await first.commit();
  await leaves(first);
  await until('the end of interest', async () => (await group()).interestUntil === undefined, group);
  await fill();
  for (const agent of agents) {
    const from = nsToTimestamp(BigInt(Date.now() + 60_000) * 1_000_000n);
    agent.say({ report: { recordedFrom: from, source: 'synthetic' } });
    agent.evictedTo = agent.recorder.frontier;
    agent.recorder.record('process.exec', 5_000);
    agent.publish();
  }
  await until('the reports', async () => {
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/nodes`);
    const { nodes } = (await answer.json()) as { nodes: { recordedFrom?: string }[] };
    return nodes.every(({ recordedFrom }) => recordedFrom !== undefined);
  });
  const after = member();
  await came(after, [5_000]);
  const kinds = after.subscriber.responses.flatMap(({ gap, events }) => (gap ? ['gap'] : events ? ['events'] : []));
  assert.deepEqual(
    kinds.slice(0, NODES.length),
    NODES.map(() => 'gap'),
  );
  const gaps = after.subscriber.gaps.map(({ node, reason, eventsUnknown, from }) => ({
    node,
    reason,
    eventsUnknown,
    from: !!from,
  }));
  assert.deepEqual(
    gaps.sort((a, b) => (a.node < b.node ? -1 : 1)),
    NODES.map((node) => ({ node, reason: 'expired', eventsUnknown: true, from: true })),
  );
});

/** Its only member commits what it was given, 1 to 19, and leaves. */
async function isLeftBehind19(): Promise<void> {
  const first = member();
  await first.has(SLICES);
  publish(range(1, 20));
  await came(first, range(1, 20));
  await first.commit();
  await leaves(first);
}

/** The next member gets exactly what is behind that, without a gap. */
async function goesOnFrom20(): Promise<void> {
  const after = member();
  await came(after, [20, 21]);
  assert.deepEqual(
    after.subscriber.events.filter((event) => Number(event.split(':')[1]) < 20),
    [],
  );
  assert.deepEqual(after.subscriber.gaps, [], 'the recorders have all of it');
}

/** Others' events, until the log has forgotten the group's; pids 20 and 21 are among them. */
async function fill(): Promise<void> {
  const other = harness.subscribe({ topics: ['process'], follow: true });
  await other.isAccepted();
  publish([20, 21]);
  const first = NODES.map((node) => segments(node)[0]);
  for (let round = 0; NODES.some((node, index) => segments(node)[0] === first[index]); round++) {
    assert.ok(round < 1_000, 'the log forgets');
    for (const agent of agents) {
      for (const pid of range(0, 40)) agent.recorder.record('process.fork', 100_000 + pid, 'x'.repeat(3_000));
      agent.publish();
    }
    await until('acknowledgements', () => agents.every(isAcknowledged));
  }
  other.cancel();
}

function isAcknowledged({ acknowledged, recorder }: TestAgent): boolean {
  return acknowledged.get('process')?.timeNs === recorder.frontier.timeNs;
}

/** Files of the log of a node's partition, the oldest first. */
function segments(node: string): string[] {
  const dir = join(harness.dataDir, 'broker', 'log', `partition-${partitionOf(node)}`);
  return readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort();
}
