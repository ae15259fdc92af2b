/** Captures decoded against the kernel's own text of the same events. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { decode } from '../../src/cli/decode.js';
import { BackplaneError } from '../../src/errors.js';
import { MAIN } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { kernelText, type PlainFields } from '../harness/kernel/kernel-text.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/ftrace/', import.meta.url));

interface Line {
  readonly time: string;
  readonly cpu: number;
  readonly event: string;
  readonly pid: number;
  readonly fields: PlainFields;
}

class Text extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    setImmediate(done);
  }
  lines<T>(): T[] {
    return this.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T);
  }
}

async function decoded(dir: string): Promise<{ events: Line[]; lost: { cpu: number; lost: number }[] }> {
  const out = new Text();
  const err = new Text();
  await decode(dir, out, err);
  return { events: await flushed(out), lost: await flushed(err) };
}

async function flushed<T>(stream: Text): Promise<T[]> {
  await new Promise<void>((done) => stream.end(done));
  return stream.lines<T>();
}

/** `           <...>-25872   [001]   4492.598828: task_newtask: pid=...` */
const TEXT_LINE = /^\s*\S+-(\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{6}): (.*)$/;

function truth(dir: string): string[] {
  const text = gunzipSync(readFileSync(join(dir, 'trace.txt.gz'))).toString();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [, pid, cpu, seconds, micros, rest] = TEXT_LINE.exec(line)!;
    return `${pid} ${Number(cpu)} ${seconds}${micros} ${withoutPrefixes(rest!)}`;
  });
}

/** Some kernels write 0x before a call's arguments, some only before those above nine, some never. */
function withoutPrefixes(text: string): string {
  return text.startsWith('sys_') ? text.replaceAll(': 0x', ': ') : text;
}

/** The kernel rounds half up to microseconds. */
function rendered(line: Line): string {
  const micros = (BigInt(line.time) + 500n) / 1000n;
  return `${line.pid} ${line.cpu} ${micros} ${kernelText(line.event, line.fields)}`;
}

for (const name of ['lite-4k', 'syscalls-64k', 'overflow-4k', 'arm64-4k']) {
  test(`${name}: every decoded event, field and time is as the kernel printed it`, async () => {
    const dir = join(FIXTURES, name);
    const meta = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8'));
    const { events, lost } = await decoded(dir);
    assert.equal(events.length, meta.textEvents);
    const order = events.map((line) => BigInt(line.time));
    assert.ok(order.every((time, i) => i === 0 || order[i - 1]! <= time));
    // Within one microsecond the kernel's own merge over CPUs may differ from ours: compare CPU by CPU.
    for (const cpu of [0, 1]) {
      const ours = events.filter((line) => line.cpu === cpu).map(rendered);
      const theirs = truth(dir).filter((line) => line.split(' ')[1] === String(cpu));
      assert.deepEqual(ours, theirs);
    }
    const overruns = Object.entries(meta.cpus as Record<string, { overrun: number }>)
      .map(([cpu, { overrun }]) => ({ cpu: Number(cpu.slice(3)), lost: overrun }))
      .filter((cpu) => cpu.lost > 0);
    assert.deepEqual(lost, overruns);
  });
}

test('a capture of garbage is refused in one line that names the file', async () => {
  const dir = scratchDirectory('decode');
  const fixture = join(FIXTURES, 'lite-4k');
  const pages = gunzipSync(readFileSync(join(fixture, 'cpu1.pages.gz')));
  const zeroLength = Buffer.from(pages);
  zeroLength.writeUInt32LE(0, 16);
  zeroLength.writeUInt32LE(0, 20);
  const cases: [string, string | Buffer, RegExp][] = [
    ['cpu1.pages.gz', 'not gzip', /cpu1\.pages\.gz must be gzip/],
    ['cpu1.pages.gz', gzipSync(pages.subarray(1)), /whole pages of 4096 bytes, got 12287/],
    ['cpu1.pages.gz', gzipSync(zeroLength), /cpu1\.pages\.gz page 0 is not a ring-buffer page/],
    ['meta.json', '{', /meta\.json must be JSON/],
    ['meta.json', 'null', /subbufBytes of .* got undefined/],
    ['meta.json', '{"subbufBytes": 1e9}', /subbufBytes .* must be 20 to 65536, got 1000000000/],
    ['format/task.task_rename.txt', 'name: x\n', /format task\/task_rename must be/],
    ['format/a.b.txt', `name: b\nID: 70\nformat:\n\tfield:int __proto__;\toffset:0;\tsize:4;\n`, /format a\/b must/],
    ['format/a.b.txt', 'x'.repeat(70_000), /a\.b\.txt must be at most 65536 bytes, is 70000/],
  ];
  for (const [file, content, expected] of cases) {
    rmSync(dir, { recursive: true });
    cpSync(fixture, dir, { recursive: true });
    writeFileSync(join(dir, file), content);
    await assert.rejects(decoded(dir), (error) => {
      assert.ok(error instanceof BackplaneError);
      assert.match(error.message, expected);
      assert.ok(!error.message.includes('\n'));
      return true;
    });
  }
  await assert.rejects(decoded(join(dir, 'none')), { code: 'not_found' });
});

test('a file of a capture that never ends, or never begins, is refused at once', () => {
  const fixture = join(FIXTURES, 'lite-4k');
  for (const file of ['meta.json', 'cpu0.pages.gz', 'format/task.task_rename.txt']) {
    for (const kind of ['a pipe', 'a device']) {
      const dir = scratchDirectory('decode');
      cpSync(fixture, dir, { recursive: true });
      rmSync(join(dir, file));
      if (kind === 'a pipe') assert.equal(spawnSync('mkfifo', [join(dir, file)]).status, 0);
      else symlinkSync('/dev/zero', join(dir, file));
      // In a process of its own, because opening a pipe blocks the whole process.
      const { stderr, status } = spawnSync(process.execPath, ['--max-old-space-size=128', MAIN, 'decode', dir], {
        encoding: 'utf8',
        timeout: 60_000,
      });
      assert.equal(stderr, `backplane: ${join(dir, file)} must be a regular file, is ${kind}\n`);
      assert.equal(status, 1);
    }
  }
});
