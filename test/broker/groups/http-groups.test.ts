/** Groups over HTTP: their routes, and members by lines and by server-sent events, each answer as the document says. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { HttpSink } from '../../../src/broker/api/http/http-sink.js';
import { NDJSON } from '../../../src/broker/api/http/stream-formats.js';
import { ApiDocument } from '../../harness/broker/api-document.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { HttpStream } from '../../harness/broker/http-stream.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { Namespace, refused } from '../../harness/cluster/namespace.js';
import { until } from '../../harness/until.js';

let harness: Harness;
let agent: TestAgent;
let api: ApiDocument;
beforeEach(async () => {
  harness = await Harness.start();
  agent = await harness.agent('a');
  api = await ApiDocument.of(harness.broker.httpAddress);
  for (const pid of range(1, 11)) agent.recorder.record('process.exec', pid);
});
afterEach(() => harness.destroy());

async function ask(method: string, path: string, template: string, body?: object) {
  if (body !== undefined && !('wrong' in body)) api.checkBody(method, template, body);
  const init =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(`http://${harness.broker.httpAddress}${path}`, { method, ...init });
  const json = (await answer.json()) as Record<string, unknown>;
  api.checkAnswer(method, template, answer.status, answer.headers.get('content-type') ?? '', json);
  return { status: answer.status, json };
}

interface GroupData {
  readonly assigned?: { readonly slice: number; readonly epoch: string };
}

test('a member by server-sent events is told its slices, and commits by POST', async () => {
  const url = `http://${harness.broker.httpAddress}/v1/events?topic=process&since=1h&follow=true&group=g&member=one&slices=8`;
  const stream = await HttpStream.open(url, { headers: { accept: 'text/event-stream', 'last-event-id': 'abc' } });
  await until(
    'all events',
    () => stream.pids.length >= 10,
    () => stream.text,
  );
  const { events } = stream;
  for (const item of events) api.checkItem('GET', '/v1/events', 'text/event-stream', item);
  const first = events[0]!;
  assert.equal(first.event, 'accepted');
  assert.deepEqual((first.data as { group: object }).group, { name: 'g', member: 'one', slices: 8, filter: 'true' });
  const assigned = events.flatMap(({ event, data }) => (event === 'group' ? ((data as GroupData).assigned ?? []) : []));
  assert.deepEqual(assigned.map(({ slice }) => slice).sort(), range(0, 8));
  const last = events.findLast(({ event, data }) => event === 'message' && (data as { cursor?: string }).cursor);
  const { slice, cursor } = last!.data as { slice: number; cursor: string };
  const { epoch } = assigned.find((each) => each.slice === slice)!;
  const commit = (slices: readonly object[], group = '') =>
    ask('POST', '/v1/groups/g/commit', '/v1/groups/{group}/commit', { group, slices });
  assert.equal((await commit([{ slice, epoch, cursor }])).status, 200);
  assert.equal((await commit([{ slice, epoch: String(Number(epoch) - 1), cursor }])).json.code, 'fenced');
  assert.equal((await commit([{ slice, epoch: String(Number(epoch) - 1), cursor }])).status, 409);
  const ahead = await commit([{ slice, epoch, cursor: `${cursor}x` }]);
  assert.deepEqual([ahead.status, ahead.json.field], [400, 'slices[0].cursor']);
  assert.equal((await commit([])).json.field, 'slices');
  assert.equal((await commit([{ slice, epoch, cursor }], 'other')).json.field, 'group');
  assert.equal(
    (
      await commit([
        { slice, epoch, cursor },
        { slice, epoch, cursor },
      ])
    ).status,
    400,
  );
  const { json } = await ask('GET', '/v1/groups/g', '/v1/groups/{group}');
  const slices = json.slices as { cursor: string; committed?: string }[];
  assert.equal(slices[slice]?.cursor, cursor.split('~')[0]);
  assert.ok(slices[slice]?.committed);
  const metrics = await (await fetch(`http://${harness.broker.httpAddress}/metrics`)).text();
  assert.match(metrics, new RegExp(`backplane_group_lag_events\\{group="g",slice="${slice}"\\} 0`));
  stream.close();
});

test('a member by lines gets the slice of each event, by the query and by a body', async () => {
  const body = { topics: ['process'], since: '1h', follow: true, group: { name: 'g', slices: 8 } };
  const url = `http://${harness.broker.httpAddress}/v1/events`;
  const stream = await HttpStream.open(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  await until(
    'all events',
    () => stream.pids.length >= 10,
    () => stream.text,
  );
  for (const line of stream.lines) api.checkItem('POST', '/v1/events', 'application/x-ndjson', line);
  const items = stream.lines.map(({ result }) => result as { event?: object; slice?: number });
  assert.ok(items.filter(({ event }) => event).every(({ slice }) => typeof slice === 'number'));
  const list = await ask('GET', '/v1/groups', '/v1/groups');
  assert.equal((list.json.groups as object[]).length, 1);
  stream.close();
  await until('the group to be left', async () => {
    const { json } = await ask('GET', '/v1/groups/g', '/v1/groups/{group}');
    return (json.group as { members: object[] }).members.length === 0;
  });
  await ask('POST', '/v1/groups/g/filter', '/v1/groups/{group}/filter', { filter: 'process.pid > 5' });
  const wrong = await ask('POST', '/v1/groups/g/filter', '/v1/groups/{group}/filter', { filter: 'process.pidd > 5' });
  assert.equal(wrong.json.code, 'filter_invalid');
  await ask('POST', '/v1/groups/g/reset', '/v1/groups/{group}/reset', { to: 'now' });
  assert.equal((await ask('DELETE', '/v1/groups/g', '/v1/groups/{group}')).status, 200);
  assert.equal((await ask('GET', '/v1/groups/g', '/v1/groups/{group}')).status, 404);
});

test('what a query says of a group is checked as the rest is', async () => {
  const refused = async (query: string, status: number, field: string) => {
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/events?${query}`);
    const problem = (await answer.json()) as { field: string; detail: string };
    assert.deepEqual([answer.status, problem.field], [status, field], problem.detail);
  };
  await refused('member=one', 400, 'group');
  await refused('group=g', 400, 'group');
  await refused('group=g&follow=true&last=5', 400, 'last');
  await refused('group=g&follow=true&slices=9', 400, 'slices');
  await refused('group=a%20b&follow=true', 400, 'group');
  await refused('group=g&group=h&follow=true', 400, 'group');
});

/** A request, and all that comes. */
const READER = 'exec 3<>"/dev/tcp/$1/$2"; printf "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" >&3; cat <&3';

