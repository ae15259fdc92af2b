/** What is recorded of a program that runs, and of one that has ended, where the kernel copied its arguments. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { test } from 'node:test';
import { EVENT_STRING_BYTES_MAX } from '../../../../src/limits.js';
import { ExecLooks } from '../../../../src/sensor-agent/source/probe/exec-looks.js';
import { until } from '../../../harness/until.js';

const ARGS = [process.execPath, '-e', 'process.stdin.resume()'];
const STACK = { args: ARGS, truncated: false, bytes: 100, uid: process.geteuid?.() ?? 0 };

test('a program that runs is looked up; of one that has ended there is what the kernel copied', async (t) => {
  const child = spawn(process.execPath, ARGS.slice(1), { cwd: '/usr', stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const exec = { lane: 1, timeNs: 5n, pid: child.pid!, filename: './given' };
  const looks = new ExecLooks();
  const running = await until('it runs', () => {
    const record = looks.look(exec, STACK);
    return record.process?.executablePath === realpathSync(process.execPath) && record;
  });
  assert.equal(running.process?.workingDirectory, '/usr');
  assert.deepEqual([running.missed, running.process?.args], [false, ARGS]);
  child.kill('SIGKILL');
  await ended;
  const head = { lane: 1, timeNs: 5n, pid: child.pid };
  const given = { pid: child.pid, executablePath: './given', executableAsGiven: true };
  const copied = { ...given, args: ARGS, argsTruncated: undefined };
  assert.deepEqual(looks.look(exec, STACK), { ...head, missed: false, process: copied });
  const { missed, process: known } = looks.look(exec);
  assert.equal(missed, true);
  assert.deepEqual([known?.executablePath, known?.args], ['./given', undefined]);
});

test('the path that a program was started by is cut to its bound', () => {
  const exec = { lane: 0, timeNs: 1n, pid: 2 ** 22 - 1, filename: 'ä'.repeat(EVENT_STRING_BYTES_MAX) };
  const { process: found } = new ExecLooks().pass(exec, { ...STACK, truncated: true });
  assert.equal(found?.executablePath, 'ä'.repeat(EVENT_STRING_BYTES_MAX / 2));
  assert.equal(found?.argsTruncated, true);
});

test('on a crowded machine programs are looked up: what others took of the time of a look is not charged', () => {
  let nowMs = 0;
  const looks = new ExecLooks(() => {
    nowMs += 100;
    return nowMs;
  });
  const exec = { lane: 0, timeNs: 1n, pid: process.pid, filename: process.execPath };
  for (let look = 0; look < 100; look += 1) assert.equal(looks.look(exec).missed, false, `look ${look}`);
});

test('the rest of arguments that a copy had no room for is read while the program runs, and of no other program', async (t) => {
  const long = 'x'.repeat(5_000);
  const child = spawn(process.execPath, [...ARGS.slice(1), long], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const cutAfter = (args: string[]) => ({ ...STACK, args, truncated: true });
  const looks = new ExecLooks();
  const copy = cutAfter([...ARGS, long.slice(0, 1_000)]);
  const whole = await until('it runs', () => {
    const found = looks.complete(child.pid!, copy);
    return found !== copy && found;
  });
  assert.deepEqual([whole.args, whole.truncated], [[...ARGS, long], false]);
  const other = cutAfter(['other', ...ARGS]);
  assert.equal(looks.complete(child.pid!, other), other);
  child.kill('SIGKILL');
  await ended;
  assert.equal(looks.complete(child.pid!, copy), copy);
});
