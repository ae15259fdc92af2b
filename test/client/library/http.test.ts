/** The client library over HTTP: against a server whose lines are scripted, and against a broker beside gRPC. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectByGrpc, type FeedItem } from '../../../src/client/library/grpc.js';
import { BackplaneError, type Bus, type ConnectOptions, connect } from '../../../src/client/library/http.js';
import { readItems } from '../../../src/client/library/lines.js';
import { all } from '../../harness/all.js';
import { Harness } from '../../harness/broker/harness.js';
import { until } from '../../harness/until.js';

/** Port 1 is one that fetch refuses. */
const NOBODY = 'http://127.0.0.1:2';
const EVENTS = 20;
/** Events that come together. */
const TOGETHER = 3;

/** Answers POST /v1/events with numbered events, in pieces of every length; each stream in turn is cut after so many bytes. */
class ScriptedHttp {
  readonly requests: { cursor?: string; since?: string; last?: number; limit?: string }[] = [];
  closed = 0;
  address = '';
  readonly #cuts: readonly (number | undefined)[];
  readonly #server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text) => (body += text));
    request.on('end', () => this.#answer(JSON.parse(body), response));
    response.on('close', () => this.closed++);
  });

  constructor(cuts: readonly (number | undefined)[]) {
    this.#cuts = cuts;
  }

  static async start(t: TestContext, cuts: readonly (number | undefined)[] = []): Promise<ScriptedHttp> {
    const server = new ScriptedHttp(cuts);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    server.address = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    t.after(() => server.stop());
    return server;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: { cursor?: string; follow?: boolean }, response: ServerResponse): void {
    const cut = this.#cuts[this.requests.length];
    this.requests.push(request);
    const lines = [...linesFrom(request.cursor ? Number(request.cursor) + 1 : 0)];
    if (!request.follow) lines.push({ result: { coverage: { nodes: [], cursor: String(EVENTS - 1) } } });
    if (!request.follow) lines.push({ end: { reason: 'window', cursor: String(EVENTS - 1) } });
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.write(text.slice(0, cut), () => {
      if (cut !== undefined) response.destroy();
      else if (!request.follow) response.end();
    });
  }
}

function* linesFrom(first: number): Generator<object> {
  yield { result: { accepted: { nodes: ['node-a'], since: '1970-01-01T00:00:01.000000000Z' } } };
  for (let at = first; at < EVENTS; at += 1) {
    const event = { type: 'process.exit', node: 'node-a', topic: 'process', process: { pid: at + 1 } };
    const isLast = at % TOGETHER === TOGETHER - 1 || at === EVENTS - 1;
    yield { result: { event, history: true, ...(isLast ? { cursor: String(at) } : {}) } };
  }
}

function pidsOf(items: readonly FeedItem[]): number[] {
  return items.flatMap((item) =>
    item.kind === 'event' && item.event.type === 'process.exit' ? [item.event.process.pid] : [],
  );
}

const ALL = Array.from({ length: EVENTS }, (_, at) => at + 1);

async function busOf(t: TestContext, brokers: readonly string[], options: Partial<ConnectOptions> = {}): Promise<Bus> {
  const bus = await connect({ brokers, ...options });
  t.after(() => bus.close());
  return bus;
}

test('a stream of lines that is cut at any byte is resumed: every event once', async (t) => {
  const server = await ScriptedHttp.start(t, [100, 0, 1500, 700, 333, 500, undefined]);
  const bus = await busOf(t, [server.address]);
  const feed = bus.subscribe({ since: '5m', last: 20 });
  const items = await all(feed);
  assert.deepEqual(pidsOf(items), ALL);
  assert.equal(feed.cursor, '19');
  assert.equal(server.requests.length, 7);
  assert.deepEqual([server.requests[1]?.since, server.requests[1]?.last], ['1970-01-01T00:00:01.000000000Z', 20]);
  for (const { since, last, cursor } of server.requests.slice(3)) assert.ok(since === '' && last === 0 && cursor);
});

