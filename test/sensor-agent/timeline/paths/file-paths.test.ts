/** Where descriptors of this very process lead to, and which of that is believed. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FILE_PATHS_AGE_MS_MAX } from '../../../../src/limits.js';
import { msToNs } from '../../../../src/nanoseconds.js';
import { FilePaths } from '../../../../src/sensor-agent/timeline/paths/file-paths.js';
import type { OpenedFile } from '../../../../src/sensor-agent/timeline/paths/opened-file.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const { pid } = process;
const opened = (descriptor: number, timeNs: bigint, threadId = pid): OpenedFile => {
  return { lane: 0, timeNs, tie: 0, threadId, pid, descriptor };
};

test('what a descriptor leads to is told, unless it was returned again by the time that is known whole', (t) => {
  const path = join(scratchDirectory('paths'), 'file');
  writeFileSync(path, '');
  const [one, other] = [openSync(path, 'r'), openSync(path, 'r')];
  t.after(() => [one, other].map(closeSync));
  const both = [opened(one, 5n), opened(other, 6n)];
  const told = (since: () => readonly OpenedFile[] | undefined, files = both, nowNs = 9n) =>
    new FilePaths().read(files, nowNs, since).map(({ timeNs, path: found }) => [timeNs, found]);
  assert.deepEqual(
    told(() => []),
    [
      [5n, path],
      [6n, path],
    ],
  );
  assert.deepEqual(
    told(() => [opened(one, 7n, pid + 1)]),
    [[6n, path]],
    'by another thread of the process',
  );
  assert.deepEqual(told(() => [{ ...opened(one, 7n), pid: pid + 1 }]).length, 2, 'by another process');
  assert.deepEqual(
    told(() => undefined),
    [],
  );
  assert.deepEqual(
    told(() => [], [opened(one, 5n), opened(one, 8n)]),
    [[8n, path]],
  );
  assert.deepEqual(
    told(() => [], both, 6n + msToNs(FILE_PATHS_AGE_MS_MAX)),
    [[6n, path]],
  );
});

test('nothing more is read where no descriptor leads anywhere', () => {
  const closed = 1 << 20;
  assert.deepEqual(
    new FilePaths().read([opened(closed, 5n)], 9n, () => assert.fail('read on')),
    [],
  );
});
