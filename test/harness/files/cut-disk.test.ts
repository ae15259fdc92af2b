/** Also while another mount namespace keeps what was cut. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CutDisk, cannotCut } from './cut-disk.js';

test('a disk that was cut has what was synced, and can be read, whoever has it mounted still', {
  skip: cannotCut(),
}, async () => {
  const disk = new CutDisk(16 * 2 ** 20);
  const [kept, lost] = ['kept', 'lost'].map((name) => join(disk.dir, name)) as [string, string];
  writeFileSync(kept, 'kept');
  disk.sync();
  const other = spawn('unshare', ['--mount', 'sh', '-c', 'echo begun; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(other.stdout!, 'data');
    writeFileSync(lost, 'lost');
    disk.cut();
    disk.restore();
    assert.equal(readFileSync(kept, 'utf8'), 'kept');
    assert.equal(existsSync(lost), false);
    writeFileSync(lost, 'and it can be written');
  } finally {
    other.kill();
    disk.remove();
  }
});
