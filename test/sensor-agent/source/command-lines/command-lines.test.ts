/**
 * Reading arguments of processes that let nobody have them. Pipes that nobody writes to stand for those: whoever opens one
 * waits in the kernel as well. A process that holds the lock of its memory would keep all others of this machine from
 * forking as soon as somebody places a uprobe.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ARGUMENTS_BYTES_MAX, COMMAND_LINE_THREADS_MAX } from '../../../../src/limits.js';
import { CommandLines } from '../../../../src/sensor-agent/source/command-lines/command-lines.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

const WAIT_MS = 50;
const LIVING = 1_000;
const into = Buffer.alloc(ARGUMENTS_BYTES_MAX);

/** A folder like /proc, in which LIVING can be read, and the first processes cannot. */
function processes(): string {
  const folder = scratchDirectory('command-lines');
  const file = (pid: number) => {
    mkdirSync(join(folder, `${pid}`));
    return join(folder, `${pid}/cmdline`);
  };
  writeFileSync(file(LIVING), 'program\0argument\0');
  const pipes = Array.from({ length: COMMAND_LINE_THREADS_MAX + 1 }, (_, at) => file(at + 1));
  assert.equal(spawnSync('mkfifo', pipes).status, 0);
  return folder;
}

test('a process that lets nobody read its arguments keeps nobody waiting, and those of others are read', async (t) => {
  const folder = processes();
  const lines = new CommandLines(folder, WAIT_MS);
  const read = (pid: number) => {
    const length = lines.read(pid, into);
    return length === undefined ? undefined : into.toString('utf8', 0, length);
  };
  // A thread that still waits would be joined at the end.
  const release = (pid: number) => closeSync(openSync(join(folder, `${pid}/cmdline`), constants.O_RDWR));
  t.after(async () => {
    for (let pid = 1; lines.waits; pid = (pid % COMMAND_LINE_THREADS_MAX) + 1) {
      release(pid);
      await new Promise((done) => setImmediate(done));
    }
  });
  assert.equal(read(LIVING), 'program\0argument\0');
  assert.equal(read(LIVING + 1), undefined, 'one that is gone');
  assert.deepEqual([lines.waits, lines.problem], [false, undefined]);
  assert.deepEqual([read(1), read(1), read(LIVING)], [undefined, undefined, 'program\0argument\0']);
  assert.match(lines.problem!, /^a process keeps .*: no arguments of it are read/);
  for (let pid = 2; pid <= COMMAND_LINE_THREADS_MAX; pid += 1) assert.equal(read(pid), undefined);
  assert.match(lines.problem!, new RegExp(`^${COMMAND_LINE_THREADS_MAX} processes keep .*: no arguments are read`));
  assert.deepEqual([read(LIVING), read(COMMAND_LINE_THREADS_MAX + 1)], [undefined, undefined]);
  release(2);
  await until('an end of its waiting', () => read(LIVING) === 'program\0argument\0');
});

const SCRIPT = `
  const { CommandLines } = await import(process.argv[1]);
  const lines = new CommandLines(process.argv[2], ${WAIT_MS});
  process.on('exit', () => console.log(lines.waits));
  lines.read(1, Buffer.alloc(${ARGUMENTS_BYTES_MAX}));
  process.exit(0);
`;

test('an agent of which a thread waits for a process ends all the same', async (t) => {
  const module = new URL('../../../../src/sensor-agent/source/command-lines/command-lines.js', import.meta.url).href;
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, module, processes()], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(child, 'close');
  await until('its end', () => child.exitCode !== null || child.signalCode !== null);
  await ended;
  assert.deepEqual([said, child.signalCode], ['true\n', 'SIGKILL']);
});
