/** Cursors, state files and HTTP requests as nobody should make them: one clear answer, and others are served. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { CURSOR_BYTES_MAX, HTTP_HEADER_BYTES_MAX, KiB } from '../../../src/limits.js';
import { type CursorPlace, type CursorState, decodeCursor, encodeCursor } from '../../../src/wire/cursor.js';
import { range } from '../../harness/broker/harness.js';
import { Witness } from '../../harness/broker/witness.js';

const REQUEST = { topics: ['process'], nodes: ['witness'] };
const U64_MAX = 2n ** 64n - 1n;
const LAST = Number.MAX_SAFE_INTEGER;

let witness: Witness;
let cursor: string;
before(async () => {
  witness = await Witness.start();
  for (let event = 0; event < 3; event++) await witness.served();
  ({ cursor } = witness.subscriber);
});
after(() => witness.destroy());

/** The gRPC status and sentence; undefined: it was accepted, and has ended or goes on. */
async function answer(text: string, change: object = {}): Promise<{ code: number; message: string } | undefined> {
  const subscriber = witness.harness.subscribe({ ...REQUEST, cursor: text, ...change });
  await subscriber.isAccepted().catch(() => undefined);
  subscriber.cancel();
  const { error } = subscriber;
  if (!error) return undefined;
  assert.ok(!/[\r\n]/.test(error.details) && error.details.length < 600, error.details);
  return { code: error.code, message: error.details };
}

test('a cursor that is cut anywhere, or has any bit flipped, is refused', async () => {
  const bytes = Buffer.from(cursor, 'base64url');
  const changed = range(0, bytes.length * 8).map((bit) => {
    const turned = Buffer.from(bytes);
    turned[bit >> 3]! ^= 1 << (bit & 7);
    return turned.toString('base64url');
  });
  const texts = [...range(1, cursor.length).map((end) => cursor.slice(0, end)), ...changed];
  for (const text of texts) assert.throws(() => decodeCursor(text), { code: 'cursor_invalid' });
  // Calls read it in this one way.
  const refusals = new Set<string>();
  for (const text of texts.filter((_, at) => at % 13 === 0)) refusals.add(`${(await answer(text))?.code}`);
  assert.deepEqual([...refusals], ['3']);
  assert.equal(await answer(cursor, { follow: true }), undefined);
  await witness.served();
});