test('a stream goes on at another broker, an aborted signal ends it, and the broker knows', async (t) => {
  const [first, second] = [await ScriptedHttp.start(t), await ScriptedHttp.start(t)];
  // In any order within the zone.
  const bus = await busOf(t, [`${NOBODY}@here`, `${first.address}@here`, second.address], { zone: 'here' });
  const ending = new AbortController();
  const feed = bus.subscribe({ follow: true, signal: ending.signal });
  const items: FeedItem[] = [];
  for await (const item of feed) {
    items.push(item);
    if (pidsOf(items).length === 20) first.stop();
    if (item.kind === 'link' && item.cause === undefined) ending.abort();
  }
  assert.deepEqual([pidsOf(items), feed.cursor], [ALL, '19']);
  assert.equal(second.requests[0]?.cursor, '19');
  await until('the second broker knows', () => second.closed === 1);
});

test('what nobody answers, or refuses, is thrown with its code', async (t) => {
  const refuse = (status: number, body: string) => async () => new Response(body, { status });
  const thrown = async (options: Partial<ConnectOptions>) => {
    const error = await (await busOf(t, [NOBODY], options)).nodes().catch((cause: unknown) => cause);
    assert.ok(error instanceof BackplaneError);
    return [error.code, error.message, error.details.column];
  };
  assert.deepEqual(await thrown({}), ['unavailable', `${NOBODY}: connect ECONNREFUSED 127.0.0.1:2`, undefined]);
  const problem = JSON.stringify({ status: 400, code: 'filter_invalid', detail: 'filter: column 3: no', column: 3 });
  assert.deepEqual(await thrown({ fetch: refuse(400, problem) }), ['filter_invalid', 'filter: column 3: no', 3]);
  assert.deepEqual(await thrown({ fetch: refuse(401, '<html>') }), ['unauthenticated', 'HTTP status 401', undefined]);
  assert.deepEqual(await thrown({ fetch: refuse(502, '') }), ['unavailable', `${NOBODY}: HTTP status 502`, undefined]);
});

test('a bad list of brokers is one clear error, over both', async () => {
  const both = [connect, connectByGrpc] as readonly ((options: ConnectOptions) => Promise<Bus>)[];
  for (const [brokers, zone, expected] of [
    [[], undefined, /^brokers: must be 1 to 16 addresses \((http:\/\/)?host:port\), got 0$/],
    [new Array(17).fill('a:1'), undefined, /^brokers: must be 1 to 16 addresses .*, got 17$/],
    ['a:1', undefined, /^brokers: must be a list of 1 to 16 addresses/],
    [['a:1', 'broker'], undefined, /^brokers: must hold (http:\/\/)?host:port, got "broker"$/],
    [['a:70000'], undefined, /^brokers: must hold .*, got "a:70000"$/],
    [['a:1@'], undefined, /^brokers: must hold .*, got "a:1@"$/],
    [['a:1@x', 'b:1', 'a:1'], undefined, /^brokers: must name each broker once, got "a:1" twice$/],
    [['a:1'], 'x y', /^zone: must be at most 63 letters, .*, got "x y"$/],
  ] as const) {
    for (const connectBy of both) {
      await assert.rejects(connectBy({ brokers: brokers as readonly string[], zone }), {
        code: 'invalid_argument',
        message: expected,
      });
    }
  }
});

test('a stream that was accepted is not given up because the broker has no room at the moment', async (t) => {
  const server = await ScriptedHttp.start(t, [700, undefined]);
  let asked = 0;
  const crowded = (code: string, retryAfterMs?: number) =>
    new Response(JSON.stringify({ status: 429, code, detail: 'no room', retryAfterMs }), { status: 429 });
  const bus = await busOf(t, [server.address], {
    fetch: (input, init) => (++asked === 2 ? Promise.resolve(crowded('resource_exhausted', 1)) : fetch(input, init)),
  });
  assert.deepEqual(pidsOf(await all(bus.subscribe({ since: '5m' }))), ALL);
  assert.equal(asked, 3);
  const refused = await busOf(t, [server.address], { fetch: async () => crowded('resource_exhausted', 1) });
  await assert.rejects(all(refused.subscribe()), { code: 'resource_exhausted' });
});

