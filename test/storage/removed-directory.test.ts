/** The directory or the file is taken away from under an open log: a sync succeeds all the same, and must not be believed. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackplaneError } from '../../src/errors.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { ROOMY, record } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const WAYS: Readonly<Record<string, (dir: string) => void>> = {
  removed: (dir) => fs.rmSync(dir, { recursive: true }),
  'removed and made anew': (dir) => {
    fs.rmSync(dir, { recursive: true });
    fs.mkdirSync(dir);
  },
  emptied: (dir) => {
    for (const name of fs.readdirSync(dir)) fs.rmSync(join(dir, name));
  },
  'renamed away': (dir) => fs.renameSync(dir, `${dir}.away`),
  'replaced by a copy of itself': (dir) => {
    fs.renameSync(dir, `${dir}.away`);
    fs.cpSync(`${dir}.away`, dir, { recursive: true });
  },
  'replaced by a file': (dir) => {
    fs.rmSync(dir, { recursive: true });
    fs.writeFileSync(dir, '');
  },
};

for (const [way, act] of Object.entries(WAYS)) {
  const opened = async () => {
    const dir = join(scratchDirectory(), 'log');
    const log = SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 4096 });
    log.append(record('kept'));
    await log.sync();
    log.checkPlace();
    const isSaid = (cause: unknown) => {
      assert.ok(cause instanceof BackplaneError && cause.code === 'unavailable', String(cause));
      assert.equal(
        cause.message,
        `directory ${dir} was removed, renamed or replaced while in use: nothing more is kept in it; restart`,
      );
      return true;
    };
    return { dir, log, isSaid };
  };

  test(`log directory ${way}: later records are not promised, and the log takes no more`, async () => {
    const { dir, log, isSaid } = await opened();
    log.append(record('promised to nobody'));
    act(dir);
    const before = log.durableOrdinal;
    await assert.rejects(log.sync(), isSaid);
    assert.equal(log.durableOrdinal, before);
    assert.throws(() => log.append(record('more')), isSaid);
    await assert.rejects(log.sync(), isSaid);
    await log.close();
  });

  test(`log directory ${way}: an idle log notices when it is asked to look`, async () => {
    const { dir, log, isSaid } = await opened();
    act(dir);
    assert.throws(() => log.checkPlace(), isSaid);
    assert.throws(() => log.append(record('more')), isSaid);
    assert.equal(log.failed, true);
    await log.close();
  });

  test(`log directory ${way}: an append that begins a file notices, at the latest at its sync`, async () => {
    const { dir, log, isSaid } = await opened();
    act(dir);
    await assert.rejects(async () => {
      for (let at = 0; at < 100; at++) log.append(record('x'.repeat(100)));
      await log.sync();
    }, isSaid);
    await log.close();
  });
}

test('a directory that is reached through a link stays valid when the link is renamed', async () => {
  const dir = join(scratchDirectory(), 'log');
  const log = SegmentLog.open({ ...ROOMY, dir });
  log.append(record('kept'));
  fs.renameSync(dir, `${dir}.moved`);
  fs.symlinkSync(`${dir}.moved`, dir);
  await log.sync();
  log.checkPlace();
  assert.equal(log.append(record('and more')), 1);
  await log.close();
});
