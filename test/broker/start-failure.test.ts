/** A start that fails leaves nothing open: what is wrong is mended, and the next one finds everything free. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { TestAuthority } from '../harness/access/certificates.js';
import { Harness } from '../harness/broker/harness.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

test('files of roles, keys that sign and ports that are taken: each start that fails gives all back', async (t) => {
  const own = await TestAuthority.make('start');
  const roles = join(scratchDirectory('roles'), 'roles.yaml');
  writeFileSync(roles, 'roles: {}');
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const harness = new Harness();
  t.after(() => harness.destroy());
  const tls = await own.broker();
  const good = { tls, access: { rolesFile: roles }, grpcListen: '127.0.0.1:0' };
  const descriptors = () => readdirSync('/proc/self/fd').length;
  Object.assign(harness, good);
  await harness.startBroker();
  await harness.broker.drain();
  const before = descriptors();
  for (const [bad, message] of [
    [{ access: { rolesFile: `${roles}.none` } }, /roles\.yaml\.none cannot be read/],
    [{ tls: { ...tls, signs: { key: tls.key, validMs: 3_600_000 } } }, /key/],
    [{ grpcListen: `127.0.0.1:${(taken.address() as { port: number }).port}` }, /in use/],
  ] as const) {
    Object.assign(harness, good, bad);
    await assert.rejects(harness.startBroker(), message);
    await until('all closed', () => descriptors() <= before);
  }
  Object.assign(harness, good);
  await harness.startBroker();
});
