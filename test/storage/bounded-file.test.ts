/** Files of a directory that somebody else may have put there are read within bounds, or refused. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { readBoundedFile } from '../../src/storage/bounded-file.js';
import { nodeFileOps, readSmallFile } from '../../src/storage/file-ops.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { openState } from '../harness/broker/stores.js';
import { MAIN } from '../harness/bus/command.js';
import { ROOMY, record, UNSYNCED } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const dir = scratchDirectory('bounded-file');
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

test('a log opens without bounds that cannot be used, and notes once what is wrong with them', async () => {
  const path = at('log');
  const bounds = join(path, 'bounds');
  const opened = async () => {
    const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir: path });
    log.append(record('a record'));
    const notes = log.notes.map(({ segment, message }) => `${segment} ${message}`);
    await log.close();
    return notes;
  };
  assert.deepEqual(await opened(), []);
  assert.deepEqual(await opened(), []);
  writeFileSync(bounds, 'x'.repeat(52));
  assert.deepEqual(await opened(), ['bounds is no whole bounds file']);
  assert.deepEqual(await opened(), [], 'they were written anew');
  rmSync(bounds);
  assert.deepEqual(await opened(), []);
  rmSync(bounds);
  spawnSync('mkfifo', [bounds]);
  assert.deepEqual(await opened(), ['bounds must be a readable regular file of at most 52 bytes']);
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
  spawnSync('mkfifo', [at('state.json')]);
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  openState(dir, { warn });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /state\.json is damaged/);
});
