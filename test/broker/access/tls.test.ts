/** The broker's ports under TLS: who is let in, who is closed without a word, and HTTP/2 beside HTTP/1.1. */
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { request as requestHttps } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { afterEach, before, beforeEach, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { spiffeId } from '../../../src/access/authority.js';
import * as x509 from '../../../src/access/certificate-library.js';
import { securedBy } from '../../../src/access/secure-channel.js';
import { ServerTls } from '../../../src/broker/access/tls/server-tls.js';
import { HttpListener } from '../../../src/broker/api/http-listener.js';
import { Client } from '../../../src/client/client.js';
import { type PemPair, TestAuthority } from '../../harness/access/certificates.js';
import { Harness, until } from '../../harness/broker/harness.js';
import { bearer } from '../../harness/bus/token.js';

let own: TestAuthority;
let foreign: TestAuthority;
let harness: Harness;
let roles: string;
const ROLES = `
roles:
  all: { verbs: [view, subscribe, history] }
bindings:
  - { role: all, identities: ['spiffe://backplane/client/*'], kinds: [certificate] }
`;
const closing: { destroy(): unknown }[] = [];

before(async () => {
  own = await TestAuthority.make('own');
  foreign = await TestAuthority.make('foreign');
  roles = join(own.dir, 'roles.yaml');
  writeFileSync(roles, ROLES);
});
beforeEach(async () => {
  harness = new Harness();
  harness.wantsToken = true;
  harness.tls = await own.broker();
  harness.access = { rolesFile: roles };
  await harness.startBroker();
});
afterEach(async () => {
  for (const each of closing.splice(0)) each.destroy();
  await harness.destroy();
});

const BIG = Buffer.alloc(1 << 20);
const PORTS = ['grpc', 'http'] as const;
const addressOf = (port: (typeof PORTS)[number]) => harness.broker[`${port}Address`];

function target(port: (typeof PORTS)[number]): ConnectionOptions {
  const [host = '', number] = addressOf(port).split(':');
  return { host, port: Number(number), ca: own.authority.pem };
}

/** What a port does with one that speaks TLS: everything that it sends after the handshake, until it closes. */
async function said(port: (typeof PORTS)[number], options: ConnectionOptions, text = ''): Promise<string> {
  const socket = connect({ ...target(port), ALPNProtocols: ['h2'], ...options });
  closing.push(socket);
  let received = '';
  socket
    .on('error', () => undefined)
    .on('data', (bytes: Buffer) => {
      received += bytes.toString('latin1');
    });
  if (text !== '') socket.on('secureConnect', () => socket.write(text));
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

/** Status of one gRPC call by hand. */
async function grpcStatus(options: ConnectionOptions, headers: Record<string, string> = {}): Promise<string> {
  const session = connectHttp2(`https://${addressOf('grpc')}`, { ...target('grpc'), ...options } as object);
  closing.push(session);
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/backplane.v1.Backplane/ListNodes', 'content-type': 'application/grpc' },
    ...headers,
  });
  stream.on('error', () => undefined);
  stream.end(Buffer.alloc(5));
  const [first] = (await once(stream, 'response')) as [Record<string, string>];
  if (first['grpc-status'] !== undefined) return String(first['grpc-status']);
  stream.resume();
  const [trailers] = (await once(stream, 'trailers')) as [Record<string, string>];
  return String(trailers['grpc-status']);
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function http1(path: string, options: ConnectionOptions, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = requestHttps({ ...target('http'), ...options, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.on('error', reject).end();
  });
}

function session2(options: ConnectionOptions = {}): ClientHttp2Session {
  const session = connectHttp2(`https://${addressOf('http')}`, { ...target('http'), ...options } as object);
  closing.push(session);
  return session;
}

async function http2(
  session: ClientHttp2Session,
  headers: Record<string, string | string[]>,
  body?: string,
): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  const [first] = (await once(stream, 'response')) as [Record<string, number>];
  let text = '';
  for await (const part of stream.setEncoding('utf8')) text += part;
  return { status: first[':status'] ?? 0, body: text };
}

