/** The HTTP API: history, live events, errors, listings, health, and which hosts and origins are served. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkHost } from '../../../../src/broker/api/host.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const url = (path: string) => `http://${harness.broker.httpAddress}${path}`;

interface Line {
  readonly result?: {
    readonly accepted?: object;
    readonly event?: {
      type: string;
      time: string;
      node: string;
      topic: string;
      position: object;
      process: { pid: number };
    };
    readonly cursor?: string;
    readonly coverage?: { cursor: string; nodes: { node: string; events: string }[] };
  };
  readonly end?: { readonly reason: string; readonly cursor: string };
  readonly error?: { readonly code: string; readonly detail: string };
}

/** Lines as they come; `done` when the answer has ended. */
class Lines {
  readonly lines: Line[] = [];
  done = false;
  readonly abort = new AbortController();

  async read(path: string): Promise<Response> {
    const response = await fetch(url(path), { signal: this.abort.signal });
    void this.collect(response);
    return response;
  }

  get pids(): number[] {
    return this.lines.flatMap(({ result }) => result?.event?.process.pid ?? []);
  }

  async collect(response: Response): Promise<void> {
    let rest = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body!) {
        rest += decoder.decode(chunk as Uint8Array, { stream: true });
        const parts = rest.split('\n');
        rest = parts.pop()!;
        for (const part of parts) this.lines.push(JSON.parse(part) as Line);
      }
    } catch {
      // Aborted by the test.
    }
    this.done = true;
  }
}

test('a draining broker ends each answer with a cursor, even for a reader that is slow', async () => {
  const agent = await harness.agent('a');
  const lines = new Lines();
  const response = await fetch(url('/v1/events?topic=process&follow=true'), { signal: lines.abort.signal });
  await until('interest', () => agent.topics.includes('process'));
  for (let from = 1; from < 20_000; from += 1_000) {
    for (const pid of range(from, from + 1_000)) agent.recorder.record('process.exec', pid);
    agent.publish();
  }
  await until('delivered', () => [...agent.acknowledged].length > 0);
  // Nothing else is left to wait for.
  agent.kill();
  const drained = harness.broker.drain();
  await sleep(500);
  void lines.collect(response);
  await drained;
  await until('the end', () => lines.done);
  assert.deepEqual(lines.pids, range(1, lines.pids.length + 1));
  assert.match(lines.lines.at(-1)?.error?.detail ?? '', /shutting down: resume/);
  assert.ok(lines.lines.some(({ result }) => (result?.cursor ?? '') !== ''));
});

test('history comes as NDJSON, one canonical event a line, with a cursor that resumes it', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 101)) agent.recorder.record('process.exec', pid);
  const lines = new Lines();
  const response = await lines.read('/v1/events?topic=process&topic=network&since=1h&limit=60');
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
  await until('end', () => lines.done);
  assert.deepEqual(lines.pids, range(1, 61));
  const { event } = lines.lines.find(({ result }) => result?.event)!.result!;
  assert.equal(event!.type, 'process.exec');
  assert.equal(event!.node, 'a');
  assert.equal(event!.topic, 'process');
  assert.match(event!.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  const cursor = lines.lines.findLast(({ result }) => result?.cursor)!.result!.cursor!;
  assert.deepEqual(lines.lines.at(-1), { end: { reason: 'limit', cursor } });
  const rest = new Lines();
  await rest.read(`/v1/events?topic=process&topic=network&cursor=${cursor}`);
  await until('end', () => rest.done);
  assert.deepEqual(rest.pids, range(61, 101));
  assert.deepEqual(
    rest.lines.at(-2)?.result?.coverage?.nodes.map(({ node, events }) => [node, events]),
    [['a', '40']],
  );
  const { end } = rest.lines.at(-1)!;
  assert.deepEqual(end, { reason: 'window', cursor: rest.lines.at(-2)?.result?.coverage?.cursor });
});

