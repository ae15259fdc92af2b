/** A daemon whose terminal closes: its shell and the kernel both say so, and nobody takes its last lines. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { command } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

for (const verb of ['broker', 'up']) {
  test(`${verb} ends in order when its terminal closes`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
    try {
      const daemon = command([verb], {
        BACKPLANE_DATA_DIR: dir,
        BACKPLANE_GRPC_LISTEN: await ownAddress(),
        BACKPLANE_HTTP_LISTEN: await ownAddress(),
        BACKPLANE_SOURCE: 'synthetic',
      });
      await daemon.printed(/127\.\d+\.\d+\.\d+:\d+/);
      daemon.child.stdout!.destroy();
      daemon.child.stderr!.destroy();
      daemon.child.kill('SIGHUP');
      setTimeout(() => daemon.child.kill('SIGHUP'), 5);
      assert.equal((await daemon.done).code, 0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
}

test('a broker without a terminal that has a file of roles reads it again, and goes on', async () => {
  const dir = scratchDirectory('hangup');
  const roles = join(dir, 'roles.yaml');
  writeFileSync(roles, 'roles: {}');
  const daemon = command(['broker'], {
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_GRPC_LISTEN: await ownAddress(),
    BACKPLANE_HTTP_LISTEN: await ownAddress(),
    BACKPLANE_ROLES: roles,
  });
  await daemon.printed(/127\.\d+\.\d+\.\d+:\d+/);
  daemon.child.kill('SIGHUP');
  // Its log is binary, with texts as they are.
  const log = join(dir, 'broker', 'documents', 'audit');
  await until('the reload on record', () => {
    const texts = existsSync(log) ? readdirSync(log).map((name) => readFileSync(join(log, name), 'latin1')) : [];
    return texts.some((text) => text.includes('reload') && text.includes('roles.yaml'));
  });
  daemon.child.kill('SIGTERM');
  assert.equal((await daemon.done).code, 0);
});
