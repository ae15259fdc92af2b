/** Where descriptors of this very process lead to, and which of that is believed. */
import assert from 'node:assert/strict';
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FILE_PATHS_AGE_MS_MAX } from '../../../../src/limits.js';
import { msToNs } from '../../../../src/nanoseconds.js';
import { CLONE_THREAD } from '../../../../src/sensor-agent/timeline/kernel-events.js';
import { FilePaths } from '../../../../src/sensor-agent/timeline/paths/file-paths.js';
import { OpenedFiles } from '../../../../src/sensor-agent/timeline/paths/opened-file.js';
import { ProcessTable } from '../../../../src/sensor-agent/timeline/process-table.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const { pid } = process;
/** Numbers that no thread has: the kernel gives none above 2^22, and those behind this process's own are of its threads. */
const THREAD = 2 ** 22 + 1;
const OTHER = 2 ** 22 + 2;
const NOW_NS = 100n;

/** A call of a thread that returns a descriptor, or undefined: begins. */
type Call = readonly [timeNs: bigint, returned?: number | undefined, threadId?: number];

/** A thread of this process, or one of a new process, begins. */
interface Begin {
  readonly begins: number;
  readonly isProcess?: boolean;
}
type Entry = Call | Begin;

/** Times of the calls whose paths are told; `since`: what is read behind the links, or not all of that. */
function told(entries: readonly Entry[], since: readonly Entry[] | 'not all' = [], nowNs = NOW_NS) {
  const processes = new ProcessTable();
  processes.addThread(THREAD, processes.ensure(pid));
  const opened = new OpenedFiles(processes);
  const note = (entry: Entry) => {
    if ('begins' in entry) {
      const values = { pid: entry.begins, clone_flags: entry.isProcess ? 0n : CLONE_THREAD };
      opened.note({ name: 'task_newtask', values, timeNs: 1n, lane: 0, tie: 0, pid, flags: 0 });
      return;
    }
    const [timeNs, returned, threadId = pid] = entry;
    const name = returned === undefined ? 'sys_enter_openat' : 'sys_exit_openat';
    const values = returned === undefined ? { dfd: 0n, flags: 0n } : { ret: BigInt(returned) };
    opened.note({ name, values, timeNs, lane: 0, tie: 0, pid: threadId, flags: 0 });
  };
  for (const entry of entries) note(entry);
  const paths = new FilePaths().read(opened, nowNs, () => {
    if (since === 'not all') return false;
    for (const entry of since) note(entry);
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
  const both: Entry[] = [
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

test('a thread whose begin is not told yet has the descriptors of its process', (t) => {
  const [path, one] = twoOpen(t);
  const own: Call = [5n, one];
  const begins: Begin = { begins: OTHER };
  assert.deepEqual(told([own, begins, [7n, one, OTHER]]), []);
  assert.deepEqual(told([[7n, one, OTHER], own, begins]), [], 'lanes are read one after the other');
  assert.deepEqual(told([own, [7n, one, OTHER]], [begins]), []);
  assert.deepEqual(told([own], [begins, [7n, one, OTHER]]), []);
  assert.deepEqual(told([own], [begins, [7n, undefined, OTHER]]), []);
  assert.deepEqual(told([own, { begins: OTHER, isProcess: true }, [7n, one, OTHER]]), [[5n, path]], 'another process');
});

test('a file may have the name that the kernel gives those that were removed', (t) => {
  const dir = scratchDirectory('paths');
  const [living, removed] = [join(dir, 'file (deleted)'), join(dir, 'removed')];
  for (const file of [living, removed]) writeFileSync(file, '');
  const open = [openSync(living, 'r'), openSync(removed, 'r')] as const;
  t.after(() => open.map(closeSync));
  unlinkSync(removed);
  const expected = [
    [5n, living],
    [6n, removed],
  ];
  assert.deepEqual(
    told([
      [5n, open[0]],
      [6n, open[1]],
    ]),
    expected,
  );
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
  const opened = new OpenedFiles(new ProcessTable());
  const event = { name: 'sys_exit_openat', values: { ret: 1n << 20n }, timeNs: 5n, lane: 0, tie: 0, pid, flags: 0 };
  opened.note(event);
  assert.deepEqual(
    new FilePaths().read(opened, NOW_NS, () => assert.fail('read on')),
    [],
  );
});