test('a stream on which nothing comes is taken for a dead one, unless it is not read', async () => {
  const line = (item: object) => `${JSON.stringify({ result: item })}\n`;
  const text = new TextEncoder();
  let say: (item: object) => void = () => undefined;
  const body = new ReadableStream({
    start: (controller) => {
      say = (item) => controller.enqueue(text.encode(line(item)));
    },
  });
  say({ accepted: { nodes: [] } });
  const items = readItems(new Response(body), 50);
  assert.equal((await items.next()).value?.kind, 'accepted');
  // Whoever reads slowly does not lose the stream.
  await new Promise((resolve) => setTimeout(resolve, 200));
  say({ keepAlive: {} });
  say({ watermark: { node: 'a', cursor: 'c' } });
  assert.equal((await items.next()).value?.kind, 'watermark');
  await assert.rejects(items.next(), {
    code: 'unavailable',
    message: 'the stream was cut off: nothing came for 50 ms',
  });
});

test('a line that never ends is refused, and one that is no JSON is an error', async (t) => {
  const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 20).fill(97)) });
  const bus = await busOf(t, ['http://any'], { fetch: async () => new Response(endless) });
  await assert.rejects(all(bus.subscribe()), { code: 'too_large' });
  const broken = await busOf(t, ['http://any'], { fetch: async () => new Response('{"result": oops}\n') });
  await assert.rejects(all(broken.subscribe()), { code: 'internal' });
});

test('gRPC and HTTP bring the same items of one broker, and the same lists', async (t) => {
  const harness = await Harness.start();
  t.after(() => harness.destroy());
  const agent = await harness.agent('a');
  for (let pid = 1; pid <= 50; pid += 1) agent.recorder.record(pid % 2 === 0 ? 'process.exec' : 'process.exit', pid);
  const sent: string[] = [];
  const http = await busOf(t, [harness.broker.httpAddress], {
    headers: { 'x-mine': '1' },
    fetch: (input, init) => {
      sent.push(`${init?.method} ${new URL(String(input)).pathname} ${JSON.stringify(init?.headers)}`);
      return fetch(input, init);
    },
    token: () => 't'.repeat(40),
  });
  const grpc = await connectByGrpc({ brokers: [harness.broker.grpcAddress] });
  t.after(() => grpc.close());
  const subscription = { topics: ['process'], since: new Date(0), limit: 30n, client: 'test' };
  const [byHttp, byGrpc] = [http.subscribe(subscription), grpc.subscribe(subscription)];
  const [lines, messages] = [await all(byHttp.batches()), await all(byGrpc.batches())];
  const events = (items: typeof lines) =>
    items.flatMap((item) => (item.kind === 'events' ? [{ ...item, selectorsOf: item.selectorsOf(0) }] : []));
  assert.deepEqual(events(lines), events(messages));
  assert.deepEqual([byHttp.cursor, lines.at(0)?.kind], [byGrpc.cursor, 'accepted']);
  // A cursor of the one resumes by the other.
  const rest = await all(grpc.subscribe({ topics: ['process'], cursor: byHttp.cursor }));
  assert.deepEqual(
    rest.flatMap((item) =>
      item.kind === 'event' ? [item.event.type, 'process' in item.event && item.event.process?.pid] : [],
    ),
    Array.from({ length: 20 }, (_, at) => [at % 2 === 0 ? 'process.exit' : 'process.exec', at + 31]).flat(),
  );
  const coverage = rest.at(-1);
  assert.ok(coverage?.kind === 'coverage' && coverage.ledger?.delivered === 20n);
  assert.deepEqual(
    (await http.nodes()).map(({ name }) => name),
    (await grpc.nodes()).map(({ name }) => name),
  );
  assert.match(sent.at(-1)!, /^GET \/v1\/nodes .*"authorization":"Bearer t{40}".*"x-mine":"1"/);
  const explained = await http.explain({ filter: 'process.pid == 1' });
  assert.equal(explained.plan?.filter, 'process.pid == 1');
  for (const bus of [http, grpc])
    await assert.rejects(bus.explain({ filter: 'process.pidd == 1' }), ({ code, details }: BackplaneError) => {
      const { field, line, column, length, suggestion } = details;
      assert.deepEqual(
        [code, field, line, column, length, suggestion],
        ['filter_invalid', 'filter', 1, 1, 12, 'process.pid'],
      );
      return true;
    });
});
