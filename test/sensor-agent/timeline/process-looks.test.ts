/** Which living processes are looked at again, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROCESS_LOOK_MS, PROCESS_LOOKS_MAX } from '../../../src/limits.js';
import { LookNotes, ProcessLooks } from '../../../src/sensor-agent/timeline/process-looks.js';
import { ProcessTable } from '../../../src/sensor-agent/timeline/process-table.js';

const OWN = process.geteuid!();
const [SYN_SENT, LISTEN, ESTABLISHED] = [2, 10, 1];
const state = (pid: number, newstate: number, flags = 0) => ({
  name: 'inet_sock_set_state',
  pid,
  flags,
  values: { newstate },
});

/** This process and its parent, as they were forked; `users`: the kernel tells when they become others. */
function forked(users: boolean) {
  const table = new ProcessTable();
  table.follows = { users, cgroups: true };
  table.adopt({ pid: 1, uid: 0, workingDirectory: '/nowhere' }, 1n);
  const looks = new ProcessLooks();
  const notes = new LookNotes(table);
  for (const pid of [process.pid, process.ppid]) {
    table.fork(pid, table.of(1)!, 1, 'x', 2n);
    table.started!.push(pid);
  }
  const read = (nowMs: number) => looks.read(notes.take(), nowMs);
  return { table, notes, read };
}

test('what was forked is looked at once, a while later, if it is there', () => {
  const { table, notes, read } = forked(true);
  table.exit(process.ppid, table.of(process.ppid)!, true);
  assert.deepEqual(read(0), []);
  assert.deepEqual(read(PROCESS_LOOK_MS - 1), []);
  const [own, ...others] = read(PROCESS_LOOK_MS);
  assert.deepEqual(others, []);
  assert.deepEqual([own!.pid, own!.uid, own!.workingDirectory], [process.pid, OWN, process.cwd()]);
  assert.equal(own!.args, undefined);
  assert.deepEqual(read(PROCESS_LOOK_MS * 2), []);
  // Nothing is left to be read of it.
  table.readAgain(own!, undefined);
  table.started!.push(process.pid);
  assert.deepEqual(read(PROCESS_LOOK_MS * 3), []);
  assert.deepEqual(read(PROCESS_LOOK_MS * 5), []);
  assert.equal(notes.take().started.length, 0);
});

test('who connects or listens is looked at before that is told, where the kernel does not tell users', () => {
  for (const [newstate, flags, seen] of [
    [SYN_SENT, 0, 1],
    [LISTEN, 0, 1],
    [ESTABLISHED, 0, 0],
    // Whoever happens to run.
    [SYN_SENT, 0x10, 0],
  ] as const) {
    const { notes, read } = forked(false);
    notes.entry(state(process.pid, newstate, flags));
    assert.equal(read(0).length, seen, `${newstate} ${flags}`);
  }
  const followed = forked(true);
  followed.notes.entry(state(process.pid, SYN_SENT));
  assert.deepEqual(followed.read(0), []);
  const known = forked(false);
  for (const uid of [OWN + 1, OWN]) {
    known.table.readAgain({ pid: process.pid, uid, workingDirectory: '/' }, undefined);
    known.notes.entry(state(process.pid, SYN_SENT));
    assert.equal(known.read(0).length, uid === OWN ? 0 : 1);
  }
});

test('no more than a bound wait to be looked at, and those that wait keep their place', () => {
  const { table, read } = forked(true);
  const many = () => Array.from({ length: PROCESS_LOOKS_MAX }, () => 0);
  table.started!.push(...many());
  read(0);
  assert.ok(read(PROCESS_LOOK_MS).some(({ pid }) => pid === process.pid));
  read(PROCESS_LOOK_MS);
  table.started!.push(...many(), process.pid);
  read(PROCESS_LOOK_MS);
  assert.deepEqual(read(PROCESS_LOOK_MS * 2), []);
});
