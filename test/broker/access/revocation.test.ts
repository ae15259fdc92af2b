/** A disk that takes nothing holds up what is granted, and not what is taken away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Identities } from '../../harness/access/identities.js';
import { Harness } from '../../harness/broker/harness.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { until } from '../../harness/until.js';

const ROLES = `
roles:
  viewer: { verbs: [view], nodes: [n-1, n-2], topics: [process, file] }
  grouped: { verbs: [groups] }
bindings:
  - { role: viewer, identities: [alice, bob, dave, carol] }
  - { role: grouped, identities: [dave] }
`;

test('with a full disk tokens and rights end at once, and new ones wait', async (t) => {
  const disk = new FaultyFiles();
  const identities = new Identities(ROLES, ['alice', 'bob', 'dave']);
  const harness = new Harness();
  t.after(() => harness.destroy());
  harness.files = disk.ops;
  harness.wantsToken = true;
  harness.access = identities.files;
  await harness.startBroker();
  const url = (path: string) => `http://${harness.broker.httpAddress}${path}`;
  const asks = async (name: string, path = '/v1/nodes') => {
    return (await fetch(url(path), { headers: { authorization: `Bearer ${identities.token(name)}` } })).status;
  };
  const listed = async (name: string, path: 'nodes' | 'topics') => {
    const answer = await fetch(url(`/v1/${path}`), { headers: { authorization: `Bearer ${identities.token(name)}` } });
    const rows = ((await answer.json()) as Record<string, { name: string }[]>)[path] ?? [];
    return rows.map((row) => row.name).join(' ');
  };
  for (const node of ['n-1', 'n-2', 'n-3']) await harness.agent(node);
  const dropped = async () => {
    const metrics = await (await fetch(url('/metrics'))).text();
    return Number(/^backplane_audit_dropped_total (\d+)/m.exec(metrics)?.[1]);
  };
  assert.deepEqual([await asks('alice'), await asks('bob'), await asks('dave', '/v1/groups')], [200, 200, 200]);

  const plenty = disk.space;
  disk.space = 0;
  identities.revoke('alice');
  await until('the end of a token', async () => (await asks('alice')) === 401);
  assert.equal(await asks('bob'), 200, 'the token of another holds');
  identities.issue('carol');
  // Bob loses his only role, and what dave has gets a verb and loses one.
  identities.write(
    ROLES.replace('[alice, bob, dave, carol]', '[alice, dave, carol]')
      // Of nodes and topics it gets one and loses another.
      .replace(
        '[view], nodes: [n-1, n-2], topics: [process, file]',
        '[view, groups], nodes: [n-2, n-3], topics: [file, syscall]',
      )
      .replace('grouped: { verbs: [groups] }', 'grouped: { verbs: [] }'),
  );
  await until('the end of a role', async () => (await asks('bob')) === 403);
  assert.deepEqual([await asks('dave'), await asks('dave', '/v1/groups')], [200, 403]);
  assert.deepEqual([await listed('dave', 'nodes'), await listed('dave', 'topics')], ['n-2', 'file']);
  assert.equal(await asks('carol'), 401);
  await until('both counted', async () => (await dropped()) >= 2);

  disk.space = plenty;
  await until('a new token', async () => (await asks('carol')) === 200);
  await until('a new verb', async () => (await asks('dave', '/v1/groups')) === 200);
  assert.equal(await asks('bob'), 403);
  assert.deepEqual([await listed('dave', 'nodes'), await listed('dave', 'topics')], ['n-2 n-3', 'file syscall']);
});
