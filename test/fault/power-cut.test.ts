/** The harness's power cut: unsynced bytes and names may be lost in every way, synced ones never. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Disk } from '../harness/cluster/power-cut.js';
import { Random } from './schedule.js';

const FILE_OPS = new URL('../../src/storage/file-ops.js', import.meta.url).href;
const TRIES = 60;

/** Runs the code once in each of the disk's directories, in a process that is then killed or ends by its exception. */
function run(disk: Disk, code: string): SpawnSyncReturns<string> {
  const program = `
    import fs from 'node:fs';
    import { nodeFileOps as files, writeAll, writeSmallFile } from '${FILE_OPS}';
    const write = (fd, text, at) => writeAll(files, fd, [Buffer.from(text)], text.length, at);
    for (const dir of fs.readdirSync('${disk.root}')) {
      const path = (name) => '${disk.root}/' + dir + '/' + name;
      ${code}
    }
    process.kill(process.pid, 'SIGKILL');`;
  const args = [disk.nodeOption, '--input-type=module', '--eval', program];
  return spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...disk.env } });
}

/** A disk with directories to try something in. */
function withDisk<T>(tries: number, use: (disk: Disk, dirs: readonly string[]) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-power-'));
  try {
    const root = join(dir, 'disk');
    const dirs = Array.from({ length: tries }, (_, at) => join(root, String(at)));
    for (const each of dirs) mkdirSync(each, { recursive: true });
    return use(new Disk(root, join(dir, 'journal')), dirs);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Returns all that `look` finds after a power cut. Chance decides for each directory by itself. */
function outcomes(codes: readonly string[], look: (path: (name: string) => string) => string): Set<string> {
  return withDisk(TRIES, (disk, dirs) => {
    for (const code of codes) {
      const { signal, stderr } = run(disk, code);
      assert.equal(signal, 'SIGKILL', stderr);
    }
    disk.cutPower(new Random(1));
    return new Set(dirs.map((dir) => look((name) => join(dir, name))));
  });
}

const text = (path: string) => (existsSync(path) ? readFileSync(path, 'latin1') : 'no file');

test('synced bytes survive a power cut, and later writes are cut, kept in part, or zeros', () => {
  const append = `const fd = files.open(path('log'), 'w+');
    write(fd, 'synced', 0);
    await files.sync(fd);
    await files.syncDirectory(path('.'));
    write(fd, 'later'.repeat(200), 6);`;
  // Another process that writes there does not make the earlier writes durable.
  const found = outcomes([append, `write(files.open(path('log'), 'r+'), 'more', 1006);`], (path) => text(path('log')));
  for (const left of found) assert.match(left, /^synced/);
  const all = `synced${'later'.repeat(200)}more`;
  for (const left of ['synced', all, 'synced'.padEnd(1010, '\0')]) assert.ok(found.has(left), left);
  assert.ok(found.has(all.slice(0, 512).padEnd(1010, '\0')));
  assert.ok([...found].some((left) => left.length > 6 && left.length < 1010 && all.startsWith(left)));
});

test('a sync covers the writes from before its call', () => {
  const found = outcomes(
    [
      `const fd = files.open(path('log'), 'w+');
      files.syncDirectoryNow(path('.'));
      write(fd, 'before', 0);
      const synced = files.sync(fd);
      write(fd, 'while', 6);
      await synced;`,
    ],
    (path) => text(path('log')),
  );
  for (const left of found) assert.match(left, /^before/);
  assert.ok(found.has('before') && found.has('beforewhile'));
});

test('bytes that were cut off a file may reappear until the file is synced', () => {
  const cut = `const fd = files.open(path('log'), 'w+');
    write(fd, '0123456789', 0);
    files.syncNow(fd);
    files.syncDirectoryNow(path('.'));
    files.truncate(fd, 4);
    write(fd, 'new', 4);`;
  const unsynced = outcomes([cut], (path) => text(path('log')));
  assert.ok(unsynced.has('0123456789') && unsynced.has('0123new') && unsynced.has('0123'));
  assert.deepEqual(
    outcomes([`${cut} files.syncNow(fd);`], (path) => text(path('log'))),
    new Set(['0123new']),
  );
});

test('a sector that was overwritten is the one before or the new one until the file is synced', () => {
  const [old, other] = ['a', 'b'].map((letter) => letter.repeat(512));
  const overwrite = `const fd = files.open(path('slots'), 'w+');
    write(fd, '${old}'.repeat(2), 0);
    files.syncNow(fd);
    files.syncDirectoryNow(path('.'));
    write(fd, '${other}', 512);`;
  const found = outcomes([overwrite], (path) => text(path('slots')));
  for (const left of found) assert.ok(left.startsWith(old!));
  assert.ok(found.has(`${old}${old}`) && found.has(`${old}${other}`));
  assert.deepEqual(
    outcomes([`${overwrite} files.syncNow(fd);`], (path) => text(path('slots'))),
    new Set([`${old}${other}`]),
  );
});

test('file names are durable once their directory is synced', () => {
  const names = `files.makeDirectory(path('dir'));
    files.syncDirectoryNow(path('.'));
    const fd = files.open(path('dir/made'), 'w+');
    write(fd, 'made', 0);
    files.syncNow(fd);
    fs.symlinkSync('target', path('link'));`;
  const look = (path: (name: string) => string) => {
    const link = existsSync(path('.')) && safely(() => readlinkSync(path('link')));
    return `${text(path('dir/made'))}, ${link}`;
  };
  assert.equal(outcomes([names], look).size, 4);
  const synced = `${names} files.syncDirectoryNow(path('dir')); files.syncDirectoryNow(path('.'));`;
  assert.deepEqual(outcomes([synced], look), new Set(['made, target']));
});

test('a directory that is not durable is lost together with its contents', () => {
  const code = `fs.mkdirSync(path('dir'));
    const fd = files.open(path('dir/log'), 'w+');
    write(fd, 'synced', 0);
    files.syncNow(fd);
    files.syncDirectoryNow(path('dir'));`;
  assert.deepEqual(
    outcomes([code], (path) => text(path('dir/log'))),
    new Set(['synced', 'no file']),
  );
});

test('directories that storage has made are durable', () => {
  const code = `files.makeDirectory(path('dir/in'));
    const fd = files.open(path('dir/in/log'), 'w+');
    write(fd, 'synced', 0);
    files.syncNow(fd);
    files.syncDirectoryNow(path('dir/in'));`;
  assert.deepEqual(
    outcomes([code], (path) => text(path('dir/in/log'))),
    new Set(['synced']),
  );
});

test('a file that was replaced or unlinked may reappear', () => {
  const replace = `writeSmallFile(files, path('state'), Buffer.from('first'), true);
    writeSmallFile(files, path('gone'), Buffer.from('there'), true);
    files.syncDirectoryNow(path('.'));
    writeSmallFile(files, path('state'), Buffer.from('second'), true);
    files.unlink(path('gone'));`;
  const look = (path: (name: string) => string) => `${text(path('state'))}, ${text(path('gone'))}`;
  assert.deepEqual(
    outcomes([replace], look),
    new Set(['first, there', 'first, no file', 'second, there', 'second, no file']),
  );
  assert.deepEqual(outcomes([`${replace} files.syncDirectoryNow(path('.'));`], look), new Set(['second, no file']));
});

test('an operation that the model does not know is refused', () => {
  withDisk(1, (disk) => {
    const write = `const fd = files.open(path('log'), 'w+'); write(fd, 'synced', 0); files.syncNow(fd);`;
    for (const code of [`fs.writeFileSync(path('log'), '')`, `${write} write(fd, 'x', 2);`]) {
      assert.match(run(disk, code).stderr, /is not modelled/);
    }
  });
});

function safely(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
