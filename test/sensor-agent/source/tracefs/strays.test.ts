/** Which trace instances belong to nobody any more. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { strayInstances } from '../../../../src/sensor-agent/source/tracefs/strays.js';
import { liveTracefs } from '../../../harness/kernel/live-kernel.js';

const live = liveTracefs();

test('what a doctor that was killed proved its probes in is stray, and what one that lives does is not', {
  skip: live.skip,
}, (t) => {
  const ended = spawnSync('true').pid;
  const folder = (pid: number) => join(live.path, 'instances', `backplane-doctor-${pid}-proof`);
  t.after(() => {
    for (const path of [ended, process.pid].map(folder)) if (existsSync(path)) rmdirSync(path);
  });
  for (const pid of [ended, process.pid]) mkdirSync(folder(pid));
  const strays = strayInstances();
  assert.deepEqual([strays.includes(folder(ended)), strays.includes(folder(process.pid))], [true, false]);
});
