/** Which side record an exec gets, and which go when there are too many. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXEC_JOIN_RECORDS_MAX } from '../../../src/limits.js';
import { ExecJoin } from '../../../src/sensor-agent/timeline/exec-join.js';

const record = (pid: number, timeNs: bigint) => ({ lane: 0, timeNs, pid, missed: false });
const AGES_APART_NS = 1_000_000_000n;

function taken(join: ExecJoin, pid: number, timeNs: bigint) {
  const found = join.find(0, pid, timeNs);
  return found && join.take(found);
}

/** Adds records of tasks of their own until `records` wait. */
function fill(join: ExecJoin, records: number): void {
  for (let pid = 100; join.save().length < records; pid += 1) join.add(record(pid, 1n));
}

test('when it is full, the oldest record makes room, and the later ones of its task stay', () => {
  const join = new ExecJoin();
  const later = record(1, AGES_APART_NS);
  join.add(record(1, 1n));
  join.add(later);
  fill(join, EXEC_JOIN_RECORDS_MAX);
  join.add(record(2, 1n));
  assert.equal(join.save().length, EXEC_JOIN_RECORDS_MAX);
  assert.equal(taken(join, 1, 1n), undefined);
  assert.equal(taken(join, 1, AGES_APART_NS), later);
  assert.equal(join.save().length, EXEC_JOIN_RECORDS_MAX - 1);
});

test('the oldest is the one that came first, whatever was taken of its task before', () => {
  const join = new ExecJoin();
  const [first, other, second] = [record(1, 1n), record(2, 1n), record(1, AGES_APART_NS)];
  for (const each of [first, other, second]) join.add(each);
  assert.equal(taken(join, 1, 1n), first);
  fill(join, EXEC_JOIN_RECORDS_MAX);
  join.add(record(3, 1n));
  assert.equal(taken(join, 2, 1n), undefined);
  assert.equal(taken(join, 1, AGES_APART_NS), second);
});

test('records whose exec must have passed are dropped one by one', () => {
  const join = new ExecJoin();
  const [early, late] = [record(1, 1n), record(1, AGES_APART_NS)];
  join.add(early);
  join.add(late);
  join.prune(AGES_APART_NS);
  assert.deepEqual(join.save(), [late]);
  join.prune(2n * AGES_APART_NS);
  assert.deepEqual(join.save(), []);
});
