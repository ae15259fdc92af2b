/** Which calls a broker with a token lets in, over gRPC and HTTP, and how its token file is made and kept. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { credentials, Metadata, makeGenericClientConstructor, type requestCallback, status } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { brokerToken } from '../../../src/broker/access/token-file.js';
import { Client } from '../../../src/client/client.js';
import { createBackplaneClient, createUplinkClient } from '../../../src/wire/grpc/rpc.js';
import { PROTOCOL } from '../../../src/wire/protocol.js';
import { Harness } from '../../harness/broker/harness.js';
import { RawHttp2 } from '../../harness/broker/raw-http2.js';
import { bearer, credentialIn } from '../../harness/bus/token.js';
import { until } from '../../harness/until.js';

const BUF = fileURLToPath(new URL('../../../../node_modules/.bin/buf', import.meta.url));
const root = process.geteuid?.() === 0;
let harness: Harness;

beforeEach(async () => {
  harness = new Harness();
  harness.wantsToken = true;
  await harness.startBroker();
});
afterEach(() => harness.destroy());

const tokenPath = () => join(harness.dataDir, 'token');
const token = () => readFileSync(tokenPath(), 'utf8').trim();
const url = (path: string) => `http://${harness.broker.httpAddress}${path}`;

/** Every Authorization that is not the token, by name; undefined: none. */
function unsound(): Readonly<Record<string, string | undefined>> {
  const right = token();
  return {
    none: undefined,
    empty: '',
    'scheme alone': 'Bearer',
    'no scheme': right,
    'another scheme': `Basic ${Buffer.from(`x:${right}`).toString('base64')}`,
    'another token': `Bearer ${'A'.repeat(right.length)}`,
    'its beginning': `Bearer ${right.slice(0, -1)}`,
    'more than it': `Bearer ${right}A`,
    'in another case': `Bearer ${right.toLowerCase() === right ? right.toUpperCase() : right.toLowerCase()}`,
    'two in one': `Bearer ${right}, Bearer ${right}`,
    'two words': `Bearer ${right} ${right}`,
    long: `Bearer ${'A'.repeat(2_000)}`,
  };
}

/** Status of one call by hand, without what a gRPC library makes of it. */
async function grpcStatus(path: string, authorization: string | undefined): Promise<{ code: string; message: string }> {
  const session = connect(`http://${harness.broker.grpcAddress}`);
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(authorization === undefined ? {} : { authorization }),
    });
    stream.on('error', () => undefined);
    const [headers] = (await once(stream, 'response')) as [Record<string, string>];
    const text = decodeURI(headers['grpc-message'] ?? '');
    return { code: String(headers['grpc-status']), message: text };
  } finally {
    session.destroy();
  }
}

const WANTING = [
  '/backplane.v1.Backplane/Subscribe',
  '/backplane.v1.Backplane/ListNodes',
  '/backplane.v1.Backplane/SetBudget',
  '/backplane.v1.Backplane/NoSuchCall',
  '/backplane.v1.Uplink/Control',
  '/backplane.v1.Uplink/Live',
  '/backplane.v1.Uplink/History',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  '/no.such.Service/Call',
];

test('a gRPC call without the token is refused before a byte of its message was sent', async () => {
  for (const path of WANTING) {
    const { code, message } = await grpcStatus(path, undefined);
    assert.equal(code, String(status.UNAUTHENTICATED), path);
    const expected = `the token of this broker is in ${tokenPath()}, owned by `;
    assert.ok(message.startsWith(`no token came: ${expected}`), message);
    assert.match(message, /, mode 0600: run as \S+, or set BACKPLANE_TOKEN_FILE$/);
  }
});

test('every wrong form of the token is refused alike over gRPC and HTTP', async () => {
  for (const [what, authorization] of Object.entries(unsound())) {
    const { code, message } = await grpcStatus('/backplane.v1.Backplane/ListNodes', authorization);
    assert.equal(code, String(status.UNAUTHENTICATED), what);
    const answer = await fetch(url('/v1/nodes'), { headers: authorization === undefined ? {} : { authorization } });
    assert.equal(answer.status, 401, what);
    assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="backplane"');
    const { code: told, detail, status: again } = (await answer.json()) as Record<string, unknown>;
    assert.deepEqual([told, detail, again], ['unauthenticated', message, 401]);
    assert.ok(!message.includes(token()), 'the refusal must not tell the token');
  }
});