const identity = (body: string) =>
  (JSON.parse(body) as { subscriptions: { identity: string }[] }).subscriptions.map((each) => each.identity);

test('a plaintext connection to a port with TLS is closed without a byte', async () => {
  for (const port of PORTS) {
    for (const text of [
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'x'.repeat(100),
    ]) {
      const { host, port: number } = target(port);
      const socket = connectTcp(number!, host!);
      const bytes: Buffer[] = [];
      socket.on('error', () => undefined).on('data', (each) => bytes.push(each));
      socket.write(text);
      await new Promise((resolve) => socket.once('close', resolve));
      assert.deepEqual(Buffer.concat(bytes), Buffer.alloc(0), `${port}: ${text.slice(0, 10)}`);
    }
  }
});

test('a foreign, expired or early client certificate closes the connection without a frame', async () => {
  const unsound: Readonly<Record<string, PemPair>> = {
    foreign: await foreign.clientPem('alice'),
    expired: await own.clientPem('alice', 'client', -48 * 3_600_000),
    early: await own.clientPem('alice', 'client', 48 * 3_600_000),
    "a broker's": await own.brokerPem(),
  };
  const request = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
  for (const [what, pair] of Object.entries(unsound)) {
    assert.equal(await said('grpc', pair), '', what);
    assert.equal(await said('http', pair), '', what);
    assert.equal(await said('http', { ...pair, ALPNProtocols: ['http/1.1'] }, request), '', what);
    assert.equal(await said('http', { ...pair, maxVersion: 'TLSv1.2' }), '', what);
  }
  const metrics = await http1('/metrics', {});
  assert.match(metrics.body, /^backplane_certificate_refused_connections_total 16$/m);
  assert.equal(harness.logged.filter(({ msg }) => /its certificate does not hold here/.test(msg)).length, 1);
});

test('a certificate is an identity for gRPC and both versions of HTTP; without one, a token is wanted', async () => {
  const alice = await own.clientPem('alice');
  const ok = String(status.OK);
  assert.equal(await grpcStatus(alice), ok);
  assert.equal((await http1('/v1/nodes', alice)).status, 200);
  assert.equal((await http2(session2(alice), { ':path': '/v1/nodes' })).status, 200);
  const token = bearer(harness.dataDir);
  assert.equal(await grpcStatus({}, token), ok);
  assert.equal((await http1('/v1/nodes', {}, token)).status, 200);
  assert.equal((await http2(session2(), { ':path': '/v1/nodes', ...token })).status, 200);
  const unauthenticated = String(status.UNAUTHENTICATED);
  assert.equal(await grpcStatus({}), unauthenticated);
  assert.equal((await http1('/v1/nodes', {})).status, 401);
  assert.equal((await http2(session2(), { ':path': '/v1/nodes' })).status, 401);
  assert.equal((await http1('/healthz', {})).status, 200);
  // Whoever brings both must be right in both.
  assert.equal((await http1('/v1/nodes', alice, { authorization: `Bearer ${'A'.repeat(43)}` })).status, 401);
});

test('the identity of a subscriber is what its certificate states', async () => {
  const alice = await own.client('alice');
  const security = securedBy({ ca: own.ca, own: alice });
  const client = new Client([harness.broker.grpcAddress], undefined, { securityFor: security });
  const stop = new AbortController();
  for await (const item of client.subscribe({ follow: true }, stop.signal)) {
    if (item.kind !== 'accepted') continue;
    const { body } = await http1('/v1/subscriptions', {}, bearer(harness.dataDir));
    assert.deepEqual(identity(body), [spiffeId({ kind: 'client', name: 'alice' })]);
    stop.abort();
  }
  client.close();
});

