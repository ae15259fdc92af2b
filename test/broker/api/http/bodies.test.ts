/** Requests with a JSON body: subscriptions, plans, histograms, budgets; read strictly, and bounded. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { PROBLEM_FIELD_CHARACTERS_MAX, REQUEST_BYTES_MAX } from '../../../../src/limits.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { HttpStream, type Problem } from '../../../harness/broker/http-stream.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const JSON_HEADERS = { 'content-type': 'application/json' };

async function send(method: string, path: string, body: object | string | Buffer, headers = JSON_HEADERS) {
  const raw = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const response = await fetch(`http://${harness.broker.httpAddress}${path}`, {
    method,
    headers,
    body: raw as NonNullable<RequestInit['body']>,
  });
  return { status: response.status, answer: (await response.json()) as Problem & Record<string, unknown> };
}

async function events(body: object): Promise<HttpStream> {
  const url = `http://${harness.broker.httpAddress}/v1/events`;
  const stream = await HttpStream.open(url, { method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(body) });
  await until('the end', () => stream.done);
  return stream;
}

test('the whole request is the body, by the names of JSON or of the protos, with counts as text or number', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 21)) agent.recorder.record('process.exec', pid);
  const asked = { topics: ['process'], nodes: ['a', 'b*'], filter: 'process.pid > 5', since: '1h', throttle: '1ns' };
  for (const body of [
    { ...asked, limit: '10', includeSelf: true, throttleBy: ['process.pid'], cursor: null },
    { ...asked, limit: 10, include_self: true, throttle_by: ['process.pid'] },
  ]) {
    const stream = await events(body);
    assert.deepEqual(stream.pids, range(6, 16), JSON.stringify(stream.lines.at(-1)));
    assert.equal(stream.lines.at(-1)?.end?.reason, 'limit');
  }
  assert.equal((await events({})).pids.length, 20, 'an empty request is the last 20');
});

test('what is no field, of another type or given twice is refused, with the field and the nearest name', async () => {
  const refused: readonly [object, RegExp, string, string?][] = [
    [{ topcs: [] }, /^"topcs": is no field of SubscribeRequest, did you mean "topics"\?$/, 'topcs', 'topics'],
    [{ lag_mx: '' }, /^"lag_mx": is no field/, 'lag_mx', 'lagMax'],
    [{ topics: 'process' }, /^topics: must be a list, got "process"$/, 'topics'],
    [{ topics: ['process', 3] }, /^topics\[1\]: must be text, got 3$/, 'topics[1]'],
    [{ follow: 'true' }, /^follow: must be true or false, got "true"$/, 'follow'],
    [{ last: -1 }, /^last: must be a whole number from 0 to 4294967295, got -1$/, 'last'],
    [{ limit: 1.5 }, /^limit: must be a whole number/, 'limit'],
    [{ limit: 2 ** 53 }, /^limit: must be text beyond 9007199254740991, got 9007199254740992$/, 'limit'],
    [{ limit: '18446744073709551616' }, /^limit: must be a whole number/, 'limit'],
    [{ limit: '1e3' }, /^limit: must be a whole number/, 'limit'],
    [{ lagMax: '1s', lag_max: '1s' }, /^lag_max: is given twice, by both of its names$/, 'lag_max'],
    [{ filter: { x: 1 } }, /^filter: must be text, got an object$/, 'filter'],
    [{ topics: ['proces'] }, /^topics: unknown topic "proces", did you mean "process"\?/, 'topics', 'process'],
    [JSON.parse('{"__proto__": {"follow": true}}'), /^"__proto__": is no field/, '__proto__'],
  ];
  for (const [body, detail, field, suggestion] of refused) {
    const { status, answer } = await send('POST', '/v1/events', body);
    assert.deepEqual([status, answer.code, answer.field], [400, 'invalid_argument', field], JSON.stringify(answer));
    assert.match(answer.detail, detail);
    if (suggestion !== undefined) assert.equal(answer.suggestion, suggestion);
  }
  for (const [body, name] of [
    ['{"topics": ["process"], "filter": "true", "topics": ["file"]}', 'topics'],
    ['{"filter": "true", "f\\u0069lter": "false"}', 'filter'],
    ['{"selectors": [{"id": "a"}, {"id": "b", "filter": "\\"}{:,", "id": "c"}]}', 'id'],
  ] as const) {
    const { status, answer } = await send('POST', '/v1/events', body);
    assert.deepEqual([status, answer.code, answer.field], [400, 'invalid_argument', 'body']);
    assert.equal(answer.detail, `body: must have each name once, has "${name}" twice`);
  }
  const long = await send('POST', '/v1/explain', { subscription: { ['x'.repeat(REQUEST_BYTES_MAX / 2)]: 1 } });
  assert.equal(long.answer.field, `subscription.${'x'.repeat(PROBLEM_FIELD_CHARACTERS_MAX)}`.slice(0, -13));
  const deep = await send('PUT', '/v1/budgets', { nodes: ['*'], budget: { liveBytes: 1 } });
  assert.equal(deep.answer.field, 'budget.liveBytes');
  assert.match(deep.answer.detail, /^"budget\.liveBytes": is no field of Budget/);
});

test('a body that is too large, of another kind, packed or no JSON is refused before anything is done for it', async () => {
  const text = (body: string) => send('POST', '/v1/events', body);
  const large = `{"filter":"${'x'.repeat(REQUEST_BYTES_MAX)}"}`;
  const bomb = gzipSync(Buffer.alloc(1 << 20));
  const rows: readonly [ReturnType<typeof send>, number, string, string][] = [
    [text(large), 413, 'too_large', 'the body must be at most 131072 bytes'],
    [
      send('POST', '/v1/events', bomb, { ...JSON_HEADERS, 'content-encoding': 'gzip' } as never),
      ...([415, 'invalid_argument', 'Content-Encoding must be identity, got "gzip": bodies are not unpacked'] as const),
    ],
    [
      send('POST', '/v1/events', '{}', { 'content-type': 'text/plain' }),
      ...([415, 'invalid_argument', 'Content-Type must be application/json, got "text/plain"'] as const),
    ],
    [text('{"a":'), 400, 'invalid_argument', 'body: is not JSON'],
    [text('{} x'), 400, 'invalid_argument', 'body: is not JSON (at character 4)'],
    [send('POST', '/v1/events', Buffer.from([0x22, 0xff, 0x22])), 400, 'invalid_argument', 'body: is not UTF-8'],
    [text('[]'), 400, 'invalid_argument', 'body: must be a JSON object, got a list'],
    [text('['.repeat(60_000) + ']'.repeat(60_000)), 400, 'invalid_argument', 'body: must be a JSON object, got a list'],
  ];
  for (const [sent, status, code, detail] of rows) {
    const { answer } = await sent;
    assert.deepEqual([answer.status, answer.code, answer.detail], [status, code, detail]);
  }
  // Without a length, it is too large when so much has come.
  const chunked = new ReadableStream({
    start(controller) {
      for (let part = 0; part < 40; part++) controller.enqueue(Buffer.alloc(4096, ' '));
      controller.close();
    },
  });
  const url = `http://${harness.broker.httpAddress}/v1/events`;
  const init = { method: 'POST', headers: JSON_HEADERS, body: chunked, duplex: 'half' };
  assert.equal((await fetch(url, init as RequestInit)).status, 413);
});

test('a histogram counts what a filter matches, by time and topic, and says what nodes had', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(0, 100)) agent.recorder.record(pid % 4 ? 'process.exec' : 'network.tcp.connect', pid);
  const [first, last] = [agent.recorder.events[0]!.event.wallNs, agent.recorder.events.at(-1)!.event.wallNs];
  const at = (ns: bigint) => new Date(Number(ns / 1_000_000n)).toISOString();
  const subscription = { since: at(first), until: at(last + 10_000_000n), filter: 'process.pid >= 20' };
  await until('the window is past', () => BigInt(Date.now()) * 1_000_000n > last + 20_000_000n);
  const counted = async (body: object) => (await send('POST', '/v1/histogram', body)).answer;
  const answer = await counted({ subscription, buckets: 5 });
  const series = answer.series as { topic: string; counts: number[] }[];
  assert.deepEqual(
    series.map(({ topic }) => topic),
    ['network', 'process'],
    JSON.stringify(answer),
  );
  for (const { topic, counts } of series) {
    assert.equal(counts.length, 5);
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      topic === 'process' ? 60 : 20,
    );
  }
  const width = Number(answer.bucketNs) / 1e6;
  const expected = range(0, 5).map(
    (bucket) => range(20, 100).filter((pid) => pid % 4 && Math.min(4, Math.floor(pid / width)) === bucket).length,
  );
  assert.deepEqual(series[1]!.counts, expected);
  const { nodes } = answer.coverage as { nodes: { node: string; events: string }[] };
  assert.deepEqual(
    nodes.map(({ node, events }) => [node, events]),
    [['a', '80']],
  );
  for (const [body, field] of [
    [{}, 'subscription'],
    [{ subscription: {} }, 'subscription.since'],
    [{ subscription: { since: '1h', follow: true } }, 'subscription.follow'],
    [{ subscription: { since: '1h', limit: 5 } }, 'subscription.limit'],
    [{ subscription: { since: '1h', fields: ['proces.pid'] } }, 'subscription.fields'],
    [{ subscription: { since: '1h', throttleBy: ['node'] } }, 'subscription.throttle_by'],
    [{ subscription: { since: '1h' }, buckets: 241 }, 'buckets'],
  ] as const)
    assert.equal((await counted(body)).field, field);
});

test('filter fields come with type, description and their place in JSON', async () => {
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/fields`);
  const { fields } = (await response.json()) as { fields: Record<string, unknown>[] };
  const found = (name: string) => fields.find((field) => field.name === name);
  const args = found('process.command_args')!;
  assert.deepEqual([args.type, args.jsonPath, args.onlyNamed], ['list(string)', 'process.commandArgs', false]);
  assert.match(String(args.description), /^All arguments including the zeroth, redacted/);
  assert.equal(found('process.exit_code')?.onlyNamed, true);
  assert.deepEqual([found('event.time')?.jsonPath, found('host.name')?.jsonPath], ['time', 'node']);
  assert.equal(found('syscall.arg3')?.jsonPath, 'syscall.args[3]');
  assert.equal(found('k8s.namespace.name')?.jsonPath, 'k8s.namespace.name');
  assert.deepEqual([found('host.labels')?.type, found('host.labels')?.jsonPath], ['list(string)', '']);
});
