/** What is asked of files to find out whether a linker was replaced. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OWN_ARCHITECTURE } from '../../../../src/architecture/architecture.js';
import { ShortWork } from '../../../../src/sensor-agent/source/exec/short-work.js';
import { LinkerPoints } from '../../../../src/sensor-agent/source/probe/linker-points.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { SilentFilesystem } from '../../../harness/kernel/silent-filesystem.js';
import { until } from '../../../harness/until.js';

const skip = process.geteuid?.() === 0 && OWN_ARCHITECTURE !== undefined ? false : 'needs root';

test("a program's link to its linker may be led to a filesystem that never answers", { skip }, async (t) => {
  const cat = realpathSync('/bin/cat');
  const program = readFileSync(cat);
  const linker = OWN_ARCHITECTURE!.linkers.find((name) => program.includes(`${name}\0`));
  if (linker === undefined) return t.skip('cat has no such linker');
  // Short, because it takes the place of the linker's name in the program.
  const links = mkdtempSync('/tmp/l-');
  t.after(() => rmSync(links, { recursive: true }));
  const [link, copy] = [join(links, 'ld'), join(links, 'cat')];
  symlinkSync(linker, link);
  program.write(`${link}\0`, program.indexOf(`${linker}\0`));
  writeFileSync(copy, program, { mode: 0o755 });
  const child = spawn(copy, { stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  await until('the program', () => /S \(sleeping\)/.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')));

  const points = new LinkerPoints(fakeTracefs(), 'linkers');
  // At first the others of its root are defined, too.
  for (const nowNs of [1n, 2n]) points.define(child.pid!, nowNs, () => undefined);
  assert.notDeepEqual(points.events, []);
  assert.deepEqual(points.replaced(), []);

  const directory = scratchDirectory('linker-points');
  const filesystem = await SilentFilesystem.mount({ directory, name: 'ld', like: cat });
  if (filesystem === undefined) return t.skip('no FUSE here');
  t.after(() => spawnSync('umount', ['-l', directory]));
  t.after(() => filesystem.end());
  await filesystem.silence();
  unlinkSync(link);
  symlinkSync(join(directory, 'ld'), link);
  points.replaced();
  assert.equal(await filesystem.end(), undefined, 'it was asked');
});

test('an overlay over a filesystem that never answers is not asked for linkers', { skip }, async (t) => {
  const [below, above] = [scratchDirectory('linker-points'), scratchDirectory('linker-points')];
  const filesystem = await SilentFilesystem.mount({ directory: below, name: 'ld', like: realpathSync('/bin/cat') });
  if (filesystem === undefined) return t.skip('no FUSE here');
  t.after(() => spawnSync('umount', ['-l', below]));
  t.after(() => filesystem.end());
  const other = scratchDirectory('linker-points');
  const mounted = spawnSync('mount', ['-t', 'overlay', '-o', `lowerdir=${other}:${below}`, 'overlay', above]);
  if (mounted.status !== 0) return t.skip(`no overlay: ${mounted.stderr}`);
  t.after(() => spawnSync('umount', ['-l', above]));
  const child = spawn(join(above, 'ld'), { stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  await until('the program', () => /S \(sleeping\)/.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')));
  await filesystem.silence();
  const points = new LinkerPoints(fakeTracefs(), 'linkers');
  // A few overlays at a time.
  for (let at = 0; at < 100; at += 1) points.prepare(performance.now(), 1n, performance.now(), () => undefined);
  // Of a program that has ended, which may have run there, and of one that does.
  points.seek('/ld', 1n, () => undefined);
  points.define(child.pid!, 1n, () => undefined);
  assert.equal(await filesystem.end(), undefined, 'it was asked');
});

/** A filesystem in memory with a program of that name and its linker. */
function mountedProgram(t: TestContext, name: string): string | undefined {
  const cat = realpathSync('/bin/cat');
  const program = readFileSync(cat);
  const linker = OWN_ARCHITECTURE!.linkers.find((each) => program.includes(`${each}\0`));
  const directory = scratchDirectory('linker-points');
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', directory]).status === 0;
  if (!isMounted || linker === undefined) return undefined;
  t.after(() => spawnSync('umount', ['-l', directory]));
  mkdirSync(join(directory, dirname(linker)), { recursive: true });
  for (const [from, to] of [
    [cat, name],
    [realpathSync(linker), linker],
  ] as const)
    copyFileSync(from, join(directory, to));
  return directory;
}

test('programs that have ended are sought in what is mounted within a share of a core', { skip }, (t) => {
  const names = ['/first', '/second', '/third'].map((name) => `${name}-${process.pid}`);
  if (names.some((name) => mountedProgram(t, name) === undefined)) return t.skip('cannot mount');
  let nowMs = 0;
  const work = () => {
    nowMs += 100;
    return nowMs;
  };
  const points = new LinkerPoints(fakeTracefs(), 'linkers', new ShortWork(0.1, 60, 100, work));
  const found = names.map((name, at) => {
    if (at === 2) nowMs += 10_000;
    points.seek(name, BigInt(at + 1), () => undefined);
    return points.events.length;
  });
  assert.deepEqual(found, [1, 1, 2]);
});

/** Files take what would be defined. */
function fakeTracefs(): string {
  const tracefs = scratchDirectory('linker-points');
  for (const name of ['uprobe_events', 'dynamic_events']) writeFileSync(join(tracefs, name), '');
  return tracefs;
}
