/** The client library over TLS: its broker is verified, a certificate is a credential, and members are asked whether they live. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { type Bus, connect } from '../../../src/client/library/grpc.js';
import { TestAuthority } from '../../harness/access/certificates.js';
import { Identities } from '../../harness/access/identities.js';
import { all } from '../../harness/all.js';
import { Harness } from '../../harness/broker/harness.js';
import { credentialIn } from '../../harness/bus/token.js';
import { until } from '../../harness/until.js';

const ROLES = `
roles: { reader: { verbs: [subscribe, history] } }
bindings: [{ role: reader, identities: ["spiffe://backplane/client/*"], kinds: [certificate] }]
`;
const TIMES = { memberMs: 400, commitMs: 300_000, revokeMs: 50, interestMs: 600_000, cursorsMs: 86_400_000 };
const harness = new Harness();
let own: TestAuthority;
let ca: string;
let token: string;
before(async () => {
  own = await TestAuthority.make('library');
  ca = readFileSync(own.ca, 'utf8');
  harness.wantsToken = true;
  harness.tls = await own.broker();
  harness.access = new Identities(ROLES, ['nobody']).files;
  harness.groups = TIMES;
  await harness.startBroker();
  token = credentialIn(harness.dataDir)(harness.broker.grpcAddress)!.token;
});
after(() => harness.destroy());

async function using(bus: Promise<Bus>, run: (bus: Bus) => Promise<void>): Promise<void> {
  const opened = await bus;
  await run(opened).finally(() => opened.close());
}

test('a bus over TLS subscribes, publishes and asks, by a token', async () => {
  const agent = await harness.agent('a');
  for (const pid of [1, 2, 3]) agent.recorder.record('process.exec', pid);
  const brokers = [harness.broker.grpcAddress];
  for (const security of [{ tls: { ca } }, { credentials: credentials.createSsl(Buffer.from(ca)) }]) {
    await using(connect({ brokers, ...security, token }), async (bus) => {
      const items = await all(bus.subscribe({ topics: ['process'], since: new Date(0) }));
      assert.equal(items.filter(({ kind }) => kind === 'event').length, 3);
      assert.equal((await bus.publish('app.deploy', 1, { id: 'd' })).offset >= 0, true);
      assert.deepEqual(
        (await bus.nodes()).map(({ name }) => name),
        ['a'],
      );
    });
  }
});

test('a client that shows a certificate sends no token', async () => {
  const { cert, key } = await own.clientPem('alice');
  const brokers = [harness.broker.grpcAddress];
  await using(connect({ brokers, tls: { ca, cert, key }, token }), async (bus) => {
    // With the token it could list them; with both it would be refused altogether.
    await assert.rejects(bus.nodes(), {
      code: 'permission_denied',
      message: /^certificate "spiffe:\/\/backplane\/client\/alice"/,
    });
    await all(bus.subscribe({ topics: ['process'], since: '1m' }));
    await assert.rejects(bus.publish('app.deploy', 1), { code: 'permission_denied' });
  });
});

test('a broker that cannot be verified is not talked to, and the error says why', async () => {
  const brokers = [harness.broker.grpcAddress];
  const other = readFileSync((await TestAuthority.make('other')).ca, 'utf8');
  const unknown = /its certificate is not signed by the CA that the option tls\.ca names$/;
  await assert.rejects(connect({ brokers, tls: { ca: other }, token }), unknown);
  await assert.rejects(connect({ brokers, tls: {}, token }), unknown);
  await assert.rejects(
    connect({ brokers, token }),
    /as it does where it wants TLS: name its CA with the option tls\.ca$/,
  );
  await assert.rejects(connect({ brokers, tls: { ca: 'none' }, token }), { code: 'invalid_argument' });
  await assert.rejects(connect({ brokers, tls: { ca, cert: 'x' }, token }), { code: 'invalid_argument' });
});

test('a member over TLS that no longer answers loses its slices', async () => {
  const sockets: Socket[] = [];
  const [host = '', port = ''] = harness.broker.grpcAddress.split(':');
  const way = createServer((socket) => {
    const broker = connectTcp(Number(port), host);
    sockets.push(socket, broker);
    for (const each of [socket, broker]) each.on('error', () => undefined);
    socket.pipe(broker).pipe(socket);
  }).listen(0, '127.0.0.1');
  await until('the way', () => way.listening);
  const { port: other } = way.address() as { port: number };
  const request = { follow: true, topics: ['process'], group: { name: 'g', slices: 8 } };
  const assigned = (member: { responses: readonly { group?: { assigned?: unknown } | null }[] }) =>
    member.responses.filter(({ group }) => group?.assigned).length;
  const stalled = harness.subscribe(request, token, `127.0.0.1:${other}`);
  await until('all slices', () => assigned(stalled) === 8);
  const standby = harness.subscribe(request, token);
  await until('half of them', () => assigned(standby) === 4);
  for (const socket of sockets) socket.unpipe().pause();
  await until('the others', () => assigned(standby) === 8);
  for (const socket of sockets) socket.destroy();
  way.close();
});
