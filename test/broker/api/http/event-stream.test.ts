/** Server-sent events, as a browser's EventSource asks for them: names, ids, coming back, and being told to stop. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { HttpSink } from '../../../../src/broker/api/http/http-sink.js';
import { EVENT_STREAM, NDJSON } from '../../../../src/broker/api/http/stream-formats.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { HttpStream, type Item, type Problem, type ServerSentEvent } from '../../../harness/broker/http-stream.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
let agent: TestAgent;
beforeEach(async () => {
  harness = await Harness.start();
  agent = await harness.agent('a');
  for (const pid of range(1, 41)) agent.recorder.record('process.exec', pid);
});
afterEach(() => harness.destroy());

/** As EventSource asks. `lastId`: what it sends when it comes back. */
function listen(query: string, lastId?: string): Promise<HttpStream> {
  const back = lastId === undefined ? {} : { 'last-event-id': lastId };
  const url = `http://${harness.broker.httpAddress}/v1/events?topic=process&${query}`;
  return HttpStream.open(url, { headers: { accept: 'text/event-stream', ...back } });
}

async function whole(query: string, lastId?: string): Promise<HttpStream> {
  const stream = await listen(query, lastId);
  await until(`the end of ${query}`, () => stream.done);
  return stream;
}

const idsOf = (events: readonly ServerSentEvent[]) => events.flatMap(({ id }) => id ?? []);

test('a replay comes as named events; cursors are the ids, and the last one says that it is over', async () => {
  const { response, text, events, pids } = await whole('since=1h');
  assert.equal(response.status, 200);
  const { headers } = response;
  assert.equal(headers.get('content-type'), 'text/event-stream; charset=utf-8');
  assert.equal(headers.get('cache-control'), 'no-store, no-transform');
  assert.equal(headers.get('x-accel-buffering'), 'no');
  assert.ok(text.startsWith('retry: 2000\n\n'), text.slice(0, 40));
  assert.deepEqual(pids, range(1, 41));
  const names = events.map(({ event }) => event);
  assert.deepEqual([names[0], ...new Set(names.slice(1))], ['accepted', 'message', 'coverage', 'end']);
  for (const { event, id, data } of events) {
    const { cursor } = data as Item;
    if (event === 'message') assert.equal(id, cursor);
    if (event === 'coverage') assert.equal(id, cursor);
  }
  const coverage = events.find(({ event }) => event === 'coverage')?.id;
  assert.ok(coverage);
  assert.deepEqual(events.at(-1), { event: 'end', id: 'end', data: { reason: 'window', cursor: coverage } });
});

test('a browser that comes back goes on behind its last id, whatever its URL says, and is stopped when it is done', async () => {
  const first = await whole('since=1h&limit=25');
  assert.deepEqual(first.pids, range(1, 26));
  assert.deepEqual((first.events.at(-1)!.data as { reason: string }).reason, 'limit');
  const last = idsOf(first.events).findLast((id) => id !== 'end')!;
  for (const query of ['since=1h', 'last=30', '', `cursor=${last}`, 'since=1h&follow=true']) {
    const again = await listen(query, last);
    await until('the rest', () => again.pids.length >= 15);
    assert.deepEqual(again.pids, range(26, 41), query);
    again.close();
  }
  // Lines resume by what the URL says: no browser asks for them so.
  const url = `http://${harness.broker.httpAddress}/v1/events?topic=process&since=1h`;
  const lines = await HttpStream.open(url, { headers: { 'last-event-id': last } });
  await until('the end', () => lines.done);
  assert.equal(lines.pids.length, 40);
  const done = idsOf((await whole('since=1h')).events).at(-2)!;
  for (const lastId of ['end', done]) {
    const { response, text } = await whole('since=1h', lastId);
    assert.deepEqual([response.status, text], [204, ''], lastId);
  }
  // Nothing of another subscription has come.
  const other = await whole('since=1h&filter=process.pid%3D%3D1', done);
  assert.deepEqual(
    other.events.map(({ event, data }) => [event, (data as Problem).code]),
    [['problem', 'cursor_invalid']],
  );
  // A replay's end is where live events begin.
  const live = await listen('since=1h&follow=true', done);
  await until('accepted', () => live.events.length > 0);
  agent.recorder.record('process.exec', 99);
  agent.publish();
  await until('the next one', () => live.pids.length > 0);
  assert.deepEqual(live.pids, [99]);
  live.close();
});

