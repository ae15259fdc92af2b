/** A file that is read again: what is no good, or not on record, changes nothing. */
import assert from 'node:assert/strict';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackplaneError } from '../../src/errors.js';
import { WatchedFile } from '../../src/storage/watched-file.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

function watched(absent?: number) {
  const path = join(scratchDirectory('watched'), 'file');
  const told: string[] = [];
  const events: string[] = [];
  const record = { fails: false };
  const options = {
    path,
    bytesMax: 100,
    parse: (text: string) => {
      if (/^\d+$/.test(text)) return Number(text);
      throw new BackplaneError('invalid_argument', `no number: ${text}`);
    },
    onChange: async () => {
      if (record.fails) throw new BackplaneError('resource_exhausted', 'the disk is full');
      events.push('recorded');
    },
    onApplied: (value: number) => events.push(`applied ${value}`),
    warn: (message: string) => told.push(message),
    ...(absent === undefined ? {} : { absent }),
  };
  return { path, told, events, record, open: () => new WatchedFile<number>(options) };
}

test('a change counts once it is on record; what is no good leaves the last good content, and is told once', async () => {
  const { path, told, events, record, open } = watched();
  assert.throws(open, { code: 'invalid_argument', message: /cannot be read: there is no such file/ });
  writeFileSync(path, 'x');
  assert.throws(open, /file: no number: x$/);
  writeFileSync(path, '1');
  const file = open();
  await file.look();
  assert.deepEqual(events, [], 'nothing has changed');
  writeFileSync(path, '22');
  await file.look();
  assert.deepEqual([file.value, events], [22, ['recorded', 'applied 22']]);
  writeFileSync(path, 'broken');
  for (let looks = 0; looks < 3; looks++) await file.look();
  assert.deepEqual([file.value, told], [22, [`${path}: no number: broken; what was read of it before stays in force`]]);
  record.fails = true;
  writeFileSync(path, '333');
  await file.look();
  assert.equal(file.value, 22);
  record.fails = false;
  await file.look();
  assert.equal(file.value, 333, 'it is tried again');
  rmSync(path);
  await file.look();
  assert.equal(file.value, 333);
  writeFileSync(path, '4'.repeat(200));
  await file.look();
  assert.match(told.at(-1) ?? '', /must be at most 100 bytes/);
});

test('a link that leads elsewhere now is a change, and a file that need not be there may come and go', async () => {
  const { path, open } = watched(0);
  const file = open();
  assert.equal(file.value, 0);
  writeFileSync(`${path}.a`, '1');
  writeFileSync(`${path}.b`, '2');
  for (const [target, value] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    symlinkSync(`${path}.${target}`, `${path}.link`);
    renameSync(`${path}.link`, path);
    await file.look();
    assert.equal(file.value, value);
  }
  rmSync(path);
  await file.look();
  assert.equal(file.value, 0);
});