test('a certificate of two URIs is refused, also beside the right token', async () => {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const caKey = createPrivateKey(readFileSync(own.caKey)).export({ type: 'pkcs8', format: 'der' });
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: '02',
    subject: 'CN=alice',
    issuer: new x509.X509Certificate(own.authority.certificate.raw).subjectName,
    notBefore: new Date(Date.now() - 1e6),
    notAfter: new Date(Date.now() + 1e6),
    publicKey: keys.publicKey,
    signingKey: await crypto.subtle.importKey('pkcs8', caKey, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: spiffeId({ kind: 'client', name: 'alice' }) },
        { type: 'url', value: spiffeId({ kind: 'client', name: 'root' }) },
      ]),
    ],
  });
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const two = { cert: made.toString('pem'), key };
  for (const headers of [{}, bearer(harness.dataDir)] as Record<string, string>[]) {
    assert.equal(await grpcStatus(two, headers), String(status.UNAUTHENTICATED));
    assert.equal((await http1('/v1/nodes', two, headers)).status, 401);
    assert.equal((await http2(session2(two), { ':path': '/v1/nodes', ...headers })).status, 401);
  }
});

test('no session is resumed, with which a client could come without its certificate', async () => {
  const alice = await own.clientPem('alice');
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = connect({ ...target('http'), ...alice, maxVersion, ALPNProtocols: ['http/1.1'] });
    closing.push(first);
    let session: Buffer | undefined;
    first.on('session', (each: Buffer) => {
      session = each;
    });
    first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(first, 'data');
    session ??= first.getSession();
    const again = connect({
      ...target('http'),
      session,
      maxVersion,
      ALPNProtocols: ['http/1.1'],
    } as object) as TLSSocket;
    closing.push(again);
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), false, maxVersion);
    again.write('GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [answer] = (await once(again, 'data')) as [Buffer];
    assert.match(answer.toString('latin1'), /^HTTP\/1\.1 401 /, maxVersion);
  }
});

