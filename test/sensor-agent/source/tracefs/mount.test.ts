/** What is said when tracefs cannot be mounted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountFailure } from '../../../../src/sensor-agent/source/tracefs/mount.js';

test('the reason of a failed mount stands within a sentence, so it has no full stop of its own', () => {
  const printed = 'mount: /sys/kernel/tracing: must be superuser to use mount.\n       dmesg(1) may have more.\n';
  assert.equal(mountFailure(printed), 'mount: /sys/kernel/tracing: must be superuser to use mount');
  assert.equal(mountFailure('spawnSync mount ENOENT'), 'spawnSync mount ENOENT');
});
