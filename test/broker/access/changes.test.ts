/** Agents, roles and tokens that change, and what is on record of it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bearer, GuardedBroker, NAMES, NODES, ROLES } from '../../harness/access/guarded-broker.js';
import { TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let guarded: GuardedBroker;
before(async () => {
  guarded = await GuardedBroker.start();
});
after(() => guarded.destroy());

test('an agent with a token is a node that its role names, and no other', async () => {
  const connect = (node: string, token: string) =>
    TestAgent.connect(guarded.harness.broker.grpcAddress, node, new TestRecorder(`r-${node}`), {}, token);
  const agent = await connect('edge-1', guarded.identities.token('edge'));
  assert.equal(agent.ended, undefined);
  agent.kill();
  for (const [node, name, message] of [
    ['prod-1', 'edge', /may not be the node "prod-1"/],
    ['edge-9', 'edge', /may not be the node "edge-9"/],
    ['edge-1', 'alice', /may not do this/],
  ] as const) {
    await assert.rejects(connect(node, guarded.identities.token(name)), message);
  }
});

test('a role that is taken back, and a token that is revoked, end what runs', async () => {
  const running = guarded.harness.subscribe({ follow: true }, guarded.identities.issue('live'));
  await running.isAccepted();
  guarded.identities.revoke('live');
  await until('its end', () => running.ended);
  assert.deepEqual([running.error?.code, /was revoked/.test(running.error?.details ?? '')], [16, true]);
  const viewing = guarded.harness.subscribe({ follow: true }, guarded.identities.token('alice'));
  await viewing.isAccepted();
  guarded.identities.write(ROLES.replace('nodes: ["prod-*"]', 'nodes: ["test-*"]'));
  await until('its end', () => viewing.ended);
  assert.deepEqual([viewing.error?.code, /has changed/.test(viewing.error?.details ?? '')], [7, true]);
  guarded.identities.write(`${ROLES}\n  - { role: none, identities: [x] }`);
  await until('a word of it', () =>
    guarded.harness.logged.some(({ msg }) =>
      /roles\.yaml: bindings.*there is no role "none".*stays in force/.test(msg),
    ),
  );
  assert.equal((await guarded.overHttp(NODES.http, guarded.as('viewer'))).status, 200, 'the last good roles stay');
  guarded.identities.write(ROLES);
});

test('what was asked is on record before its first event, and what was refused within a second', async () => {
  const reader = guarded.harness.subscribe({ limit: '1', topics: ['process'] }, guarded.identities.token('two'));
  await until('its end', () => reader.ended);
  assert.match(String(reader.error?.details), /may not use the topic/);
  const seen = guarded.harness.subscribe({ follow: true, client: 'audited' }, guarded.own);
  await seen.isAccepted();
  const entry = (await guarded.record()).find(({ client }) => client === 'audited');
  assert.deepEqual([entry?.action, entry?.identity, entry?.kind, entry?.follow], ['subscribe', 'local', 'local', true]);
  seen.cancel();
  const granted = async () => (await guarded.replayed({ limit: '100' }, guarded.as('alice'))).join(' ');
  await until('the first roles', async () => (await granted()) === 'prod-1:10 prod-1:11');
  const history = await until('how much was delivered', async () => {
    return (await guarded.record()).findLast(({ action, identity }) => action === 'history' && identity === 'alice');
  });
  assert.deepEqual([history.events, Number(history.bytes) > 0], [2, true]);
  const began = (await guarded.record()).find(({ subscription }) => subscription === history.subscription);
  assert.deepEqual(
    [began?.action, began?.filters, began?.topics, began?.nodes],
    ['subscribe', ['process.pid != 666'], ['process', 'security'], ['&prod-*', '!prod-secret']],
  );
  const { rolesFile } = guarded.identities;
  assert.ok((await guarded.record()).some(({ action, file }) => action === 'reload' && file === rolesFile));
  for (const authorization of [bearer(guarded.expired), [...guarded.as('alice'), ...guarded.as('alice')]]) {
    assert.equal((await guarded.overHttp(NODES.http, authorization)).status, 401);
  }
  await until('the refusals', async () => {
    const refusals = (await guarded.record()).filter(({ outcome }) => outcome === 'refused');
    const denied = refusals.find(({ identity }) => identity === 'two');
    const reasons = refusals.filter(({ action }) => action === 'authenticate').map(({ reason }) => reason);
    return (
      /may not use the topic "process"/.test(String(denied?.message)) &&
      reasons.includes('doubled') &&
      reasons.includes('expired')
    );
  });
  const written = JSON.stringify(await guarded.record());
  for (const name of NAMES)
    assert.ok(!written.includes(guarded.identities.token(name).slice(-43)), 'no token is on record');
});
