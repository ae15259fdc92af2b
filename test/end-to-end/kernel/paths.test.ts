/** Paths of file operations as the kernel was given them: where it has kprobes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { allDefinitions } from '../../../src/sensor-agent/source/probe/definitions.js';
import { Bus, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { cannotProbeKernel, liveTracefs } from '../../harness/kernel/live-kernel.js';

const skip = cannotTrace || cannotProbeKernel();
const ROUNDS = 50;

let bus: Bus;
let dir = '';
before(async () => {
  if (skip) return;
  dir = mkdtempSync(join(tmpdir(), 'backplane-paths-'));
  // In an emulator everything costs twenty times as much: without a bound on it.
  bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,file', BACKPLANE_AGENT_GUARD_CPU: '0' });
});
after(async () => {
  if (skip) return;
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
});

/** Opens and closes at once, so that nobody could read a link meanwhile; then each operation on names. */
const PROGRAM = `
  const fs = require('node:fs');
  const [dir, rounds] = [process.argv[1], Number(process.argv[2])];
  for (let at = 0; at < rounds; at++) {
    fs.closeSync(fs.openSync(dir + '/file-' + at, 'w'));
    fs.renameSync(dir + '/file-' + at, dir + '/moved-' + at);
    fs.linkSync(dir + '/moved-' + at, dir + '/linked-' + at);
    fs.symlinkSync('target-' + at, dir + '/symbolic-' + at);
    fs.mkdirSync(dir + '/made-' + at);
    fs.rmdirSync(dir + '/made-' + at);
    fs.unlinkSync(dir + '/linked-' + at);
    try { fs.openSync(dir + '/none-' + at); } catch {}
  }
  process.chdir(dir);
  fs.mkdirSync('relative');
  const kept = fs.openSync('moved-1');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  fs.closeSync(fs.openSync(dir + '/last', 'w'));
`;

/** Types whose paths this kernel's agent has: docs/kernels.md says where that is not all. */
function withPath(type: string): boolean {
  const point = `path_${type.slice('file.'.length)}`;
  return (allDefinitions(liveTracefs().path) ?? []).some(
    (event) => /^backplane_.*_recorded\//.test(event) && event.endsWith(`/${point}`),
  );
}

/** What was done, in order, as it is to be told. */
function expected(): string[] {
  const each = Array.from({ length: ROUNDS }, (_, at) => [
    `file.open ${dir}/file-${at}`,
    `file.rename ${dir}/file-${at} ${dir}/moved-${at}`,
    `file.link ${dir}/moved-${at} ${dir}/linked-${at}`,
    `file.symlink target-${at} ${dir}/symbolic-${at}`,
    `file.mkdir ${dir}/made-${at}`,
    `file.rmdir ${dir}/made-${at}`,
    `file.unlink ${dir}/linked-${at}`,
    `file.open ${dir}/none-${at} failed -2`,
  ]);
  const all = [...each.flat(), 'file.mkdir relative', 'file.open moved-1', `file.open ${dir}/last`];
  return all.filter((line) => withPath(line.split(' ')[0]!));
}

function told(events: readonly EventLine[], pid: number): string[] {
  const own = events.filter((event) => event.process?.pid === pid && event.file !== undefined);
  const ours = (path = '') => path.startsWith(dir) || path === 'relative' || path === 'moved-1';
  return own
    .filter(({ type, file }) => withPath(type) && (ours(file!.path) || ours(file!.newPath)))
    .map(({ type, file }) => {
      const { path = '(unknown)', newPath = '', descriptor = 0, pathResolved } = file!;
      const failed = type === 'file.open' && descriptor < 0 ? `failed ${descriptor}` : '';
      // A relative path is told as what its descriptor led to, where the agent came to look in time.
      const given = pathResolved === true ? path.replace(`${dir}/`, '') : path;
      const words = [type, given, newPath, failed];
      return words.filter((word) => word !== '').join(' ');
    });
}

test('every path is told as it was given, of files closed at once too, live as in history', { skip }, async () => {
  const observer = await bus.follow('--topic', 'file');
  const { pid, status, stderr } = spawnSync(process.execPath, ['-e', PROGRAM, dir, String(ROUNDS)]);
  assert.equal(status, 0, String(stderr));
  await observer.sees(({ file, process: by }) => by?.pid === pid && file?.path === `${dir}/last`);
  await observer.stop('SIGINT');
  assert.deepEqual(told(observer.events, pid), expected());
  const history = bus.observe('--topic', 'file', '--since', '1h', '--filter', `process.pid == ${pid}`);
  assert.equal(await history.exited, 0, history.stderr);
  assert.deepEqual(told(history.events, pid), expected());
});

test('a path with more bytes than a record has room for is said to be missed, and never another one told', {
  skip,
}, async () => {
  const deep = join(dir, ...Array.from({ length: 16 }, (_, at) => `${at}`.padStart(250, 'x')));
  mkdirSync(deep, { recursive: true });
  const observer = await bus.follow('--topic', 'file', '--filter', 'event.type == "file.open"');
  const program = `const fs = require('node:fs'); fs.closeSync(fs.openSync(process.argv[1] + '/before', 'w'));
    fs.closeSync(fs.openSync(process.argv[2], 'w')); fs.closeSync(fs.openSync(process.argv[1] + '/behind', 'w'));`;
  const file = join(deep, 'y'.repeat(4_094 - deep.length));
  assert.equal(Buffer.byteLength(file), 4_095);
  const { pid, status, stderr } = spawnSync(process.execPath, ['-e', program, dir, file]);
  assert.equal(status, 0, String(stderr));
  await observer.sees((event) => event.process?.pid === pid && event.file?.path === `${dir}/behind`);
  const own = observer.events.filter((event) => event.process?.pid === pid);
  const from = own.findIndex((event) => event.file?.path === `${dir}/before`);
  const between = own[from + 1]!.file!;
  assert.equal(own[from + 2]!.file!.path, `${dir}/behind`);
  assert.ok(between.pathMissed === true || between.path === file, between.path);
  await observer.stop('SIGINT');
});
