/** Agents with certificates: a node is what its certificate says, whatever the agent says, and nothing else. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { renew } from '../../../src/access/join.js';
import { securedBy } from '../../../src/access/secure-channel.js';
import { Client } from '../../../src/client/client.js';
import { createJoinToken } from '../../../src/client/create-join-token.js';
import { TestAuthority } from '../../harness/access/certificates.js';
import { Identities } from '../../harness/access/identities.js';
import { Harness } from '../../harness/broker/harness.js';
import { TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { credentialIn } from '../../harness/bus/token.js';
import { settled, until } from '../../harness/until.js';

const harness = new Harness();
const ROLES = `
roles:
  helper: { verbs: [join], nodes: ["web-*"] }
  reader: { verbs: [view, subscribe] }
bindings:
  - { role: helper, identities: [helper] }
  - { role: reader, identities: ["spiffe://backplane/client/bob-*"] }
`;
const identities = new Identities(ROLES, ['helper']);
let authority: TestAuthority;
before(async () => {
  authority = await TestAuthority.make();
  harness.wantsToken = true;
  harness.tls = { ...(await authority.broker()), signs: { key: authority.caKey, validMs: 86_400_000 } };
  harness.access = identities.files;
  await harness.startBroker();
});
after(() => harness.destroy());

const secured = async (name: string, kind: 'client' | 'node') =>
  securedBy({ ca: authority.ca, own: await authority.client(name, kind) });

async function connect(node: string, name: string, kind: 'client' | 'node' = 'node'): Promise<TestAgent> {
  const { grpcAddress } = harness.broker;
  const security = await secured(name, kind);
  return TestAgent.connect(grpcAddress, node, new TestRecorder(`r-${name}`), {}, undefined, security);
}

test('an agent is the node that its certificate names; another name, and a certificate of no node, are denied', async () => {
  const agent = await connect('web-1', 'web-1');
  assert.equal(agent.ended, undefined);
  agent.kill();
  await assert.rejects(
    connect('web-2', 'web-1'),
    /7 PERMISSION_DENIED.*is the certificate of the node "web-1", not of "web-2"/,
  );
  await assert.rejects(connect('alice', 'alice', 'client'), /7 PERMISSION_DENIED/);
});

test('an agent that leaves its name to its certificate has it', async () => {
  const agent = await connect('', 'web-3');
  const client = new Client([harness.broker.grpcAddress], credentialIn(harness.dataDir), {
    securityFor: securedBy({ ca: authority.ca, own: undefined }),
  });
  const { nodes } = await client.listNodes();
  assert.ok(nodes.some(({ name, state }) => name === 'web-3' && state === 'NODE_STATE_CONNECTED'));
  client.close();
  agent.kill();
});

test('with the certificate of an agent nobody subscribes, lists or manages', async () => {
  const client = new Client([harness.broker.grpcAddress], undefined, {
    securityFor: await secured('web-1', 'node'),
  });
  const denied = { code: 'permission_denied' };
  await assert.rejects(client.subscribe({ follow: true }, new AbortController().signal).next(), denied);
  await assert.rejects(client.listNodes(), denied);
  await assert.rejects(client.forgetNodes(['web-2']), denied);
  client.close();
});

test('whoever shows a certificate sends no token beside it', async () => {
  const client = new Client([harness.broker.grpcAddress], credentialIn(harness.dataDir), {
    securityFor: await secured('alice', 'client'),
  });
  await assert.rejects(client.getStatus(), {
    code: 'permission_denied',
    message: /^certificate "spiffe:\/\/backplane\/client\/alice"/,
  });
  client.close();
});

test('who may have some nodes join names them, as a glob may reach beyond', async () => {
  const helper = () => ({ token: identities.token('helper'), from: 'the test' });
  const security = securedBy({ ca: authority.ca, own: undefined });
  const ask = (node: string) => createJoinToken([harness.broker.grpcAddress], helper, security, [node]);
  assert.ok((await ask('web-1')).token);
  await assert.rejects(ask('web-*'), { code: 'permission_denied', message: /must be names/ });
  await assert.rejects(ask('db-1'), { code: 'permission_denied', message: /may not use the node "db-1"/ });
});

test('a certificate that is revoked ends what runs by it, and lets nobody in; one that was made later does', async () => {
  const { grpcAddress } = harness.broker;
  const revoked = { code: 'unauthenticated', message: /^the certificate was revoked: join again/ };
  const stolen = async (name: string, kind: 'client' | 'node') =>
    securedBy({ ca: authority.ca, own: authority.write(await authority.clientPem(name, kind, -60_000)) });
  const ofNode = await stolen('web-7', 'node');
  const agent = await TestAgent.connect(grpcAddress, 'web-7', new TestRecorder('r-7'), {}, undefined, ofNode);
  const pair = await authority.clientPem('bob-1');
  const bob = new Client([grpcAddress], undefined, {
    securityFor: securedBy({ ca: authority.ca, own: authority.write(pair) }),
  });
  const running = bob.subscribe({ follow: true }, new AbortController().signal);
  await running.next();
  const rest = (async () => {
    for await (const _ of running);
  })();
  rest.catch(() => undefined);
  const { serialNumber } = new X509Certificate(pair.cert);
  const before = new Date(Date.now() - 30_000).toISOString();
  identities.write(`${ROLES}
revoked:
  - { identity: spiffe://backplane/node/web-7, before: "${before}" }
  - { serial: "${serialNumber.toLowerCase()}" }
`);
  await until('the end of the agent', () => agent.ended !== undefined);
  await assert.rejects(settled('the end of its stream', rest), {
    code: 'unauthenticated',
    message: /^the certificate (with which this began )?was revoked/,
  });
  await assert.rejects(bob.getStatus(), revoked);
  bob.close();
  await assert.rejects(
    TestAgent.connect(grpcAddress, 'web-7', new TestRecorder('r-7'), {}, undefined, ofNode),
    /16 UNAUTHENTICATED: the certificate was revoked/,
  );
  await assert.rejects(renew(grpcAddress, ofNode(grpcAddress)), revoked);
  const [host = '', port = ''] = harness.broker.httpAddress.split(':');
  const asking = request({ host, port, path: '/v1/nodes', ca: authority.authority.pem, ...pair, agent: false }).end();
  const [{ statusCode }] = (await once(asking, 'response')) as [{ statusCode: number }];
  assert.equal(statusCode, 401);
  const again = await connect('web-7', 'web-7');
  assert.equal(again.ended, undefined);
  again.kill();
  const other = new Client([grpcAddress], undefined, { securityFor: await secured('bob-2', 'client') });
  assert.equal((await other.getStatus()).dataDir, '');
  other.close();
});
