/** Whatever is answered over HTTP is as the served OpenAPI document says, to the field: see ApiDocument. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { NDJSON } from '../../../../src/broker/api/http/stream-formats.js';
import { RETIRE_AT_ONCE, RETIRE_UNKNOWN_MS } from '../../../../src/limits.js';
import { EventWriter } from '../../../../src/wire/event/event-writer.js';
import { encodeEventBatch } from '../../../../src/wire/frame/splice.js';
import { responseToJson } from '../../../../src/wire/message-json.js';
import { subscribeResponseCodec } from '../../../../src/wire/messages.js';
import { event } from '../../../harness/arbitrary/event-arbitrary.js';
import { ApiDocument } from '../../../harness/broker/api-document.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { HttpStream } from '../../../harness/broker/http-stream.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
let api: ApiDocument;
beforeEach(async () => {
  harness = await Harness.start();
  api = await ApiDocument.of(harness.broker.httpAddress);
});
afterEach(() => harness.destroy());

const SELECTORS = [
  { id: 'odd', topics: ['process'], filter: 'process.pid < 20', fields: ['process.pid'] },
  { id: 'all' },
];

const url = (path: string) => `http://${harness.broker.httpAddress}${path}`;

/** Asks, and checks the answer (or refusal) against the document. `path`: as the table has it. */
async function ask(method: string, path: string, body?: unknown, target = path): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(
    url(target),
    body === undefined ? { method } : { method, headers, body: JSON.stringify(body) },
  );
  const type = response.headers.get('content-type') ?? '';
  const answer = type.includes('json') ? await response.json() : await response.text();
  api.checkAnswer(method, path, response.status, type, answer);
  if (body !== undefined && response.ok) api.checkBody(method, path, body);
  return answer as Record<string, unknown>;
}

async function recorded(): Promise<TestAgent> {
  const agent = await harness.agent('a', undefined, { budget: { liveBytesPerSecond: 1_000_000 } });
  for (const pid of range(1, 50)) agent.recorder.record(pid % 2 ? 'process.exec' : 'network.tcp.connect', pid);
  return agent;
}

test('every route answers as the document says, and there are no others', async () => {
  const agent = await recorded();
  await harness.subscribe({ selectors: SELECTORS, follow: true }).isAccepted();
  agent.kill();
  await harness.agent('b');
  const subscription = { topics: ['process'], since: '1h' };
  const bodies: Readonly<Record<string, unknown>> = {
    'POST /v1/explain': { subscription: { nodes: ['b'], limit: '5', selectors: SELECTORS } },
    'POST /v1/histogram': { subscription, buckets: 3 },
    'POST /v1/app/{topic}': { id: '1', type: 'x', time: '2026-01-31T12:00:00Z', body: { a: [1, null, { b: 'c' }] } },
    'PUT /v1/budgets': { nodes: ['b'], budget: { liveBytesPerSecond: '500000' } },
  };
  const asked: string[] = [];
  for (const [path, operations] of Object.entries(api.document.paths)) {
    for (const [name, { responses }] of Object.entries(operations)) {
      const method = name.toUpperCase();
      // Those of one group want one, with members or without: see groups/http-groups.test.ts.
      // A broker that retired serves no other: see below.
      if (path.includes('{group}') || path === '/v1/retire') continue;
      const content = Object.keys(responses['200']?.content ?? {});
      if (content.includes('text/event-stream')) continue;
      const answer = await ask(
        method,
        path,
        bodies[`${method} ${path}`],
        path.replace('{node}', 'a').replace('{topic}', 'app.a'),
      );
      assert.ok(!('code' in Object(answer)), `${method} ${path}: ${JSON.stringify(answer)}`);
      asked.push(`${method} ${path}`);
    }
  }
  for (const request of Object.keys(bodies)) assert.ok(asked.includes(request), request);
  const { budgets } = await ask('GET', '/v1/budgets');
  assert.deepEqual(
    (budgets as { node: string; set?: { liveBytesPerSecond: string } }[]).map(({ node, set }) => [
      node,
      set?.liveBytesPerSecond,
    ]),
    [['b', '500000']],
  );
  const withinMs = Math.ceil((2 * RETIRE_UNKNOWN_MS) / RETIRE_AT_ONCE);
  assert.deepEqual(await ask('POST', '/v1/retire', { force: true }), { agents: 1, subscribers: 1, withinMs });
});

test('refusals are problems with the field, and where it is a filter with the place', async () => {
  const found = async (body: object) => {
    const { code, field, column, length, suggestion, status } = await ask('POST', '/v1/explain', {
      subscription: body,
    });
    return { code, field, column, length, suggestion, status };
  };
  const nothing = { column: undefined, length: undefined, suggestion: undefined, status: 400 };
  assert.deepEqual(await found({ filter: 'true && process.comandArgs.exists(a, a == "x")' }), {
    ...{ code: 'filter_invalid', field: 'filter', column: 9, length: 18 },
    ...{ suggestion: 'process.command_args', status: 400 },
  });
  assert.deepEqual(await found({ filter: 'process.pid = 1' }), {
    ...{ code: 'filter_invalid', field: 'filter', column: 13, length: 1, suggestion: '==', status: 400 },
  });
  const invalid = { ...nothing, code: 'invalid_argument' };
  assert.deepEqual(await found({ topics: ['proces'] }), { ...invalid, field: 'topics', suggestion: 'process' });
  assert.deepEqual(await found({ nodes: [''] }), { ...invalid, field: 'nodes' });
  assert.deepEqual(await found({ fields: ['process.ped'] }), {
    ...invalid,
    field: 'fields',
    suggestion: 'process.pid',
  });
  assert.deepEqual(await found({ since: 'x' }), { ...invalid, field: 'since' });
  assert.deepEqual(await found({ cursor: '§' }), { ...nothing, code: 'cursor_invalid', field: 'cursor' });
  assert.deepEqual(await found({ lagPolicy: 'drop' }), { ...invalid, field: 'lag_policy' });
  const missing = await ask('DELETE', '/v1/nodes/{node}', undefined, '/v1/nodes/nobody');
  assert.deepEqual([missing.code, missing.field, missing.status], ['not_found', 'nodes', 404]);
  await harness.agent('here');
  const connected = await ask('DELETE', '/v1/nodes/{node}', undefined, '/v1/nodes/here');
  assert.deepEqual([connected.code, connected.status], ['failed_precondition', 409]);
  const parameter = await ask('GET', '/v1/events', undefined, '/v1/events?sinc=1h');
  assert.deepEqual([parameter.field, parameter.suggestion], ['sinc', 'since']);
});

