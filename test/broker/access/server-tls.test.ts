/** Certificates that change while the broker runs: in place, by renames, behind symbolic links; sound ones and others. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, before, test } from 'node:test';
import { connect, createServer as createTlsServer } from 'node:tls';
import { guardConnections } from '../../../src/broker/access/tls/connection-guard.js';
import { CERTIFICATE_EARLY_MS } from '../../../src/limits.js';
import { type PemPair, replaceFile, TestAuthority } from '../../harness/access/certificates.js';
import { Harness, until } from '../../harness/broker/harness.js';
import { bearer } from '../../harness/bus/token.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

let own: TestAuthority;
let harness: Harness | undefined;

before(async () => {
  own = await TestAuthority.make('reload');
});
afterEach(async () => {
  await harness?.destroy();
  harness = undefined;
});

async function started(tls: { cert: string; key: string; clientCa?: string | undefined }): Promise<Harness> {
  const bus = new Harness();
  bus.wantsToken = true;
  bus.tls = { clientCa: undefined, ...tls };
  await bus.startBroker();
  harness = bus;
  return bus;
}

/** Serial numbers of the certificates that both ports show to a new connection. */
async function shown({ broker }: Harness): Promise<string[]> {
  const addresses = [broker.grpcAddress, broker.httpAddress];
  return Promise.all(
    addresses.map(async (address) => {
      const [host, port] = address.split(':') as [string, string];
      const socket = connect({ host, port: Number(port), ca: own.authority.pem, ALPNProtocols: ['h2'] });
      await once(socket, 'secureConnect');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    }),
  );
}

async function serialOf({ cert }: PemPair): Promise<string> {
  return new X509Certificate(cert).serialNumber;
}

async function becomes(bus: Harness, pair: PemPair): Promise<void> {
  const serial = await serialOf(pair);
  await until('the new certificate on both ports', async () => (await shown(bus)).every((each) => each === serial));
}

async function status(bus: Harness): Promise<string> {
  const answer = await ask(bus, '/v1/status');
  return (JSON.parse(answer) as { tlsTrouble: string }).tlsTrouble;
}

async function ask({ broker, dataDir }: Harness, path: string): Promise<string> {
  const [host, port] = broker.httpAddress.split(':') as [string, string];
  const headers = bearer(dataDir);
  const asked = request({ host, port, path, headers, ca: own.authority.pem, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const part of response) text += part.toString();
  return text;
}

test('files that are written in place or replaced are used by both ports, and open connections go on', async () => {
  const files = await own.broker();
  const bus = await started(files);
  const [host, port] = bus.broker.grpcAddress.split(':') as [string, string];
  const open = connect({ host, port: Number(port), ca: own.authority.pem, ALPNProtocols: ['h2'] });
  await once(open, 'secureConnect');
  const inPlace = await own.brokerPem();
  writeFileSync(files.key, inPlace.key);
  writeFileSync(files.cert, inPlace.cert);
  await becomes(bus, inPlace);
  const renamed = await own.brokerPem();
  replaceFile(files.cert, renamed.cert);
  replaceFile(files.key, renamed.key);
  await becomes(bus, renamed);
  assert.equal(open.destroyed, false);
  open.destroy();
});

test('what a symbolic link leads to is noticed, as Kubernetes changes a mounted secret', async () => {
  const dir = scratchDirectory('secret');
  const version = (name: string, pair: PemPair) => {
    mkdirSync(join(dir, name));
    writeFileSync(join(dir, name, 'tls.crt'), pair.cert);
    writeFileSync(join(dir, name, 'tls.key'), pair.key);
    symlinkSync(name, join(dir, '..data.new'));
    renameSync(join(dir, '..data.new'), join(dir, '..data'));
  };
  version('..1', await own.brokerPem());
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(dir, name));
  const bus = await started({ cert: join(dir, 'tls.crt'), key: join(dir, 'tls.key') });
  const next = await own.brokerPem();
  version('..2', next);
  rmSync(join(dir, '..1'), { recursive: true });
  await becomes(bus, next);
});