test('live events are sent as they come, and a client that closes its connection ends its subscription', async () => {
  const agent = await harness.agent('a');
  const lines = new Lines();
  await lines.read('/v1/events?topic=process&follow=true&filter=process.pid%20%3E%205');
  await until('accepted', () => lines.lines.length > 0);
  for (const pid of range(0, 10)) agent.recorder.record('process.exec', pid);
  agent.publish();
  await until('events', () => lines.pids.length === 4);
  assert.deepEqual(lines.pids, range(6, 10));
  const subscriptions = async () =>
    ((await (await fetch(url('/v1/subscriptions'))).json()) as { subscriptions: object[] }).subscriptions.length;
  assert.equal(await subscriptions(), 1);
  const others = [harness.subscribe({ follow: true }), harness.subscribe({ follow: true })];
  for (const other of others) await other.isAccepted();
  const seen: string[] = [];
  for (let token = ''; seen.length === 0 || token !== ''; ) {
    const page = await (await fetch(url(`/v1/subscriptions?page_size=2&page_token=${token}`))).json();
    const { subscriptions: listed, nextPageToken } = page as { subscriptions: { id: string }[]; nextPageToken: string };
    seen.push(`${listed.length}`, ...listed.map(({ id }) => id));
    token = nextPageToken;
  }
  assert.deepEqual([seen.length, new Set(seen).size, seen[0], seen[3]], [5, 5, '2', '1']);
  for (const query of ['page_size=x', 'page_token=x', 'page=1', 'page_size=1&page_size=1'])
    assert.equal((await fetch(url(`/v1/subscriptions?${query}`))).status, 400, query);
  for (const other of others) other.cancel();
  lines.abort.abort();
  await until('the end of the subscription', async () => (await subscriptions()) === 0);
});

test('an error before the first line is answered with a status and one sentence', async () => {
  const refused: [string, number, string, RegExp][] = [
    ['/v1/events?filter=proces.pid%3D%3D1', 400, 'filter_invalid', /column/],
    ['/v1/events?topic=proces', 400, 'invalid_argument', /process/],
    ['/v1/events?topics=process', 400, 'invalid_argument', /unknown parameter "topics"/],
    ['/v1/events?since=1m&since=2m', 400, 'invalid_argument', /since must be given once/],
    ['/v1/events?cursor=', 400, 'invalid_argument', /^cursor must not be empty: leave it out/],
    ['/v1/events?node=', 400, 'invalid_argument', /^node must not be empty/],
    ['/v1/events?topic=process&topic=', 400, 'invalid_argument', /^topic must not be empty/],
    ['/v1/events?filter=%20', 400, 'invalid_argument', /^filter must not be empty/],
    ['/v1/events?cursor=nonsense', 400, 'cursor_invalid', /cursor/],
    ['/v1/nowhere', 404, 'not_found', /nowhere/],
  ];
  for (const [path, status, code, message] of refused) {
    const response = await fetch(url(path));
    assert.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8');
    const problem = (await response.json()) as { type: string; status: number; code: string; detail: string };
    assert.deepEqual([response.status, problem.status, problem.code], [status, status, code], path);
    assert.equal(problem.type, `urn:backplane:problem:${code}`);
    assert.match(problem.detail, message);
    assert.doesNotMatch(problem.detail, /\n/);
  }
  assert.equal((await fetch(url('/v1/nodes'), { method: 'POST' })).status, 405);
});

test('listings, health and metrics are served over HTTP', async () => {
  await harness.agent('a');
  const nodes = (await (await fetch(url('/v1/nodes'))).json()) as { nodes: { name: string; state: string }[] };
  assert.deepEqual(
    nodes.nodes.map(({ name, state }) => [name, state]),
    [['a', 'NODE_STATE_CONNECTED']],
  );
  const topics = (await (await fetch(url('/v1/topics'))).json()) as { topics: { name: string }[] };
  assert.ok(topics.topics.some(({ name }) => name === 'process'));
  const status = (await (await fetch(url('/v1/status'))).json()) as { nodes: number; grpcListen: string };
  assert.equal(status.nodes, 1);
  assert.equal(status.grpcListen, harness.broker.grpcAddress);
  assert.equal((await fetch(url('/healthz'))).status, 200);
  assert.equal((await fetch(url('/readyz'))).status, 200);
  const metrics = await (await fetch(url('/metrics'))).text();
  assert.match(metrics, /^backplane_nodes{state="connected"} 1$/m);
  assert.ok(Number(/^backplane_process_cpu_seconds_total (\S+)$/m.exec(metrics)?.[1]) > 0);
  assert.ok(Number(/^backplane_nodejs_eventloop_active_seconds_total (\S+)$/m.exec(metrics)?.[1]) > 0);
});

