/** Reading a page, and that there is none. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPage } from '../../../../src/sensor-agent/source/pages/page-read.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

test('an empty buffer has no bytes, which is no error; what is one is thrown, and errors have their stacks afterwards', () => {
  const directory = scratchDirectory('page-read');
  const path = join(directory, 'buffer');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const folder = openSync(directory, 'r');
  const buffer = Buffer.alloc(8);
  const { stackTraceLimit } = Error;
  try {
    assert.equal(readPage(fd, buffer), 0);
    writeSync(fd, 'abc');
    assert.equal(readPage(fd, buffer), 3);
    assert.throws(() => readPage(folder, buffer), { code: 'EISDIR' });
    assert.equal(Error.stackTraceLimit, stackTraceLimit);
  } finally {
    closeSync(fd);
    closeSync(folder);
  }
});
