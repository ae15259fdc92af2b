/** What lists of mounts say of overlays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layersOf, mountLine } from '../../../src/sensor-agent/source/mounts.js';

test('the layers of an overlay are listed from the uppermost on, whichever way it was mounted', () => {
  const line =
    '73 27 0:44 / /run/c\\040d rw,relatime shared:9 - overlay overlay rw,lowerdir=/l/B:/l/A,upperdir=/u,workdir=/w';
  assert.deepEqual(mountLine(line), {
    device: '0:44',
    root: '/',
    point: '/run/c d',
    type: 'overlay',
    options: 'rw,lowerdir=/l/B:/l/A,upperdir=/u,workdir=/w',
  });
  assert.deepEqual(layersOf(mountLine(line)!.options), ['/u', '/l/B', '/l/A']);
  assert.deepEqual(layersOf('ro,lowerdir+=/l/B,lowerdir+=/l/A,redirect_dir=on'), ['/l/B', '/l/A']);
  assert.deepEqual(
    layersOf('rw,lowerdir=15/fs:14/fs,upperdir=16/fs,workdir=16/work'),
    [],
    'of a directory that is not known',
  );
});