test('a cursor whose bytes refer to themselves forty times is refused at once, over gRPC and HTTP', async () => {
  // Made of msgpack's extensions for structured clones: each level is twice the one below it.
  const level = (id: number, below: Buffer): Buffer =>
    Buffer.concat([Buffer.from([0xd6, 0x69, 0, 0, 0, id, 0x92]), below, Buffer.from([0xd6, 0x70, 0, 0, 0, id + 1])]);
  const nested = range(0, 40).reduceRight<Buffer>((below, id) => level(id, below), Buffer.from([0x01]));
  const packed = Buffer.concat([Buffer.from([0x99]), nested, Buffer.alloc(8, 0xc0)]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(packed));
  const text = Buffer.concat([packed, sum]).toString('base64url');
  assert.match((await answer(text))?.message ?? '', /^cursor cannot be read: byte \d+ begins a value of/);
  const answered = await raw(`GET /v1/events?topic=process&cursor=${text} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  assert.match(answered, /^HTTP\/1.1 400 .*cannot be read.*"cursor_invalid"/s);
  await witness.served();
});

test('a cursor with a right checksum and impossible positions is refused, or resumes where it can', async () => {
  const good = decodeCursor(cursor);
  const position = (epoch: number, timeNs: bigint) => ({ epoch, timeNs, lane: 0xffff, tie: 0xffff_ffff });
  const places = (change: Partial<CursorPlace>) => good.places.map((place) => ({ ...place, ...change }));
  const owed = (offsetFrom: number, offsetTo?: number) => {
    const range = { offsetFrom, offsetTo, after: position(LAST, U64_MAX), skipped: true };
    return [{ node: 'witness', standing: 'log' as const, owed: new Map([['process', [range]]]) }];
  };
  const changes: [Partial<CursorState>, RegExp | undefined][] = [
    [{ clusterId: 'ffffffffffffffff' }, /cursor is of another broker/],
    [{ predicateId: 0n }, /cursor is of another subscription/],
    [{ places: places({ offset: LAST }) }, /cursor names offset/],
    [{ places: places({ offset: 1_000_000 }) }, /cursor names offset/],
    [{ places: good.places.map((place) => ({ ...place, mark: place.mark && 7 })) }, /has something else now/],
    [{ places: [] }, /cursor has no place in the log/],
    [{ note: { partition: 7, offset: LAST, id: 0 } }, /cursor/],
    [{ note: { partition: 0, offset: 0, id: 0xffff_ffff } }, /cursor/],
    [{ places: places({ index: 0xffff }) }, /within a frame that cannot be read/],
    [{ sinceNs: U64_MAX }, undefined],
    [{ history: { wallNs: U64_MAX, node: '', position: position(LAST, U64_MAX) } }, undefined],
    [{ nodes: [{ node: 'witness', standing: 'beyond', position: position(LAST, U64_MAX) }] }, undefined],
    [{ nodes: [{ node: '../../etc', standing: 'late', position: undefined, floors: new Map() }] }, undefined],
    [{ nodes: owed(0, LAST) }, undefined],
    [{ nodes: owed(LAST) }, undefined],
  ];
  for (const [change, reason] of changes) {
    const text = encodeCursor({ ...good, ...change });
    assert.ok(text);
    const refused = await answer(text, { follow: true, refill: true });
    const what = JSON.stringify(change, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    if (reason === undefined) assert.equal(refused, undefined, what);
    else assert.match(refused?.message ?? 'accepted', reason, what);
    if (reason) assert.ok([3, 11].includes(refused!.code), what);
  }
  await witness.served();
});

async function raw(text: string): Promise<string> {
  const [host, port] = witness.harness.broker.httpAddress.split(':') as [string, string];
  const socket = connect(Number(port), host);
  let received = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    received += part;
    if (/\r\n\r\n[\s\S]*\n$/.test(received)) socket.end();
  });
  socket.on('error', () => undefined);
  socket.write(text);
  await new Promise((resolve) => socket.on('close', resolve));
  return received;
}

const host = 'Host: 127.0.0.1\r\n';
const get = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\n${host}${headers}\r\n`;
const post = (headers: string, body: string) => `POST /v1/events HTTP/1.1\r\n${host}${headers}\r\n${body}`;
const events = (query: string) => get(`/v1/events?${query}`);
/** Requests as they are sent, and what their answers have. */
const REFUSED: readonly [string, RegExp][] = [
  ['\u0000\u0001\u0002\r\n\r\n', /^HTTP\/1.1 400/],
  ['GET /v1/nodes HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400.*Host is missing/s],
  [get('/v1/nodes', 'Host: evil.example\r\n'), /^HTTP\/1.1 400.*Host must be given once, got 2/s],
  [`CONNECT 127.0.0.1:1 HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1.1 405/],
  [get('/v1/nodes', 'Expect: miracles\r\n'), /^HTTP\/1.1 200/],
  [get('/v1/nodes?node=witness'), /^HTTP\/1.1 400.*unknown parameter \\"node\\"/s],
  [get('http://127.0.0.1/v1/nowhere'), /^HTTP\/1.1 404.*nothing at \\"\/v1\/nowhere\\"/s],
  [
    `PUT /v1/events HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(20_000)}`,
    /^HTTP\/1.1 4(05|13)/,
  ],
  [get('/v1/nodes', 'Sec-Fetch-Site: cross-site\r\n'), /^HTTP\/1.1 403.*Sec-Fetch-Site/s],
  [get('/v1/nodes', `${'X: y\r\n'.repeat(2_100)}Sec-Fetch-Site: same-site\r\n`), /^HTTP\/1.1 403.*Sec-Fetch-Site/s],
  [get('/v1/nodes', 'Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n'), /^HTTP\/1.1 403.*Sec-Fetch-Site/s],
  [get('/v1/nodes', `Origin: http://${'evil'.repeat(1_000)}\r\n`), /^HTTP\/1.1 403.*Origin/s],
  [get('/v1/nodes', `X: ${'x'.repeat(HTTP_HEADER_BYTES_MAX)}\r\n`), /^HTTP\/1.1 431/],
  [get('/v1/nodes', 'X: y\r\n'.repeat(20_000)), /^HTTP\/1.1 431/],
  [get('/v1/nodes', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'), /^HTTP\/1.1 400/],
  [get('/v1/nodes', 'Content-Length: -1\r\n'), /^HTTP\/1.1 400/],
  [post('Content-Type: application/json\r\nContent-Length: 999999999999\r\n', '{"a":'), /^HTTP\/1.1 413.*"too_large"/s],
  [post('Content-Type: text/plain\r\nContent-Length: 2\r\n', '{}'), /^HTTP\/1.1 415.*Content-Type must be/s],
  [
    post('Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n', '{}'),
    /^HTTP\/1.1 415.*Content-Encoding must be identity, got \\"gzip\\"/s,
  ],
  [
    post('Content-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'),
    /^HTTP\/1.1 415.*Transfer-Encoding must be chunked, got \\"gzip, chunked\\"/s,
  ],
  [
    post('Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n', '1\r\n{\r\nzz\r\n'),
    /^HTTP\/1.1 400.*not an HTTP\/1.1 request/s,
  ],
  [post('Content-Type: application/json\r\nContent-Length: 0\r\n', ''), /^HTTP\/1.1 400.*body: is not JSON/s],
  [post('Content-Type: application/json\r\nContent-Length: 4\r\n', 'null'), /400.*must be a JSON object, got null/s],
  [`DELETE /v1/nodes HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1.1 405/],
  [get('/v1/__proto__'), /^HTTP\/1.1 404/],
  [get('/../../etc/passwd'), /^HTTP\/1.1 404/],
  [get('/v1/../v1/status'), /^HTTP\/1.1 404/],
  [get('/v1/%2e%2e/v1/status'), /^HTTP\/1.1 404/],
  [`DELETE /v1/nodes/%2e%2e HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1.1 404/],
  [get('/v1/status%0d%0aX-Injected:%20yes'), /^HTTP\/1.1 400.*must not have control characters/s],
  [get('/v1/status\rX: y'), /^HTTP\/1.1 400/],
  [get('/v1/status\nX: y'), /^HTTP\/1.1 400/],
  [get('/v1/%ff'), /^HTTP\/1.1 400.*not percent-encoded UTF-8/s],
  [get(`/${'a'.repeat(8 * KiB)}`), /^HTTP\/1.1 404/],
  [get('/v1/nodes', 'Last-Event-ID: \u0001\r\n'), /^HTTP\/1.1 400/],
  [
    events('since=2026-11-28T04:00:00+01:00'),
    /400.*since must have its offset as %2B, as \\"\+\\" in a query is a blank, got.*"suggestion":"2026-11-28T04:00:00%2B01:00"/s,
  ],
  [events('__proto__=1'), /400.*unknown parameter/s],
  [events('topic=%00'), /400.*unknown topic/s],
  [events('topic=process&limit=-1'), /400.*limit: must be a whole number/s],
  [events('topic=process&limit=1e400'), /400.*limit/s],
  [events('topic=process&last=99999999999999999999'), /400.*last/s],
  [events('topic=process&since=-5m'), /400.*since/s],
  [events(`topic=process&cursor=${'A'.repeat(CURSOR_BYTES_MAX + 1)}`), /400.*cursor: must be at most 4096/s],
  [events(`filter=${'('.repeat(3_000)}`), /400.*filter/s],
  [events('topic=process&'.repeat(1_500)), /^HTTP\/1.1 (400|200)/],
  [events('follow=%ff%fe'), /400.*follow/s],
  [events('topic=process&lag_max=99999999999d'), /400.*lag_max|lagMax/s],
];

test('an HTTP request that is malformed, too long, or of the wrong kind is answered with a status', async () => {
  for (const [text, expected] of REFUSED) {
    const what = JSON.stringify(text.slice(0, 80));
    const received = await raw(text);
    assert.match(received, expected, what);
    const [head = '', body = ''] = received.split('\r\n\r\n');
    if (head.startsWith('HTTP/1.1 200')) continue;
    // Every refusal is the same object, and no longer than a line.
    assert.match(head, /^content-type: application\/problem\+json; charset=utf-8$/im, what);
    const problem = JSON.parse(body) as { title: string; status: number; code: string; detail: string };
    assert.deepEqual(Object.keys(problem).slice(0, 5), ['type', 'title', 'status', 'detail', 'code'], what);
    assert.equal(problem.status, Number(head.split(' ')[1]), what);
    const { code, detail } = problem;
    assert.ok(/^[a-z_]+$/.test(code) && detail.length < 600 && !detail.includes('\n'), what);
  }
  await witness.served();
});
