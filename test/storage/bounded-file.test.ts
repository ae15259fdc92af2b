/** Files of a directory that somebody else may have put there are read within bounds, or refused. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BudgetFile } from '../../src/broker/cluster/embedded/budget-file.js';
import { InterestFile } from '../../src/broker/cluster/embedded/interest-file.js';
import { readBoundedFile } from '../../src/storage/bounded-file.js';
import { nodeFileOps, readSmallFile } from '../../src/storage/file-ops.js';
import { MAIN } from '../harness/bus/command.js';

const dir = mkdtempSync(join(tmpdir(), 'bounded-file-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const at = (name: string) => join(dir, name);

test('a file is read up to its bound, and no byte beyond', () => {
  writeFileSync(at('whole'), 'x'.repeat(10_000));
  assert.equal(readBoundedFile(at('whole'), 10_000).length, 10_000);
  assert.throws(() => readBoundedFile(at('whole'), 9_999), /whole must be at most 9999 bytes, is 10000$/);
  writeFileSync(at('empty'), '');
  assert.equal(readBoundedFile(at('empty'), 0).length, 0);
  // Sparse: it would take a terabyte of memory.
  writeFileSync(at('sparse'), '');
  truncateSync(at('sparse'), 2 ** 40);
  assert.throws(() => readBoundedFile(at('sparse'), 1 << 20), /sparse must be at most 1048576 bytes/);
  // Says that it has no bytes.
  assert.match(readBoundedFile('/proc/self/status', 65_536).toString(), /^Name:/);
  assert.throws(() => readBoundedFile('/proc/self/status', 16), /at most 16 bytes/);
  assert.throws(() => readBoundedFile(at('none'), 1), { code: 'ENOENT' });
});

test('devices, pipes, sockets and directories are refused at once, by name and kind', async () => {
  assert.equal(spawnSync('mkfifo', [at('pipe')]).status, 0);
  const server = createServer().listen(at('socket'));
  await new Promise((listening) => server.once('listening', listening));
  for (const [path, kind] of [
    ['/dev/zero', 'a device'],
    ['/dev/null', 'a device'],
    [at('pipe'), 'a pipe'],
    [at('socket'), 'a socket'],
    [dir, 'a directory'],
  ] as const) {
    assert.throws(() => readBoundedFile(path, 100), { message: `${path} must be a regular file, is ${kind}` });
    assert.equal(readSmallFile(nodeFileOps, path, 100), undefined);
  }
  server.close();
});

test('a configuration file that never ends, or never begins, is refused', () => {
  spawnSync('mkfifo', [at('config-pipe')]);
  for (const path of ['/dev/zero', at('config-pipe'), dir]) {
    const env = { PATH: process.env.PATH ?? '', BACKPLANE_CONFIG: path };
    const { status, stderr } = spawnSync(process.execPath, ['--max-old-space-size=128', MAIN, 'config'], {
      env,
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.match(stderr, new RegExp(`configuration file ${path}: .*must be a regular file, is a`), stderr);
    assert.equal(status, 2);
  }
});

test('state files that are no regular files are put aside, and this is logged', () => {
  for (const [name, load] of [
    ['interest.json', (warn: (message: string) => void) => new InterestFile(dir).load(warn)],
    ['budgets.json', (warn: (message: string) => void) => new BudgetFile(dir).load(warn)],
  ] as const) {
    spawnSync('mkfifo', [at(name)]);
    const warnings: string[] = [];
    load((message) => warnings.push(message));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', new RegExp(name));
  }
});