test('a connection begins once: a client cannot show another certificate on it later, which nobody would verify', async () => {
  const socket = connect({ ...target('http'), maxVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'] });
  closing.push(socket);
  await once(socket.resume(), 'secureConnect');
  const begun = await new Promise((resolve) => {
    socket.on('error', () => resolve(false)).once('close', () => resolve(false));
    socket.renegotiate({}, (cause) => resolve(!cause));
  });
  assert.equal(begun, false);
});

test('versions before TLS 1.2 are refused', async () => {
  for (const port of PORTS) {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    const socket = connect({ ...target(port), ...old });
    const [cause] = (await once(socket, 'error')) as [Error];
    assert.match(cause.message, /protocol/);
  }
});

test('one connection of HTTP/2 carries many event streams beside lists, and ends them when it closes', async () => {
  const token = bearer(harness.dataDir);
  const session = session2();
  const streams: ClientHttp2Stream[] = [];
  for (let count = 0; count < 12; count += 1) {
    const stream = session.request({
      ':path': '/v1/events?topic=process&follow=true',
      accept: 'text/event-stream',
      ...token,
    });
    stream.on('error', () => undefined);
    const [headers] = (await once(stream, 'response')) as [Record<string, number>];
    assert.equal(headers[':status'], 200);
    streams.push(stream);
  }
  const listed = async () => identity((await http1('/v1/subscriptions', {}, token)).body).length;
  assert.equal((await http2(session, { ':path': '/v1/nodes', ...token })).status, 200);
  await until('all subscriptions', async () => (await listed()) === 12);
  streams[0]!.close();
  await until('one less', async () => (await listed()) === 11);
  session.destroy();
  await until('none', async () => (await listed()) === 0);
});

test('a stream of HTTP/2 that its reader closes ends, also while what was written waits to be sent', async () => {
  const token = bearer(harness.dataDir);
  // Its streams take nothing, so that whatever is written is still waiting when they are closed.
  const session = session2({ settings: { initialWindowSize: 0 } } as ConnectionOptions);
  const listed = async () => identity((await http1('/v1/subscriptions', {}, token)).body).length;
  for (const method of ['GET', 'POST']) {
    const stream = session.request(
      {
        ...{ ':method': method, ':path': `/v1/events${method === 'GET' ? '?topic=process&follow=true' : ''}` },
        ...{ 'content-type': 'application/json', ...token },
      },
      { endStream: method === 'GET' },
    );
    if (method === 'POST') stream.end('{"topics":["process"],"follow":true}');
    await once(stream, 'response');
    await until(`${method}: listed`, async () => (await listed()) === 1);
    stream.close();
    await until(`${method}: none`, async () => (await listed()) === 0);
  }
});

test('events come by HTTP/2 as by HTTP/1.1, and what a stream holds back is bounded', async () => {
  const agent = await harness.agent('a');
  const token = bearer(harness.dataDir);
  const session = session2();
  const stream = session.request({ ':path': '/v1/events?topic=process&follow=true', ...token });
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await until('accepted', () => text.includes('"accepted"'));
  for (let pid = 1; pid <= 3; pid += 1) agent.recorder.record('process.exec', pid);
  agent.publish();
  await until('the events', () => (text.match(/"event":/g) ?? []).length === 3);
  assert.deepEqual(
    [...text.matchAll(/"pid":(\d+)/g)].map(([, pid]) => Number(pid)),
    [1, 2, 3],
  );
});

test('HTTP/2 is held to the same checks of host, origin and credential', async () => {
  const token = bearer(harness.dataDir);
  const ask = (headers: Record<string, string | string[]>) => http2(session2(), { ':path': '/v1/nodes', ...headers });
  assert.equal((await ask({ ...token, ':authority': 'evil.example' })).status, 403);
  assert.equal((await ask({ ...token, host: 'evil.example' })).status, 403);
  assert.equal((await ask({ ...token, ':authority': addressOf('http'), host: 'evil.example' })).status, 400);
  assert.equal((await ask({ ...token, origin: 'https://evil.example' })).status, 403);
  assert.equal((await ask({ ...token, 'sec-fetch-site': 'cross-site' })).status, 403);
  assert.equal((await ask({ ...token, origin: `https://${addressOf('http')}` })).status, 200);
  assert.equal((await ask({ ...token, ':path': '/v1/nothing' })).status, 404);
  assert.equal((await ask({ ...token, ':method': 'DELETE' })).status, 405);
  const post = { ':method': 'POST', ':path': '/v1/explain', 'content-type': 'application/json', ...token };
  const explained = await http2(session2(), post, JSON.stringify({ subscription: { topics: ['process'] } }));
  assert.equal(explained.status, 200, explained.body);
  assert.equal((await http2(session2(), post, '{')).status, 400);
});

test('a drained broker ends idle connections of HTTP/2', async () => {
  const session = session2();
  assert.equal((await http2(session, { ':path': '/healthz' })).status, 200);
  const closed = once(session, 'close');
  await harness.broker.drain();
  await closed;
});

test('a connection of HTTP/2 that is idle, or takes none of its answers, is closed; one in use is not', async () => {
  const tls = new ServerTls(await own.broker(), harness.logger);
  const listener = new HttpListener(
    (request, response) => void response.end(request.url === '/big' ? BIG : 'ok'),
    tls,
    16,
    200,
  );
  listener.server.listen(0, '127.0.0.1');
  await once(listener.server, 'listening');
  const { port } = listener.server.address() as { port: number };
  const open = async (path: string) => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: own.authority.pem });
    closing.push(session);
    const stream = session.request({ ':path': path });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    return session;
  };
  const kept = listener.places;
  const keep = kept.add.bind(kept);
  const unread = await open('/big');
  kept.add = (connection) => {
    keep(connection);
    kept.keep(connection);
  };
  const used = await open('/');
  kept.add = keep;
  const idle = await open('/');
  await until('the idle one and the unread one to be closed', () => idle.closed && unread.closed);
  assert.equal(used.closed, false);
  tls.close();
  await listener.close();
});
