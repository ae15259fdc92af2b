/** Publishing: what is refused and how, what is a duplicate, and what each identity may. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type ServiceError, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { PUBLISHING } from '../../../src/broker/app/publisher.js';
import { JSON_DEPTH_MAX, KiB } from '../../../src/limits.js';
import { DETAILS_KEY, retryOfStatus } from '../../../src/wire/grpc/status-details.js';
import type { JsonValue } from '../../../src/wire/json-value.js';
import { bodiesOf, documentsOf, idsOf, published } from '../../harness/broker/documents.js';
import { Harness } from '../../harness/broker/harness.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
});
afterEach(() => harness.destroy());

async function post(
  topic: string,
  body: unknown,
  type = 'application/json',
): Promise<{ status: number; json: Record<string, unknown>; retry: string | null }> {
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/app/${topic}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return {
    status: response.status,
    json: (await response.json()) as Record<string, unknown>,
    retry: response.headers.get('retry-after'),
  };
}

function nested(depth: number): JsonValue {
  let value: JsonValue = 1;
  for (let at = 0; at < depth; at++) value = [value];
  return value;
}

const REFUSED: readonly (readonly [topic: string, event: object, http: number, grpc: status, detail: RegExp])[] = [
  [
    'process',
    { id: '1' },
    400,
    status.INVALID_ARGUMENT,
    /^topic: must be app\.NAME.*got "process", did you mean "app.process"\?$/,
  ],
  ['audit', { id: '1' }, 400, status.INVALID_ARGUMENT, /^topic: must be app\.NAME/],
  ['app.*', { id: '1' }, 400, status.INVALID_ARGUMENT, /^topic: must be app\.NAME/],
  ['app.UPPER', { id: '1' }, 400, status.INVALID_ARGUMENT, /^topic: must be app\.NAME/],
  ['app.a', {}, 400, status.INVALID_ARGUMENT, /^id: must be given/],
  ['app.a', { id: 'x'.repeat(257) }, 400, status.INVALID_ARGUMENT, /^id: must be at most 256 bytes, got 257$/],
  ['app.a', { id: 'a\r\nb' }, 400, status.INVALID_ARGUMENT, /^id: must not have control characters/],
  ['app.a', { id: '1', type: '\u001b[31m' }, 400, status.INVALID_ARGUMENT, /^type: must not have control characters/],
  ['app.a', { id: '1', traceparent: 'x' }, 400, status.INVALID_ARGUMENT, /^traceparent: must be like 00-/],
  ['app.a', { id: '1', body: nested(JSON_DEPTH_MAX + 1) }, 400, status.INVALID_ARGUMENT, /must be at most 16 deep$/],
  [
    'app.a',
    { id: '1', body: 'x'.repeat(32 * KiB) },
    413,
    status.RESOURCE_EXHAUSTED,
    /^body: must be at most 32768 bytes as JSON, got 32770$/,
  ],
  ['alert', { id: '1' }, 400, status.INVALID_ARGUMENT, /^body: must be given: the fields of an alert$/],
  [
    'alert',
    { id: '1', body: { titel: 'x' } },
    400,
    status.INVALID_ARGUMENT,
    /^"?body\.titel"?: is no field of Alert, did you mean "title"\?$/,
  ],
  [
    'alert',
    { id: '1', body: { severity: 6 } },
    400,
    status.INVALID_ARGUMENT,
    /^body\.severity: must be 1 to 5, got 6$/,
  ],
];

test('refusals are the same over gRPC and HTTP: their status, their field, and nothing is stored', async () => {
  await harness.startBroker();
  const many = Array.from({ length: 1_001 }, (_, at) => ({ id: String(at) }));
  for (const [topic, event, http, grpc, detail] of REFUSED) {
    const answer = await post(encodeURIComponent(topic), event);
    assert.deepEqual(
      [answer.status, detail.test(String(answer.json.detail))],
      [http, true],
      JSON.stringify(answer.json),
    );
    const { body, ...attributes } = event as { id: string; body?: JsonValue };
    const publisher = harness.publisher();
    await assert.rejects(
      publisher.publish(topic, [published(attributes.id ?? '', body, attributes)]),
      (error: ServiceError) => {
        assert.deepEqual([error.code, detail.test(error.details)], [grpc, true], error.details);
        return true;
      },
    );
  }
  const proto = await post('app.a', '{"id": "1", "body": {"a": {"__proto__": {"x": 1}}}}');
  assert.deepEqual([proto.status, proto.json.detail], [400, 'body.a: must not have the name __proto__']);
  const batch = await post('app.a', { events: [{ id: 'fine' }, { id: 'also' }, { id: 'x', bdy: 1 }] });
  assert.deepEqual([batch.status, batch.json.field, batch.json.suggestion], [400, 'events[2].bdy', 'body']);
  assert.deepEqual([(await post('app.a', { events: many })).status, (await post('app.a', many)).status], [413, 413]);
  assert.equal((await post('app.a', { events: [] })).status, 400);
  assert.equal((await post('app.a', { events: [{ id: '1' }], topic: 'app.b' })).status, 400);
  assert.equal((await post('app.a', [1])).status, 400);
  assert.equal((await post('app.a', `{"id": "1", "body": "${'x'.repeat(1 << 20)}"}`)).status, 413);
  assert.equal((await post('app.a', 'id=1', 'application/x-www-form-urlencoded')).status, 415);
  const all = harness.subscribe({ topics: ['app.*', 'alert'], since: '1h' });
  await all.end();
  assert.deepEqual(idsOf(all), []);
});

test('an id that comes again is acknowledged and not stored, within a batch, from another stream, after a restart', async () => {
  await harness.startBroker();
  const publisher = harness.publisher();
  const first = await publisher.publish('app.a', [published('1', 'first'), published('2'), published('1', 'again')]);
  assert.deepEqual([first.duplicates, Number(first.offset) > 0], [1, true]);
  assert.deepEqual(await publisher.publish('app.a', [published('2')]), { ...first, seq: '2', duplicates: 1 });
  assert.equal((await publisher.publish('app.b', [published('1')])).duplicates, 0);
  assert.deepEqual((await post('app.a', { id: '1' })).json.duplicates, 1);
  await harness.broker.abort();
  await harness.startBroker();
  assert.deepEqual((await post('app.a', [{ id: '2' }, { id: '3' }])).json.duplicates, 1);
  const all = harness.subscribe({ topics: ['app.*'], since: '1h' });
  await all.end();
  assert.deepEqual(
    documentsOf(all).map(({ node, topic, event }) => [node, topic, event.app?.id]),
    [
      ['@anonymous', 'app.a', '1'],
      ['@anonymous', 'app.a', '2'],
      ['@anonymous', 'app.b', '1'],
      ['@anonymous', 'app.a', '3'],
    ],
  );
  assert.equal(bodiesOf(all)[0], 'first');
  const metrics = await (await fetch(`http://${harness.broker.httpAddress}/metrics`)).text();
  assert.match(metrics, /backplane_published_events_total\{log="app"\} 1\n/);
  assert.match(metrics, /backplane_published_duplicates_total 1\n/);
  assert.match(metrics, /backplane_audit_dropped_total 0\n/);
});

test('over its rates an identity is told when to come again, and batches before are acknowledged', async () => {
  harness.publishing = { ...PUBLISHING, rate: { bytesPerSecond: 1 << 20, eventsPerSecond: 10, burstMs: 500 } };
  await harness.startBroker();
  const batch = (from: number) => Array.from({ length: 1_000 }, (_, at) => published(`${from + at}`));
  const publisher = harness.publisher();
  publisher.send('app.a', batch(0));
  const error = await publisher.publish('app.a', batch(1_000)).catch((cause: ServiceError) => cause);
  assert.ok('code' in error && error.code === status.RESOURCE_EXHAUSTED, JSON.stringify(error));
  assert.deepEqual(
    publisher.answers.map(({ seq }) => seq),
    ['1'],
  );
  const waitMs = retryOfStatus(error.metadata.get(DETAILS_KEY)[0] as Buffer)!;
  assert.ok(waitMs > 0 && waitMs <= 100_000, `${waitMs}`);
  const refused = await post(
    'app.a',
    Array.from({ length: 1_000 }, (_, at) => ({ id: `${1_000 + at}` })),
  );
  assert.deepEqual([refused.status, Number(refused.retry) >= 1, refused.json.code], [429, true, 'resource_exhausted']);
});

test('a broker that drains acknowledges what came, ends streams that are open, and waits for none', async () => {
  await harness.startBroker();
  const [idle, busy] = [harness.publisher(), harness.publisher()];
  await idle.publish('app.a', [published('1')]);
  const batches = Array.from({ length: 20 }, (_, at) => busy.send('app.a', [published(`busy-${at}`)]));
  await until('the first', () => busy.answers.length > 0);
  await harness.broker.drain();
  await until('the end of both', () => idle.error && busy.error);
  assert.deepEqual([idle.error?.code, busy.error?.code], [status.UNAVAILABLE, status.UNAVAILABLE]);
  await harness.startBroker();
  const all = harness.subscribe({ topics: ['app.a'], filter: 'app.id != "1"', since: '1h' });
  await all.end();
  assert.deepEqual(
    busy.answers.map(({ seq }) => Number(seq)),
    batches.slice(0, idsOf(all).length),
  );
});

test('fuzz: whatever JSON is published is itself for who subscribes, over gRPC and in lines of HTTP', async () => {
  harness.publishing = { ...PUBLISHING, rate: { bytesPerSecond: 1 << 30, eventsPerSecond: 1e8, burstMs: 1_000 } };
  await harness.startBroker();
  const json = fc.jsonValue({ maxDepth: 6 }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);
  const given = fc.sample(json, runs(150)).filter((value) => !/__proto__|\\ud[89a-f]/i.test(JSON.stringify(value)));
  const odd: JsonValue[] = [
    null,
    '',
    '<script>\u001b[31m\r\n\u202e',
    { constructor: {}, fields: {}, seconds: '1', nanos: 1 },
  ];
  const bodies: readonly JsonValue[] = [...given, ...odd];
  const publisher = harness.publisher();
  // However many there are: batches have bounds.
  for (let from = 0; from < bodies.length; from += 200) {
    const batch = bodies.slice(from, from + 200).map((body, at) => ({ id: String(from + at), body }));
    await publisher.publish(
      'app.fuzz',
      batch.slice(0, 100).map(({ id, body }) => published(id, body)),
    );
    const rest = batch.slice(100);
    if (rest.length > 0) assert.equal((await post('app.fuzz', rest)).status, 200);
  }
  // Over HTTP null is a field that is not given.
  const expected = bodies.map((body, at) => (body === null && at % 200 >= 100 ? undefined : body));
  const all = harness.subscribe({ topics: ['app.fuzz'], since: '1h' });
  await all.end();
  assert.deepEqual(
    bodiesOf(all).map((body) => body ?? undefined),
    expected.map((body) => body ?? undefined),
  );
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/events?topic=app.fuzz&since=1h`);
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const inLines = lines.flatMap(({ result }) => (result?.event ? [result.event.app.body ?? undefined] : []));
  assert.deepEqual(
    inLines,
    expected.map((body) => body ?? undefined),
  );
});

test('what a disk takes and cannot keep is told to who waits and to who sent more; the broker stays', async () => {
  const disk = new FaultyFiles();
  harness.files = disk.ops;
  await harness.startBroker();
  const [waiting, busy] = [harness.publisher(), harness.publisher()];
  await waiting.publish('app.a', [published('1')]);
  await busy.publish('app.a', [published('2')]);
  let open = () => {};
  disk.gate = new Promise((resolve) => {
    open = resolve;
  });
  disk.failNext = { operation: 'sync', code: 'EIO' };
  waiting.send('app.a', [published('3')]);
  for (const id of ['4', '5', '6']) busy.send('app.a', [published(id)]);
  await until('all are written', async () => {
    const response = await fetch(`http://${harness.broker.httpAddress}/v1/topics`);
    const { topics } = (await response.json()) as { readonly topics: readonly { name: string; events: string }[] };
    return topics.some(({ name, events }) => name === 'app.*' && events === '6');
  });
  open();
  await until('both are told', () => waiting.error && busy.error);
  assert.deepEqual([waiting.error?.code, busy.error?.code], [status.UNAVAILABLE, status.UNAVAILABLE]);
  assert.deepEqual([waiting.answers.length, busy.answers.length], [1, 1]);
});
