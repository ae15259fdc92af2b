/** Where descriptors of this very process lead to, and which of that is believed. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FILE_PATHS_AGE_MS_MAX } from '../../../../src/limits.js';
import { msToNs } from '../../../../src/nanoseconds.js';
import { FilePaths } from '../../../../src/sensor-agent/timeline/paths/file-paths.js';
import { OpenedFiles } from '../../../../src/sensor-agent/timeline/paths/opened-file.js';
import { ProcessTable } from '../../../../src/sensor-agent/timeline/process-table.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const { pid } = process;
/** Of this process; this one's number stands for it in /proc. */
const THREAD = pid + 1;
const OTHER = pid + 2;
const NOW_NS = 100n;

/** A call of a thread that returns a descriptor, or undefined: begins. */
type Call = readonly [timeNs: bigint, returned?: number | undefined, threadId?: number];

/** Times of the calls whose paths are told; `since`: what is read behind the links, or not all of that. */
function told(calls: readonly Call[], since: readonly Call[] | 'not all' = [], nowNs = NOW_NS) {
  const processes = new ProcessTable();
  processes.addThread(THREAD, processes.ensure(pid));
  const opened = new OpenedFiles();
  const note = ([timeNs, returned, threadId = pid]: Call) => {
    const name = returned === undefined ? 'sys_enter_openat' : 'sys_exit_openat';
    const values = returned === undefined ? { dfd: 0n, flags: 0n } : { ret: BigInt(returned) };
    opened.note({ name, values, timeNs, lane: 0, tie: 0, pid: threadId, flags: 0 }, processes);
  };
  for (const call of calls) note(call);
  const paths = new FilePaths().read(opened, nowNs, () => {
    if (since === 'not all') return false;
    for (const call of since) note(call);
    return true;
  });
  return paths.map(({ timeNs, path }) => [timeNs, path] as const);
}

/** Two descriptors of one file. */
function twoOpen(t: TestContext) {
  const path = join(scratchDirectory('paths'), 'file');
  writeFileSync(path, '');
  const open = [openSync(path, 'r'), openSync(path, 'r')] as const;
  t.after(() => open.map(closeSync));
  return [path, ...open] as const;
}

test('what a descriptor leads to is told, unless a call may have got it again since', (t) => {
  const [path, one, two] = twoOpen(t);
  const both: Call[] = [
    [5n, one],
    [6n, two],
  ];
  const [first, second] = [[5n, path] as const, [6n, path] as const];
  assert.deepEqual(told(both), [first, second]);
  assert.deepEqual(told(both, [[7n, one]]), [second]);
  assert.deepEqual(told(both, [[7n, one, THREAD]]), [second], 'by another thread of the process');
  assert.deepEqual(told(both, [[7n, one, OTHER]]), [first, second], 'by another process');
  assert.deepEqual(told(both, [[7n, -2]]), [first, second], 'a call that failed');
  assert.deepEqual(told(both, 'not all'), []);
  assert.deepEqual(told([...both, [8n, one]]), [[8n, path], second], 'the later of two');
});

test('a call that has begun may have its descriptor already', (t) => {
  const [path, one] = twoOpen(t);
  assert.deepEqual(told([[5n, one]], [[7n]]), []);
  assert.deepEqual(told([[5n, one], [7n]]), [], 'also one from before the links were read');
  assert.deepEqual(told([[5n, one]], [[7n, undefined, THREAD]]), []);
  assert.deepEqual(told([[5n, one]], [[7n, undefined, OTHER]]), [[5n, path]]);
  assert.deepEqual(
    told([
      [3n, undefined, THREAD],
      [5n, one],
    ]),
    [[5n, path]],
    'it has another one since before',
  );
  assert.deepEqual(told([[5n, one]], [[8n, -2], [7n]]), [[5n, path]], 'lanes are read one after the other');
});

test('files that were opened long ago are not looked up, and nothing more is read where no descriptor leads anywhere', (t) => {
  const [path, one, two] = twoOpen(t);
  const laterNs = 6n + msToNs(FILE_PATHS_AGE_MS_MAX);
  assert.deepEqual(
    told(
      [
        [5n, one],
        [6n, two],
      ],
      [],
      laterNs,
    ),
    [[6n, path]],
  );
  const opened = new OpenedFiles();
  const event = { name: 'sys_exit_openat', values: { ret: 1n << 20n }, timeNs: 5n, lane: 0, tie: 0, pid, flags: 0 };
  opened.note(event, new ProcessTable());
  assert.deepEqual(
    new FilePaths().read(opened, NOW_NS, () => assert.fail('read on')),
    [],
  );
});