test('a request line that is too long is refused', async () => {
  const socket = connect(Number(harness.broker.httpAddress.split(':')[1]), '127.0.0.1');
  socket.write(`GET /v1/events?filter=${'a'.repeat(64 * 1024)} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(
    answer.toString(),
    /^HTTP\/1\.1 431 [\s\S]*\r\n\r\n\{"type":"urn:backplane:problem:too_large".*"status":431/,
  );
  socket.destroy();
});

/** Status and raw answer of a request with any Host, which fetch would not send. */
function ask(method: string, path: string, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url(path), { method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    call.on('error', reject);
    call.end();
  });
}

test('a broker on loopback accepts only a loopback Host header', async () => {
  for (const host of ['localhost', 'LOCALHOST:8485', '127.0.0.1', '127.0.0.1:1', '[::1]', '[::1]:8485']) {
    assert.equal((await ask('GET', '/v1/status', { host })).status, 200, host);
  }
  for (const host of ['evil.example', 'localhost.evil.example:8485', '127.0.0.1.evil.example', '[::2]', 'a:b:c']) {
    const { status, body } = await ask('GET', '/v1/status', { host });
    assert.equal(status, 403, host);
    assert.match(body, /"detail":"Host must be localhost.*"code":"permission_denied"/);
  }
});

test('a broker that listens beyond loopback accepts any Host header', () => {
  for (const address of ['0.0.0.0', '::', '192.0.2.1']) {
    checkHost('bus.example:8485', { address, family: '', port: 8485 });
  }
  assert.throws(() => checkHost('bus.example:8485', { address: '::1', family: '', port: 8485 }), /Host must be/);
});

test('HEAD is answered as GET, without the body', async () => {
  for (const path of ['/', '/healthz', '/readyz', '/metrics', '/v1/status']) {
    assert.deepEqual(await ask('HEAD', path, {}), { status: 200, body: '' }, path);
  }
  const events = await fetch(url('/v1/events'), { method: 'HEAD' });
  assert.deepEqual([events.status, events.headers.get('allow')], [405, 'GET, POST']);
});

test('requests from pages of other sites are refused, those from its own address or from no page are served', async () => {
  const host = harness.broker.httpAddress;
  for (const site of ['same-origin', 'none']) {
    assert.equal((await ask('GET', '/v1/status', { 'sec-fetch-site': site })).status, 200, site);
  }
  for (const site of ['cross-site', 'same-site', 'NONE', '', 'none, none', 'x'.repeat(5_000)]) {
    for (const path of ['/', '/healthz', '/v1/events?follow=true', '/v1/nowhere']) {
      const { status, body } = await ask('GET', path, { 'sec-fetch-site': site });
      assert.equal(status, 403, site);
      assert.match(body, /"detail":"Sec-Fetch-Site must be same-origin or none.*"code":"permission_denied"/);
      assert.ok(body.length < 400);
    }
  }
  // Browsers that do not say it.
  assert.equal((await ask('GET', '/v1/status', { origin: `http://${host}` })).status, 200);
  for (const origin of ['null', 'http://evil.example', `http://${host}.evil.example`]) {
    assert.match((await ask('GET', '/v1/status', { origin })).body, /Origin must be that of.*permission_denied/);
  }
});

test('GET / lists addresses, and each of them is served', async () => {
  const response = await fetch(url('/'));
  assert.equal(response.status, 200);
  const contents = await response.text();
  // Those of one thing by its name are in braces.
  const paths = [...contents.matchAll(/^GET (\/[^\s{]+)(?= )/gm)].map(([, path]) => path!);
  assert.ok(paths.includes('/v1/events') && paths.includes('/healthz'), contents);
  for (const path of [...paths, '/nothing']) {
    const { status, headers } = await fetch(url(path));
    assert.deepEqual(
      [status, headers.get('x-content-type-options')],
      [path === '/nothing' ? 404 : 200, 'nosniff'],
      path,
    );
    assert.doesNotMatch(headers.get('content-type') ?? '', /html|xml/);
  }
});