const { namespaces: noNamespaces } = refused();

test('a member over HTTP is gone when its machine is, though nothing happens that it could be told', {
  skip: noNamespaces ?? false,
}, async () => {
  await Promise.all([
    goneMember((namespace) => namespace.mute()),
    // Of which this machine's own kernel knows that nothing can be sent to it.
    goneMember((namespace) => namespace.down()),
  ]);
});

/** Resolves when a member whose machine `goes` is told to be silent. */
async function goneMember(goes: (namespace: Namespace) => void): Promise<void> {
  const namespace = Namespace.create();
  let silent = 0;
  const server = createServer((_request, response) => {
    const sink = new HttpSink(response, NDJSON);
    response.once(
      'close',
      sink.connection.watch(500, () => silent++),
    );
    sink.start();
  }).listen(0, namespace.hostAddress);
  try {
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const [enter, ...more] = namespace.enter;
    const reader = spawn(enter!, [...more, 'bash', '-c', READER, 'bash', namespace.hostAddress, String(port)]);
    let lines = 0;
    reader.stdout.on('data', (bytes: Buffer) => {
      lines += bytes.toString().split('keepAlive').length - 1;
    });
    // More often than one that is gone is looked at.
    await until(
      'signs of life',
      () => lines > 15,
      () => lines,
    );
    assert.equal(silent, 0);
    goes(namespace);
    await until('that it is gone', () => silent > 0);
    reader.kill('SIGKILL');
  } finally {
    server.closeAllConnections();
    server.close();
    namespace.remove();
  }
}