test('a call that sends the token twice is refused, even where both are right', async () => {
  const raw = await RawHttp2.connect(harness.broker.grpcAddress);
  const header = `Bearer ${token()}`;
  const credential = ['authorization', header] as const;
  raw.request(1, '/backplane.v1.Backplane/ListNodes', [credential]);
  raw.request(3, '/backplane.v1.Backplane/ListNodes', [credential, credential]);
  await until('an answer', () => raw.answered.has(3));
  // Whose message has not come, the broker waits for.
  assert.ok(!raw.answered.has(1), 'the token once is let in');
  raw.destroy();
  const answer = await new Promise<number>((resolve, reject) => {
    const [host, port] = harness.broker.httpAddress.split(':') as [string, string];
    const socket = connectSocket(Number(port), host);
    socket.on('error', reject).once('data', (bytes: Buffer) => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString('latin1'))?.[1]));
    });
    socket.write(
      `GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${header}\r\nAuthorization: ${header}\r\n\r\n`,
    );
  });
  assert.equal(answer, 401);
});

test('with the token, subscribers, agents, reflection and HTTP requests are let in', async () => {
  const client = new Client([harness.broker.grpcAddress], credentialIn(harness.dataDir));
  assert.deepEqual((await client.listNodes()).nodes, []);
  const stop = new AbortController();
  for await (const item of client.subscribe({ follow: true }, stop.signal)) if (item.kind === 'accepted') stop.abort();
  client.close();
  const uplink = createUplinkClient(harness.broker.grpcAddress, token());
  const control = uplink.control(new Metadata());
  control.on('error', () => undefined);
  control.write({ hello: { node: 'a', recorderId: 'r', protocol: PROTOCOL, version: harness.version } });
  const [welcome] = (await once(control, 'data')) as [{ welcome?: { session: string } }];
  assert.ok(welcome.welcome?.session);
  control.cancel();
  uplink.close();
  const header = `authorization: bearer  ${token()}`;
  const listed = await promisify(execFile)(BUF, [
    ...['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--reflect-header', header, '-H', header],
    ...[`http://${harness.broker.grpcAddress}`, '--list-methods'],
  ]);
  assert.match(listed.stdout, /^backplane\.v1\.Backplane\/Subscribe$/m);
  assert.equal((await fetch(url('/v1/nodes'), { headers: bearer(harness.dataDir) })).status, 200);
});

test('health, readiness and metrics need no token, and the metrics count refused calls', async () => {
  await fetch(url('/v1/nodes'));
  await fetch(url('/v1/events?follow=true'), { headers: { authorization: 'Bearer x' } });
  await fetch(url('/v1/nothing'), { headers: { authorization: `Bearer ${'A'.repeat(43)}` } });
  await grpcStatus('/backplane.v1.Uplink/Control', undefined);
  for (const path of ['/healthz', '/readyz', '/metrics']) assert.equal((await fetch(url(path))).status, 200, path);
  const metrics = await (await fetch(url('/metrics'))).text();
  assert.match(metrics, /^backplane_auth_refused_total\{reason="missing"\} 2$/m);
  assert.match(metrics, /^backplane_auth_refused_total\{reason="malformed"\} 1$/m);
  assert.match(metrics, /^backplane_auth_refused_total\{reason="wrong"\} 1$/m);
  const lines = harness.logged.filter(({ msg }) => /refused for want/.test(msg));
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ["a call was refused for want of the broker's token"],
  );
  assert.ok(!JSON.stringify(harness.logged).includes(token()));
  const Health = makeGenericClientConstructor(healthService, 'Health');
  const health = new Health(harness.broker.grpcAddress, credentials.createInsecure());
  const check = health.check!.bind(health);
  const answer = await promisify(check as (request: object, done: requestCallback<{ status: string }>) => void)({});
  assert.equal(answer?.status, 'SERVING');
  health.close();
});

