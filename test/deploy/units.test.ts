/** The units of systemd, held to systemd itself; and nothing that is deployed goes without TLS. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { filesOf } from './keys/deployed-files.js';
import { MISSPELT } from './keys/misspelt.js';

const FOLDER = 'deploy/systemd';
const missing =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'needs systemd-analyze (package systemd)';

/** A copy of the units and their drop-ins, which lie where systemd looks for them. */
function changed(change: (text: string) => string) {
  const dir = scratchDirectory('units');
  cpSync(FOLDER, dir, { recursive: true });
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' });
  const files = names.map((name) => join(dir, name)).filter((file) => statSync(file).isFile());
  for (const file of files) writeFileSync(file, change(readFileSync(file, 'utf8')));
  return { files, units: files.filter((file) => file.endsWith('.service')) };
}

function verified(units: readonly string[]) {
  return spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
}

test('systemd takes the units and their drop-ins without a word', { skip: missing }, () => {
  const { status, stdout, stderr } = verified(changed((text) => text).units);
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('each misspelt key or section of a unit or a drop-in is told, though with success', { skip: missing }, () => {
  const [keys, sections] = [/^(?=\w+=)/gm, /(?<=^\[)(?=\w+\]$)/gm];
  for (const [places, told] of [
    [keys, 'Unknown key'],
    [sections, 'Unknown section'],
  ] as const) {
    const { files, units } = changed((text) => text.replace(places, MISSPELT));
    assert.equal(files.length, filesOf('unit').length);
    const { stderr } = verified(units);
    for (const file of files) {
      const lines = readFileSync(file, 'utf8').split('\n');
      const wrong = lines.flatMap((line, at) => (/^\[?xMisspelt/.test(line) ? [at + 1] : []));
      assert.ok(wrong.length > 0, file);
      for (const line of wrong) assert.match(stderr, new RegExp(`${file}:${line}: ${told}.*'${MISSPELT}`));
    }
  }
});

test('nothing that is deployed says "insecure"', () => {
  const files = readdirSync('deploy', { recursive: true, encoding: 'utf8' }).map((name) => join('deploy', name));
  const texts = files.filter((file) => statSync(file).isFile());
  assert.ok(texts.length > 15);
  for (const file of [...texts, 'docker-compose.yml']) {
    assert.doesNotMatch(readFileSync(file, 'utf8'), /insecure|BACKPLANE_BROKER_TOKEN|--no-token|skip_?verify/i, file);
  }
});
