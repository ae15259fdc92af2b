/** Which operations' probes are kept: what a directory does not let us try costs nothing that another one lets. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { definePathPoints } from '../../../../src/sensor-agent/source/paths/define-paths.js';
import { PATH_OPERATIONS } from '../../../../src/sensor-agent/source/paths/path-points.js';
import { tryEach } from '../../../../src/sensor-agent/source/paths/path-trials.js';
import { undefinePoints } from '../../../../src/sensor-agent/source/probe/recorded-points.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { cannotProbeKernel, liveTracefs } from '../../../harness/kernel/live-kernel.js';

/** What is refused where TMPDIR is such a directory, whatever this kernel refuses anyway. */
async function refusedIn(folder: string | undefined): Promise<ReadonlyMap<string, string>> {
  const { TMPDIR: before } = process.env;
  const recorderId = `paths-${process.pid}`;
  try {
    if (folder !== undefined) process.env.TMPDIR = folder;
    return (await definePathPoints(liveTracefs().path, recorderId)).refused;
  } finally {
    undefinePoints(liveTracefs().path, recorderId);
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
}

/** One in which no file can be made, and one in which directories can. */
const FILESYSTEMS: readonly (readonly string[])[] = [
  ['-t', 'tmpfs', '-o', 'ro', 'tmpfs'],
  ['-t', 'cgroup2', 'cgroup2'],
];

test('a temporary directory in which an operation cannot be tried costs none of them', {
  skip: cannotProbeKernel(),
}, async () => {
  const usual = await refusedIn(undefined);
  for (const mount of FILESYSTEMS) {
    const folder = scratchDirectory('no-files');
    const { status, stderr } = spawnSync('mount', [...mount, folder], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    try {
      assert.deepEqual(await refusedIn(folder), usual);
      const { used, failed } = tryEach(PATH_OPERATIONS, [folder]);
      const folders = mount.includes('cgroup2') ? ['rmdir', 'mkdir'] : [];
      assert.deepEqual([...used.keys()], folders);
      assert.equal(failed.size, PATH_OPERATIONS.length - folders.length);
    } finally {
      spawnSync('umount', ['--lazy', folder]);
    }
  }
});

test('what can be done in no directory is said with what the first of them answered, and costs nothing else', () => {
  const usable = scratchDirectory('trials');
  for (const directories of [[usable], ['/proc', usable], ['/proc/none', '/proc', usable]]) {
    const { used, failed } = tryEach(PATH_OPERATIONS, directories);
    assert.deepEqual([...used.keys()], PATH_OPERATIONS);
    assert.deepEqual(failed, new Map());
    assert.ok([...used.values()].flat().every((path) => path.startsWith(`${usable}/`)));
  }
  assert.deepEqual(readdirSync(usable), []);
  const { used, failed } = tryEach(PATH_OPERATIONS, ['/proc/none', '/proc']);
  assert.deepEqual(used, new Map());
  for (const operation of PATH_OPERATIONS) assert.match(failed.get(operation)!, /ENOENT.*\/proc\/none/);
});
