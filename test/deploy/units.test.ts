/** The units of systemd, held to systemd itself. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';

const FOLDER = 'deploy/systemd';
const missing =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'needs systemd-analyze (package systemd)';

test('systemd takes the units without a word', { skip: missing }, () => {
  const units = readdirSync(FOLDER).map((name) => `${FOLDER}/${name}`);
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});
