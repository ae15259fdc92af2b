/** Directory locks between real processes, since a lock depends on whether its holder lives. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackplaneError } from '../../src/errors.js';
import { lockDirectory } from '../../src/storage/dir-lock.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const MODULE = new URL('../../src/storage/dir-lock.js', import.meta.url).href;
/** Says whether it won, then holds what it has until its input ends. */
const STARTER = `
  const { lockDirectory } = await import(${JSON.stringify(MODULE)});
  process.stdin.once('data', () => {
    try { lockDirectory(process.argv[1]); console.log('won'); } catch (cause) { console.log(cause.message); }
  });
  process.stdin.on('end', () => process.exit());
  console.log('ready');
`;

class Starter {
  readonly child: ChildProcess;
  #text = '';

  constructor(dir: string) {
    this.child = spawn(process.execPath, ['--input-type=module', '-e', STARTER, dir], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
  }

  async line(number: number): Promise<string> {
    for (;;) {
      const lines = this.#text.split('\n');
      if (lines.length > number + 1) return lines[number]!;
      await once(this.child.stdout!, 'data');
    }
  }

  go(): void {
    this.child.stdin!.write('go\n');
  }

  async end(signal?: NodeJS.Signals): Promise<void> {
    const exit = once(this.child, 'exit');
    if (signal) this.child.kill(signal);
    else this.child.stdin!.end();
    await exit;
  }
}

function refusal(dir: string): string {
  try {
    lockDirectory(dir).release();
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError && cause.code === 'failed_precondition');
    return cause.message;
  }
  return '';
}

test('a directory has one holder at a time, even within a process, and is free once released', () => {
  const dir = join(scratchDirectory(), 'made', 'deep');
  for (let round = 0; round < 3; round++) {
    const lock = lockDirectory(dir);
    assert.match(refusal(dir), new RegExp(`in use by process ${process.pid}: stop it`));
    lock.release();
    lock.release();
    assert.equal(refusal(dir), '');
  }
  assert.equal(fs.readdirSync(dir).length, 1, 'old locks are cleared away');
});

test('a living process keeps its lock, and a killed one does not', async () => {
  const dir = scratchDirectory();
  const starter = new Starter(dir);
  await starter.line(0);
  starter.go();
  assert.equal(await starter.line(1), 'won');
  assert.match(refusal(dir), new RegExp(`process ${starter.child.pid}:`));
  await starter.end('SIGKILL');
  assert.equal(refusal(dir), '');
});

test('a process with a reused pid is not taken for the holder, and an invalid lock file holds nothing', () => {
  const dir = scratchDirectory();
  const [pid, start, boot] = (() => {
    const lock = lockDirectory(dir);
    const [name] = fs.readdirSync(dir);
    const target = fs.readlinkSync(join(dir, name!)).split(':');
    lock.release();
    return target;
  })();
  for (const target of [`${pid}:${Number(start) + 1}:${boot}`, `${pid}:${start}:other-boot`, 'nonsense', '-1:2:3']) {
    const number = Math.max(...fs.readdirSync(dir).map((name) => Number(name.slice('lock.'.length)))) + 1;
    fs.symlinkSync(target, join(dir, `lock.${number}`));
    assert.equal(refusal(dir), '', target);
  }
});

test('of many that start at once over a dead holder, one gets the lock', async () => {
  for (let round = 0; round < 3; round++) {
    const dir = scratchDirectory();
    if (round > 0) fs.symlinkSync('999999999:1:dead', join(dir, 'lock.4'));
    const starters = Array.from({ length: 6 }, () => new Starter(dir));
    await Promise.all(starters.map((starter) => starter.line(0)));
    for (const starter of starters) starter.go();
    const answers = await Promise.all(starters.map((starter) => starter.line(1)));
    assert.equal(answers.filter((answer) => answer === 'won').length, 1, answers.join('; '));
    await Promise.all(starters.map((starter) => starter.end()));
  }
});

test('a slow starter that still sees a dead holder does not get the lock beside a faster one', (t) => {
  const dir = scratchDirectory();
  fs.symlinkSync('999999999:1:dead', join(dir, 'lock.5'));
  lockDirectory(dir).release();
  const lock = lockDirectory(dir);
  assert.deepEqual(fs.readdirSync(dir), ['lock.8']);
  t.mock.method(fs, 'readdirSync', () => ['lock.5'], { times: 1 });
  assert.match(refusal(dir), /in use by process/);
  assert.deepEqual(fs.readdirSync(dir), ['lock.8'], 'nothing is left of the try');
  lock.release();
});

test('a directory that cannot be written is named with the reason', () => {
  const file = join(scratchDirectory(), 'file');
  fs.writeFileSync(file, '');
  assert.match(refusal(join(file, 'data')), /cannot write to directory .*: ENOTDIR/);
});

test('a file system that refuses directories is not retried for ever', () => {
  assert.match(refusal('/proc/no-such-directory/data'), /cannot write to directory .*: E(NOENT|ACCES|PERM)/);
});
