/** Which operations' probes are kept: what a directory does not let us try costs nothing that another one lets. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { definePathPoints } from '../../../../src/sensor-agent/source/paths/define-paths.js';
import { undefinePoints } from '../../../../src/sensor-agent/source/probe/recorded-points.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { cannotProbeKernel, liveTracefs } from '../../../harness/kernel/live-kernel.js';

/** What is refused where TMPDIR is such a directory, whatever this kernel refuses anyway. */
function refusedIn(folder: string | undefined): ReadonlyMap<string, string> {
  const { TMPDIR: before } = process.env;
  const recorderId = `paths-${process.pid}`;
  try {
    if (folder !== undefined) process.env.TMPDIR = folder;
    return definePathPoints(liveTracefs().path, recorderId).refused;
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
}, () => {
  const usual = refusedIn(undefined);
  for (const mount of FILESYSTEMS) {
    const folder = scratchDirectory('no-files');
    const { status, stderr } = spawnSync('mount', [...mount, folder], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    try {
      assert.deepEqual(refusedIn(folder), usual);
    } finally {
      spawnSync('umount', ['--lazy', folder]);
    }
  }
});