test('a refused call leaves no stream open, even if its caller goes on sending', async () => {
  const session = connect(`http://${harness.broker.grpcAddress}`);
  await once(session, 'remoteSettings');
  // More than one connection may have open at a time.
  for (let call = 0; call < 600; call += 1) {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/backplane.v1.Uplink/Live',
      'content-type': 'application/grpc',
    });
    stream.on('error', () => undefined);
    stream.write(Buffer.alloc(64));
    const [headers] = (await once(stream, 'response')) as [Record<string, string>];
    assert.equal(String(headers['grpc-status']), String(status.UNAUTHENTICATED));
    await once(stream, 'close');
  }
  session.destroy();
});

test('a subscriber with a wrong token is told which broker refused it and which token it sent, and ends', async () => {
  const wrong = { token: 'A'.repeat(43), from: '/elsewhere/token' };
  const client = new Client([harness.broker.grpcAddress], () => wrong);
  const told =
    /another token came: the token of this broker is in .*\/token, owned by .* \(\/elsewhere\/token was sent\)$/;
  await assert.rejects(client.getStatus(), { code: 'unauthenticated', exitCode: 2, message: told });
  const asking = client.subscribe({ follow: true }, new AbortController().signal).next();
  await assert.rejects(asking, { code: 'unauthenticated', message: told });
  client.close();
});

test('the token file is made once, is readable by its user alone, and is kept over restarts', async () => {
  const { mode, uid } = statSync(tokenPath());
  assert.equal(mode & 0o777, 0o600);
  assert.equal(uid, process.geteuid?.());
  assert.equal(Buffer.from(token(), 'base64url').length, 32);
  assert.deepEqual(
    readdirSync(harness.dataDir).filter((name) => /token/.test(name)),
    ['token'],
  );
  const before = token();
  await harness.broker.abort();
  await harness.startBroker();
  assert.equal(token(), before);
  const other = new Harness();
  other.wantsToken = true;
  await other.startBroker();
  assert.notEqual(readFileSync(join(other.dataDir, 'token'), 'utf8').trim(), before);
  await other.destroy();
});

const warnings: string[] = [];
const take = () => brokerToken(harness.dataDir, (message) => warnings.push(message));

test('an unreliable token file is refused with one line, or replaced', () => {
  const refused = (reason: RegExp) =>
    assert.throws(take, (error: Error) => reason.test(error.message) && !error.message.includes('\n'));
  for (const mode of [0o644, 0o640, 0o604, 0o622]) {
    chmodSync(tokenPath(), mode);
    refused(new RegExp(`can be read by others \\(mode 0${mode.toString(8)}\\): set its mode to 0600, or remove it`));
  }
  chmodSync(tokenPath(), 0o600);
  for (const text of [
    '',
    '\n',
    'short',
    'x'.repeat(9_000),
    'x'.repeat(100_000),
    'with space'.repeat(5),
    'ü'.repeat(40),
  ]) {
    writeFileSync(tokenPath(), text);
    refused(/token file .*; remove it, and a new one is made$/);
  }
  rmSync(tokenPath());
  mkdirSync(tokenPath());
  refused(/is not a regular file; remove it/);
  rmSync(tokenPath(), { recursive: true });
  symlinkSync('/dev/zero', tokenPath());
  refused(/is not a regular file; remove it/);
  rmSync(tokenPath());
  // Half a token of a start that was killed.
  writeFileSync(join(harness.dataDir, '.token.new'), 'half');
  assert.equal(take().token, token());
  assert.equal(statSync(tokenPath()).mode & 0o777, 0o600);
});

test('a token file of another user is replaced', { skip: root ? false : 'needs root to give a file away' }, () => {
  const before = token();
  chownSync(tokenPath(), 65_534, 65_534);
  const after = take();
  assert.notEqual(after.token, before);
  assert.equal(statSync(tokenPath()).uid, 0);
  assert.match(warnings.at(-1) ?? '', /belonged to another user \(65534\)/);
});

test('a broker without a token lets everybody in, even callers that send one', async () => {
  await harness.broker.abort();
  harness.wantsToken = false;
  await harness.startBroker();
  assert.equal(harness.broker.tokenFile, undefined);
  assert.equal((await fetch(url('/v1/nodes'))).status, 200);
  assert.equal((await fetch(url('/v1/nodes'), { headers: { authorization: 'Bearer x' } })).status, 200);
  const client = createBackplaneClient(harness.broker.grpcAddress, 'x'.repeat(40));
  await new Promise<void>((resolve, reject) => client.getStatus({}, (error) => (error ? reject(error) : resolve())));
  client.close();
});