test('who asks as EventSource is told in the stream why not, and not to come back, but for what passes', async () => {
  const refused: readonly [string, string | undefined, string, string][] = [
    ['since=x', undefined, 'invalid_argument', 'since'],
    ['filter=proces.pid%3D%3D1', undefined, 'filter_invalid', 'filter'],
    ['sinc=1h', undefined, 'invalid_argument', 'sinc'],
    ['since=1h', 'nonsense', 'cursor_invalid', 'cursor'],
  ];
  for (const [query, lastId, code, field] of refused) {
    const { response, events } = await whole(query, lastId);
    const [{ event, id, data }] = events as [ServerSentEvent];
    const problem = data as Problem;
    assert.deepEqual([response.status, events.length, event, id], [200, 1, 'problem', 'end'], query);
    assert.deepEqual([problem.code, problem.field, problem.status], [code, field, 400], query);
  }
  const live = await listen('follow=true');
  await until('accepted', () => live.events.length > 0);
  agent.recorder.record('process.exec', 99);
  agent.publish();
  await until('an event', () => live.pids.length === 1);
  agent.kill();
  await harness.broker.drain();
  await until('the end', () => live.done);
  const { event, id, data } = live.events.at(-1)!;
  assert.deepEqual([event, id, (data as Problem).code], ['problem', undefined, 'unavailable']);
  assert.equal(live.events.at(-2)?.event, 'watermark');
  assert.ok(live.events.at(-2)?.id);
});

test('who has no token, or asks by POST, sees the status', async () => {
  const url = `http://${harness.broker.httpAddress}/v1/events`;
  const headers = { accept: 'text/event-stream', 'content-type': 'application/json' };
  const post = (body: object) => HttpStream.open(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const refused = await post({ topics: ['proces'] });
  const { status, headers: answered } = refused.response;
  assert.deepEqual([status, answered.get('content-type')], [400, 'application/problem+json; charset=utf-8']);
  const stream = await post({ topics: ['process'], since: '1h', limit: 2 });
  await until('the end', () => stream.done);
  assert.deepEqual([stream.pids, stream.events.at(-1)?.event], [[1, 2], 'end']);
  const { cursor } = stream.events.at(-1)!.data as Item;
  const other = await post({ topics: ['network'], cursor });
  await until('its answer', () => other.done);
  assert.deepEqual([other.response.status, /"code":"(\w+)"/.exec(other.text)?.[1]], [400, 'cursor_invalid']);
  await harness.broker.abort();
  harness.wantsToken = true;
  await harness.startBroker();
  const stranger = await listen('since=1h');
  assert.equal(stranger.response.status, 401);
});

test('silence is filled: with comments, which no page is told, and with lines that say nothing', async () => {
  const formats = [EVENT_STREAM, NDJSON];
  assert.deepEqual(
    formats.map(({ idle }) => idle.afterMs),
    [15_000, 15_000],
  );
  const server = createServer(({ url }, response) => {
    const format = formats[Number(url!.slice(1))]!;
    new HttpSink(response, { ...format, idle: { ...format.idle, afterMs: 10 } }).start();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const streams = await Promise.all(
    formats.map((_, at) => HttpStream.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${at}`)),
  );
  const [comments, lines] = streams;
  await until('comments', () => comments!.text.split(': \n\n').length > 3);
  assert.deepEqual(comments!.events, []);
  await until('lines', () => lines!.text.split('\n').length > 3);
  assert.match(lines!.text, /^(\{"result":\{"keepAlive":\{\}\}\}\n)+$/);
  for (const stream of streams) stream.close();
  server.close();
  await once(server, 'close');
});
