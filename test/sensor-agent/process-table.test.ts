import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProcessTable, processContext } from '../../src/sensor-agent/process-table.js';

test('a child inherits, an exec replaces, an exit is remembered for a while', () => {
  const table = new ProcessTable();
  table.adopt(
    { pid: 10, parentPid: 1, comm: 'sh', executablePath: '/bin/sh', args: ['sh'], uid: 7, threads: [11] },
    5n,
  );
  assert.equal(table.of(11), table.of(10));
  const child = table.fork(20, table.ensure(11), 10, 'sh', 99n);
  assert.deepEqual([child.uid, child.parentPid, child.args, child.createdWallNs], [7, 10, ['sh'], 99n]);
  const started = table.exec(20, '/bin/ls', { pid: 20, parentPid: 10, comm: 'ls', args: ['ls', '-l'], uid: 8 });
  assert.deepEqual([started.path, started.args, started.uid, started.createdWallNs], ['/bin/ls', ['ls', '-l'], 8, 99n]);
  assert.deepEqual(table.of(10)!.args, ['sh']);
  table.exit(20, started, true);
  assert.equal(table.of(20), started);
});

test('an exec whose arguments nobody read says so and forgets the old ones', () => {
  const table = new ProcessTable();
  table.exec(5, '/a', { pid: 5, parentPid: 1, comm: 'a', args: ['a'] });
  const missed = table.exec(5, '/b', undefined);
  assert.deepEqual([missed.args, missed.argsMissed, missed.path], [undefined, true, '/b']);
});

test('arguments that were cut say so, until the next exec', () => {
  const table = new ProcessTable();
  const read = { pid: 5, parentPid: 1, comm: 'a', args: ['a'] };
  table.adopt({ ...read, executablePath: '/a', argsTruncated: true }, 5n);
  assert.equal(processContext(table.of(5)!).commandArgsTruncated, true);
  assert.equal(processContext(table.exec(5, '/b', read)).commandArgsTruncated, undefined);
  assert.equal(processContext(table.exec(5, '/b', { ...read, argsTruncated: true })).commandArgsTruncated, true);
});

test('a pid used again is not forgotten with its first owner', () => {
  const table = new ProcessTable();
  const parent = table.ensure(1);
  table.exit(7, table.fork(7, parent, 1, 'a', 1n), true);
  const second = table.fork(7, parent, 1, 'b', 2n);
  for (let pid = 100; pid < 2_000; pid += 1) table.exit(pid, table.fork(pid, parent, 1, 'x', 3n), true);
  assert.equal(table.of(7), second);
  assert.equal(table.of(100), undefined);
});

test('a saved table is the same after loading', () => {
  const table = new ProcessTable();
  table.adopt({ pid: 10, parentPid: 1, comm: 'sh', executablePath: '/bin/sh', threads: [11, 12] }, 5n);
  table.fork(20, table.ensure(11), 10, 'sh', 99n);
  const saved = table.save();
  const other = new ProcessTable();
  other.load(saved);
  assert.deepEqual(other.save(), saved);
  assert.equal(other.of(12), other.of(10));
});
