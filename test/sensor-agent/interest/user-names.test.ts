/** Names of users by the node's passwd file. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { UserNames } from '../../../src/sensor-agent/interest/user-names.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

const dir = scratchDirectory('users');

test('names are those of the file as it is now, the first of each user, and of lines that are whole', async () => {
  const path = join(dir, 'passwd');
  writeFileSync(
    path,
    'root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n# no user\nbroken:x\n:x:7:7::/:\nann:x:1000:1000',
  );
  const names = new UserNames([join(dir, 'none'), path]);
  assert.equal(names.userName(0), 'root');
  assert.equal(names.userName(7), undefined);
  assert.equal(names.userName(4_294_967_295), undefined);
  writeFileSync(`${path}-`, 'ben:x:1000:1000::/home/ben:/bin/sh\n');
  renameSync(`${path}-`, path);
  await until('the new name', () => names.userName(1000) === 'ben');
});

test('a list that is no file is not waited for', () => {
  const path = join(dir, 'fifo');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  assert.equal(new UserNames([path]).userName(0), undefined);
});