const KINDS: Readonly<Record<string, readonly string[]>> = {
  'application/x-ndjson': [
    ...[
      'event,history',
      'cursor,event,history',
      'cursor,event,history,selectors',
      'accepted',
      'gap',
      'nodeStatus',
      'watermark',
      'coverage',
      'end',
    ],
    'error',
  ],
  'text/event-stream': ['message', 'accepted', 'gap', 'node', 'watermark', 'coverage', 'end', 'problem'],
};

for (const [accept, kinds] of Object.entries(KINDS)) {
  test(`every item of ${accept} is as the document says`, async () => {
    const agent = await recorded();
    const open = (query: string) => HttpStream.open(url(`/v1/events?${query}`), { headers: { accept } });
    const [live, quiet] = [await open('since=1h&follow=true'), await open('follow=true&filter=process.pid==424242')];
    const body = JSON.stringify({ selectors: SELECTORS, since: '1h', follow: true });
    const headers = { accept, 'content-type': 'application/json' };
    const several = await HttpStream.open(url('/v1/events'), { method: 'POST', headers, body });
    const streams = [live, quiet, several, await open('since=1h'), await open('since=1h&limit=3')];
    await ask('POST', '/v1/app/{topic}', { events: [{ id: '1', body: [] }, { id: '2' }] }, '/v1/app/app.a');
    await ask('POST', '/v1/app/{topic}', { id: '1', body: { severity: 1, details: { a: 1 } } }, '/v1/app/alert');
    await ask('DELETE', '/v1/nodes/{node}', undefined, '/v1/nodes/nobody');
    streams.push(await open('topic=app.*&topic=alert&topic=audit&since=1h&follow=true&limit=4'));
    if (accept === 'text/event-stream') streams.push(await open('cursor=nonsense'));
    else api.checkItem('GET', '/v1/events', accept, JSON.parse(NDJSON.idle.text));
    await until('live', () => /coverage/.test(live.text) && /accepted/.test(quiet.text));
    agent.shedding = true;
    for (const pid of range(100, 110)) agent.recorder.record('process.exec', pid);
    agent.publish();
    agent.shedding = false;
    for (const pid of range(110, 120)) agent.recorder.record('process.exec', pid);
    agent.publish();
    await until('selectors', () => /"selectors":\["odd","all"\]/.test(several.text) && /gap/.test(several.text));
    await until('a gap and events', () => live.pids.length >= 59 && /gap/.test(live.text));
    await until('a watermark', () => /watermark/.test(quiet.text));
    agent.kill();
    await until('that the node is gone', () => /NODE_STATE_GONE/.test(quiet.text));
    await harness.broker.drain();
    await until('all ends', () => streams.every(({ done }) => done));
    const items = streams.flatMap((stream): (readonly [string, object])[] =>
      stream.isLines
        ? stream.lines.map((line) => [
            Object.keys(line.result ?? line)
              .sort()
              .join(),
            line,
          ])
        : stream.events.map((event) => [event.event ?? '', event]),
    );
    for (const [, item] of items) api.checkItem('GET', '/v1/events', accept, item);
    const came = new Set(items.map(([kind]) => kind));
    for (const kind of kinds) assert.ok(came.has(kind), `${kind} among ${[...came].join(' ')}`);
  });
}

test('every event that a node may write is as the document says', () => {
  const writer = new EventWriter();
  const header = { node: 'a', topic: 'process', history: true, cursor: 'c' };
  fc.assert(
    fc.property(event, (written) => {
      writer.write(written);
      const bytes = encodeEventBatch(header, [Buffer.from(writer.take())]);
      for (const result of responseToJson(subscribeResponseCodec.decode(bytes, bytes.length))) {
        api.checkItem('GET', '/v1/events', 'application/x-ndjson', JSON.parse(JSON.stringify({ result })));
      }
    }),
    { numRuns: runs(200) },
  );
});

test('the judge refuses what the document does not name', () => {
  const check = (item: unknown) => () => api.checkItem('GET', '/v1/events', 'application/x-ndjson', item);
  check({ result: { event: { type: 'process.exec', process: { pid: 1 } } } })();
  assert.throws(check({ result: { event: { type: 'process.exec', process: { ped: 1 } } } }), /unevaluated/);
  assert.throws(check({ result: { event: { position: { timeNs: 5 } } } }), /must be string/);
  assert.throws(check({ result: {}, error: { type: '', title: '', status: 1, detail: '', code: '' } }), /more than 1/);
});
