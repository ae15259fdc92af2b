/** The units of systemd, held to systemd itself; and nothing that is deployed goes without TLS. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const FOLDER = 'deploy/systemd';
const missing =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'needs systemd-analyze (package systemd)';

function verified(units: readonly string[]) {
  return spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
}

test('systemd takes the units without a word', { skip: missing }, () => {
  const units = readdirSync(FOLDER).map((name) => `${FOLDER}/${name}`);
  const { status, stdout, stderr } = verified(units);
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('a misspelt key of a unit is told, though with success', { skip: missing }, () => {
  const dir = scratchDirectory('units');
  const units = readdirSync(FOLDER).map((name) => {
    writeFileSync(
      join(dir, name),
      readFileSync(join(FOLDER, name), 'utf8').replace('\nTimeoutStopSec=', '\nTimeoutStopsSec='),
    );
    return join(dir, name);
  });
  const { stderr } = verified(units);
  for (const unit of units) assert.match(stderr, new RegExp(`${unit}:\\d+: Unknown key.* 'TimeoutStopsSec'`));
});

test('nothing that is deployed says "insecure"', () => {
  const files = readdirSync('deploy', { recursive: true, encoding: 'utf8' }).map((name) => join('deploy', name));
  const texts = files.filter((file) => statSync(file).isFile());
  assert.ok(texts.length > 15);
  for (const file of [...texts, 'docker-compose.yml']) {
    assert.doesNotMatch(readFileSync(file, 'utf8'), /insecure|BACKPLANE_BROKER_TOKEN|--no-token|skip_?verify/i, file);
  }
});
