/** When the list of mounts is looked at for overlays. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MOUNTS_LOOK_MS_MIN, MOUNTS_LOOK_SHARE, MOUNTS_QUIET_MS } from '../../../src/limits.js';
import { OverlayWatch } from '../../../src/sensor-agent/source/overlay-watch.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const skip = process.geteuid?.() === 0 ? false : 'needs root';
/** Behind any look, however long it took. */
const DUE_MS = 1_000 / MOUNTS_LOOK_SHARE;

test('overlays are looked for while programs start, and once in a while where none does', { skip }, (t) => {
  const [one, two, above, beside] = ['one', 'two', 'above', 'beside'].map((name) =>
    join(scratchDirectory('overlays'), name),
  ) as [string, string, string, string];
  for (const directory of [one, two, above, beside]) mkdirSync(directory);
  const mount = (point: string) => {
    const { status } = spawnSync('mount', ['-t', 'overlay', '-o', `lowerdir=${one}:${two}`, 'overlay', point]);
    if (status === 0) t.after(() => spawnSync('umount', ['--lazy', point]));
    return status === 0;
  };
  const watch = new OverlayWatch();
  /** All that is told within one moment. */
  const told = (nowMs: number, startedMs: number): string[] => {
    const points = watch.fresh(nowMs, startedMs);
    return points.length === 0 ? [] : [...points, ...told(nowMs, startedMs)];
  };
  told(0, 0);
  if (!mount(above)) return t.skip('no overlayfs');
  // A program has just started; the last look is long ago.
  assert.deepEqual(told(DUE_MS, DUE_MS), [above]);
  assert.ok(mount(beside));
  assert.deepEqual(
    told(DUE_MS + MOUNTS_LOOK_MS_MIN - 1, DUE_MS),
    [],
    'a program has started, and the last look was just now',
  );
  assert.deepEqual(told(DUE_MS + MOUNTS_QUIET_MS - 1, 0), [], 'none has for long, and the last look was just now');
  assert.deepEqual(told(2 * DUE_MS, 0), [beside], 'none has for long: the last look is longer ago');
});
