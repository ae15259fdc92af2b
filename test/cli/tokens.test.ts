/** `backplane tokens`: a token is printed once, and works with the broker that reads the file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Identities } from '../harness/access/identities.js';
import { Harness } from '../harness/broker/harness.js';
import { run } from '../harness/bus/command.js';
import { until } from '../harness/until.js';

const harness = new Harness();
before(async () => {
  const { rolesFile } = new Identities(
    'roles: { r: { verbs: [view], nodes: ["shop-*"] } }\nbindings: [{ role: r, identities: [oncall] }]',
    [],
  );
  harness.wantsToken = true;
  harness.access = { rolesFile };
  await harness.startBroker();
  for (const node of ['shop-1', 'pay-1']) await harness.agent(node);
});
after(() => harness.destroy());

const asked = (...args: string[]) => run(args, { BACKPLANE_DATA_DIR: harness.dataDir });

test('a token that is issued lets its identity do what its role grants, until it is revoked', async () => {
  const issued = await asked('tokens', 'issue', 'oncall', '--expires', '30d');
  assert.equal(issued.code, 0, issued.err);
  const token = issued.out.trim();
  const [, id = ''] = /^bp_([a-z0-9]{12})_[\w-]{43}$/.exec(token) ?? [];
  assert.match(issued.err, new RegExp(`^${id} for oncall, until 20\\d\\d-.*Z: it is shown only now\n$`));
  assert.ok(!readFileSync(join(harness.dataDir, 'tokens.yaml'), 'utf8').includes(token.slice(-43)));
  const nodes = () =>
    fetch(`http://${harness.broker.httpAddress}/v1/nodes`, { headers: { authorization: `Bearer ${token}` } });
  const { nodes: seen } = (await (await nodes()).json()) as { nodes: { name: string }[] };
  assert.deepEqual(
    seen.map(({ name }) => name),
    ['shop-1'],
    'at once, without a restart',
  );
  const listed = await asked('tokens', 'list', '-o', 'json');
  const entry = JSON.parse(listed.out) as Record<string, string>;
  assert.deepEqual([entry.id, entry.identity, entry.state], [id, 'oncall', 'live']);
  assert.equal((await asked('tokens', 'revoke', id)).code, 0);
  assert.deepEqual(await asked('tokens', 'revoke', id), {
    code: 1,
    out: '',
    err: `backplane: ${join(harness.dataDir, 'tokens.yaml')} has no token "${id}"\n`,
  });
  await until('the refusal', async () => (await nodes()).status === 401);
  const endless = await asked('tokens', 'issue', 'oncall', '--expires', 'never');
  assert.deepEqual([endless.code, /--expires must be a duration of 1s to/.test(endless.err)], [2, true]);
});
