/** `certs` as whoever sets up TLS types it, and what commands say of connections that are not secure. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chownSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pinOf } from '../../src/access/authority.js';
import { parseJoinToken } from '../../src/access/join-token.js';
import { readKeyPair } from '../../src/access/key-pair.js';
import { TestAuthority } from '../harness/access/certificates.js';
import { Harness } from '../harness/broker/harness.js';
import { run } from '../harness/bus/command.js';
import { tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const skip = process.getuid?.() === 0 ? false : 'needs root to give files away';
const dir = join(scratchDirectory('certs'), 'made');
const file = (name: string) => join(dir, name);
let harness: Harness;

before(async () => {
  const { code, out, err } = await run([
    'certs',
    'init',
    '--dir',
    dir,
    '--name',
    'broker.example',
    '--address',
    '127.0.0.1',
  ]);
  assert.deepEqual([err, code], ['', 0]);
  assert.match(out, /reached as broker\.example, 127\.0\.0\.1, localhost, ::1\n$/);
  harness = new Harness();
  harness.wantsToken = true;
  const signs = { key: file('ca.key'), validMs: 3_600_000 };
  harness.tls = { cert: file('broker.crt'), key: file('broker.key'), clientCa: file('ca.crt'), signs };
  await harness.startBroker();
});
after(() => harness.destroy());

test('keys are readable by their owner alone, and certificates by all', () => {
  assert.deepEqual(readdirSync(dir).sort(), ['broker.crt', 'broker.key', 'ca.crt', 'ca.key']);
  for (const name of readdirSync(dir))
    assert.equal(statSync(file(name)).mode & 0o777, name.endsWith('.key') ? 0o600 : 0o644, name);
  const { certificate } = readKeyPair(file('broker.crt'), file('broker.key'), Date.now());
  const ca = new X509Certificate(readFileSync(file('ca.crt')));
  assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey) && ca.ca && !certificate.ca);
  assert.ok(certificate.checkHost('broker.example') && certificate.checkHost('localhost'));
  assert.ok(certificate.checkIP('127.0.0.1') && certificate.checkIP('::1'));
});

test('a node or client gets a certificate with its SPIFFE ID, for as long as was asked', async () => {
  const made = await run(['certs', 'issue', 'web-1', '--for', 'node', '--days', '2', '--dir', dir]);
  const { certificate, endsMs } = readKeyPair(file('web-1.crt'), file('web-1.key'), Date.now());
  const told = `spiffe://backplane/node/web-1, serial ${certificate.serialNumber}`;
  assert.equal(made.out, `${file('web-1.crt')}, ${file('web-1.key')}: ${told}\n`);
  assert.equal(certificate.subjectAltName, 'URI:spiffe://backplane/node/web-1');
  assert.ok(Math.abs(endsMs - Date.now() - 2 * 86_400_000) < 60_000);
});

test('what root replaces belongs to whom it belonged, so that the broker can read it', { skip }, async () => {
  chownSync(dir, 65_534, 65_534);
  chownSync(file('web-1.key'), 65_533, 65_533);
  const args = ['certs', 'issue', '--dir', dir];
  await Promise.all([run([...args, 'web-1', '--for', 'node', '--force']), run([...args, 'new'])]);
  const seen = ['web-1.key', 'new.key'].map((name) => statSync(file(name)));
  assert.deepEqual(
    seen.map(({ uid, mode }) => [uid, mode & 0o777]),
    [
      [65_533, 0o600],
      [65_534, 0o600],
    ],
  );
});

test('nothing is replaced without --force, and what cannot be is refused in one line', async () => {
  const before = readFileSync(file('ca.key'));
  const refusals: readonly (readonly [string[], RegExp])[] = [
    [['init'], /ca\.crt, .*ca\.key, .*: there already; --force replaces what is there\n$/],
    [['issue', 'broker'], /broker\.crt, \S+broker\.key: there already; --force/],
    [['issue', 'a/b'], /^backplane: the name must be at most 253 letters, digits, .*, got "a\/b"\n$/],
    [['issue', 'ca', '--force'], /^backplane: the name "ca" is that of the authority\n$/],
    [['issue', 'x', '--days', '0'], /^backplane: --days must be 1 to 3650, got 0\n$/],
    [['issue', 'x', '--name', 'x'], /those of a broker or a nats-server: give --for broker or --for nats\n$/],
    [['init', '--force', '--name', 'a b'], /^backplane: --name must be a host name, got "a b"\n$/],
    [['init', '--force', '--address', 'x'], /^backplane: --address must be an IP address, got "x"\n$/],
  ];
  await Promise.all(
    refusals.map(async ([args, message]) => {
      const { code, err } = await run(['certs', ...args, '--dir', dir]);
      assert.match(err, message);
      assert.ok(code === 1 || code === 2);
    }),
  );
  const none = await run(['certs', 'issue', 'x', '--dir', join(dir, 'none')]);
  assert.match(none.err, /^backplane: the key file \S+ca\.key cannot be read: there is no such file\n$/);
  assert.deepEqual(readFileSync(file('ca.key')), before);
});

test('a join token is printed alone on stdout, and names the authority', async () => {
  const broker = harness.broker.grpcAddress;
  const args = ['--broker', broker, '--tls-ca', file('ca.crt'), '--token-file', tokenFile(harness.dataDir)];
  const { out, code } = await run(['certs', 'join-token', 'web-*', ...args]);
  assert.equal(code, 0);
  const token = parseJoinToken(out.trimEnd());
  assert.equal(token?.pin, pinOf(new X509Certificate(readFileSync(file('ca.crt')))));
});

test('a connection that is not secure is told in one line that says what to do', async () => {
  const other = await TestAuthority.make('other');
  const stranger = await other.client('alice');
  const broker = harness.broker.grpcAddress;
  const plain = await Harness.start();
  const late = new Harness();
  const ended = await other.authority.issue({ kind: 'broker', name: 'b', hosts: ['127.0.0.1'] }, 2_000, Date.now());
  late.tls = { ...other.write(ended), clientCa: undefined };
  await late.startBroker();
  while (Date.now() <= Date.parse(new X509Certificate(ended.cert).validTo))
    await new Promise((resolve) => setTimeout(resolve, 50));
  const ca = ['--tls-ca', file('ca.crt')];
  const cases: readonly (readonly [string, string[], RegExp])[] = [
    [broker, [], /it closed the connection, as it does where it wants TLS: name its CA with --tls-ca\n$/],
    [broker, ['--tls-ca', other.ca], /its certificate is not signed by the CA that --tls-ca names\n$/],
    [broker, ['--tls-ca', 'system'], /its certificate is not signed by the CA that --tls-ca names\n$/],
    ['127.0.0.2:0', ca, /its certificate is for another name \(.*127\.0\.0\.2.*\)\n$/],
    [plain.broker.grpcAddress, ca, /it does not speak TLS there: leave out --tls-ca/],
    [late.broker.grpcAddress, ['--tls-ca', other.ca], /its certificate has expired\n$/],
    [
      broker,
      [...ca, '--tls-cert', stranger.cert, '--tls-key', stranger.key],
      /it closed the connection, as it does to a certificate/,
    ],
  ];
  // One listens on all addresses, for the name that its certificate has not.
  const everywhere = new Harness();
  everywhere.tls = harness.tls;
  everywhere.grpcListen = '0.0.0.0:0';
  await everywhere.startBroker();
  const anyPort = everywhere.broker.grpcAddress.split(':')[1];
  await Promise.all(
    cases.map(async ([address, args, message]) => {
      const asked = address.startsWith('127.0.0.2') ? `127.0.0.2:${anyPort}` : address;
      const { code, out, err } = await run(['nodes', '--broker', asked, ...args]);
      assert.match(err, message);
      assert.ok(err.startsWith(`backplane: no secure connection to the broker at ${asked}: `), err);
      assert.deepEqual([out, code, err.split('\n').length], ['', 1, 2]);
    }),
  );
  for (const each of [plain, late, everywhere]) await each.destroy();
  const settings: readonly (readonly [string[], RegExp])[] = [
    [['--tls-ca', join(dir, 'none')], /^backplane: the certificate file \S+ cannot be read: there is no such file\n$/],
    [
      [...ca, '--tls-cert', file('web-1.crt')],
      /^backplane: tls\.cert is set, and needs tls\.key \(--tls-key\) beside it\n$/,
    ],
    [['--tls-cert', file('web-1.crt'), '--tls-key', file('web-1.key')], /needs tls\.ca \(--tls-ca\) beside it\n$/],
    [[...ca, '--tls-cert', file('ca.crt'), '--tls-key', file('broker.key')], /is not that of the certificate in/],
  ];
  await Promise.all(
    settings.map(async ([args, message]) => {
      const { code, err } = await run(['nodes', '--broker', broker, ...args]);
      assert.match(err, message);
      assert.equal(code, 2);
    }),
  );
});