test('the last good pair stays in use while the files are unsound, and log and status say so', async () => {
  const files = await own.broker();
  const bus = await started(files);
  const good = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  const serial = await serialOf(good);
  const stranger = await own.brokerPem();
  const late = await own.authority.issue(
    { kind: 'broker', name: 'b', hosts: ['127.0.0.1'] },
    1000,
    Date.now() - 60_000,
  );
  const unsound: Readonly<Record<string, () => void>> = {
    'is not that of the certificate': () => replaceFile(files.key, stranger.key),
    'has expired on': () => {
      replaceFile(files.cert, late.cert);
      replaceFile(files.key, late.key);
    },
    'has no certificate in PEM form': () => replaceFile(files.cert, 'no certificate'),
    'has no private key in PEM form': () => replaceFile(files.key, good.cert),
    'there is no such file': () => rmSync(files.cert),
    'has no certificate in PEM form, again': () => writeFileSync(files.clientCa!, ''),
  };
  for (const [reason, damage] of Object.entries(unsound)) {
    const authorities = readFileSync(files.clientCa!, 'utf8');
    damage();
    bus.broker.reload();
    const told = await status(bus);
    assert.ok(told.includes(reason.replace(/, again$/, '')), told);
    assert.match(told, /: the certificate from before stays in use, until /);
    assert.ok(bus.logged.some(({ msg }) => msg === told));
    assert.deepEqual(await shown(bus), [serial, serial]);
    replaceFile(files.cert, good.cert);
    replaceFile(files.key, good.key);
    writeFileSync(files.clientCa!, authorities);
    bus.broker.reload();
    assert.equal(await status(bus), '');
  }
});

test('a certificate that begins later is used from then on', async () => {
  const files = await own.broker();
  const bus = await started(files);
  const holder = { kind: 'broker', name: 'b', hosts: ['127.0.0.1'] } as const;
  const replaced = async (inMs: number): Promise<PemPair> => {
    const beginsMs = Date.now() + inMs;
    const early = await own.authority.issue(holder, 86_400_000, beginsMs + CERTIFICATE_EARLY_MS);
    replaceFile(files.key, early.key);
    replaceFile(files.cert, early.cert);
    bus.broker.reload();
    // A machine that was busy for so long gets more time.
    if (Date.now() >= beginsMs - 1_000) return replaced(2 * inMs);
    assert.ok(bus.logged.some(({ msg }) => /holds only from /.test(msg)));
    return early;
  };
  const early = await replaced(2_500);
  await becomes(bus, early);
});

test('a metric says when the certificate ends, and status when that is soon', async () => {
  const ending = await own.authority.issue({ kind: 'broker', name: 'b', hosts: ['127.0.0.1'] }, 3_600_000, Date.now());
  const { cert, key } = own.write(ending);
  const bus = await started({ cert, key });
  const seconds = Date.parse(new X509Certificate(ending.cert).validTo) / 1000;
  const metrics = await ask(bus, '/metrics');
  for (const listener of ['grpc', 'http']) {
    const line = `backplane_certificate_expiry_timestamp_seconds{listener="${listener}"} ${seconds}`;
    assert.ok(metrics.includes(`${line}\n`), line);
  }
  assert.match(await status(bus), /^the certificate in \S+ ends on /);
});

test('a broker does not start with files that are unsound, and says which', async () => {
  const { cert } = await own.client('x');
  const other = await own.client('y');
  await assert.rejects(started({ cert, key: other.key }), {
    code: 'invalid_argument',
    message: /the key in \S+ is not/,
  });
  await assert.rejects(started({ cert, key: '/dev/zero' }), {
    code: 'invalid_argument',
    message: /must be a regular file/,
  });
  await assert.rejects(started({ cert, key: cert }), { code: 'invalid_argument', message: /no private key/ });
});

test('handshakes at once are bounded: the oldest makes way, and those that are done do not count', async () => {
  const { cert, key } = await own.brokerPem();
  const server = createTlsServer({ cert, key });
  guardConnections(server, () => undefined, 2);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const done = connect({ port, host: '127.0.0.1', ca: own.authority.pem });
  await once(done, 'secureConnect');
  const silent: Socket[] = [];
  for (let count = 0; count < 3; count += 1) {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    await once(socket, 'connect');
    silent.push(socket);
  }
  await until('the oldest to be closed', () => silent[0]!.closed);
  assert.deepEqual(
    silent.map(({ closed }) => closed),
    [true, false, false],
  );
  assert.equal(done.destroyed, false);
  for (const socket of [done, ...silent]) socket.destroy();
  server.close();
});
