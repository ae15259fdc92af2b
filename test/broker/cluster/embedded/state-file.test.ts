/** Shared state in a file: the contract, what a damaged file does, and files of version 0.1. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { StateMirror } from '../../../../src/broker/cluster/state-mirror.js';
import { HoldSteps } from '../../../../src/broker/nodes/asked/holds.js';
import {
  budgetEntriesOfVersion1,
  checkNodeState,
  interestEntries,
  interestEntriesOfVersion1,
  nodeEntries,
  savedInterest,
  savedNodes,
} from '../../../../src/broker/nodes/node-state.js';
import { INTEREST_BYTES_MAX, PREDICATES_MAX, STATE_BYTES_MAX } from '../../../../src/limits.js';
import { nodeFileOps } from '../../../../src/storage/file-ops.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { sharedStateContract } from '../../../contract/shared-state.js';
import { newBook, openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

sharedStateContract('embedded', async () => {
  const dir = scratchDirectory();
  const obstacle = join(dir, 'state.json.new');
  return {
    reopen: async () => openState(dir),
    two: async () => {
      const state = openState(dir);
      return [state, state];
    },
    breakIt: async () => {
      mkdirSync(obstacle);
      return async () => rmdirSync(obstacle);
    },
    destroy: async () => undefined,
  };
});

test('changes of one turn are one write, and a failed one leaves the file as it was', async () => {
  const dir = scratchDirectory();
  const state = openState(dir);
  const puts = Array.from({ length: 100 }, (_, at) => state.put(`k${at}`, { at }));
  await puts[0];
  // The first one resolves when all of them are in the file.
  assert.equal(JSON.parse(readFileSync(state.place, 'utf8')).entries.length, 100);
  const before = readFileSync(state.place);
  mkdirSync(`${state.place}.new`);
  await assert.rejects(state.put('k0', { at: 'other' }), { code: 'EISDIR' });
  assert.deepEqual(readFileSync(state.place), before);
});

test('while the disk takes its time nothing else waits, and what is asked for meanwhile is written together', async () => {
  let writes = 0;
  let release: () => void = () => undefined;
  const sync = async (fd: number) => {
    writes++;
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    await nodeFileOps.sync(fd);
  };
  const dir = scratchDirectory();
  const state = openState(dir, { files: { ...nodeFileOps, sync } });
  const first = state.put('a', { at: 1 });
  await until('the first write', () => writes === 1);
  const later = [state.put('a', { at: 2 }), state.put('b', { at: 3 }), state.put('a', { at: 4 }, 7)];
  const refused = assert.rejects(later[2]!, { code: 'failed_precondition' });
  assert.equal(state.get('a'), undefined, 'it is not durable yet');
  release();
  assert.equal(await first, 1);
  await until('the second write', () => writes === 2);
  assert.deepEqual(state.get('a')?.value, { at: 1 });
  release();
  assert.deepEqual(await Promise.all(later.slice(0, 2)), [2, 3]);
  await refused;
  await state.settled();
  assert.deepEqual(openState(dir).entries(''), state.entries(''));
  assert.equal(writes, 2);
});

test('an entry that no broker writes makes the whole file damaged', () => {
  const dir = scratchDirectory();
  writeFileSync(
    join(dir, 'state.json'),
    '{"version":2,"revision":1,"entries":[["budget.a",1,{"liveBytesPerSecond":-1}]]}',
  );
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const state = openState(dir, { check: checkNodeState, warn });
  assert.deepEqual(state.entries(''), []);
  assert.match(warnings.join(), /state\.json is damaged \(not what a broker writes\): it is kept as .*\. It is gone$/);
});

test('files of version 0.1 are read: claims, nodes with what holds for them, and budgets', async () => {
  const dir = scratchDirectory();
  const claim = { id: '7', topics: ['process'], filter: '', includeSelf: false, globs: ['a*'] };
  const [holds, old] = [[['7', 2, '1234567890123', 1, 4]], { name: 'old', recorderId: 'r', epoch: 1, holds: [] }];
  const node = { name: 'a', recorderId: 'q', epoch: 2, holds, seenMs: 5, connected: false, delivered: true, peer: 'p' };
  writeFileSync(
    join(dir, 'interest.json'),
    JSON.stringify({ version: 1, generation: 12, claims: [claim], nodes: [node, old] }),
  );
  const state = openState(dir, { name: 'interest', upgrade: interestEntriesOfVersion1 });
  const { generation, claims } = savedInterest(state);
  assert.deepEqual([generation, [...claims.values()]], [12, [{ ...claim, id: 7n, fields: [], since: 0 }]]);
  const nodes = savedNodes(state);
  const position = { epoch: 2, timeNs: 1234567890123n, lane: 1, tie: 4 };
  const { holds: held, ...first } = nodes[0]!;
  assert.deepEqual({ ...first, holds }, node);
  assert.deepEqual([held.get(7n, 0), held.get(8n, 0)], [{ position, first: position }, undefined]);
  assert.deepEqual([nodes[1]?.name, nodes[1]?.connected], ['old', true]);
  writeFileSync(join(dir, 'budgets.json'), JSON.stringify({ version: 1, nodes: { a: { liveBytesPerSecond: 5000 } } }));
  const budgets = openState(dir, { name: 'budgets', upgrade: budgetEntriesOfVersion1 });
  assert.deepEqual(budgets.get('budget.a')?.value, { liveBytesPerSecond: 5000 });
  // The first change writes all of it in today's form.
  await budgets.put('budget.b', { liveEventsPerSecond: 3 });
  const again = openState(dir, { name: 'budgets', check: checkNodeState });
  assert.deepEqual(
    again.entries('budget.').map(({ key }) => key),
    ['budget.a', 'budget.b'],
  );
});

test('a mirror writes what differs, and deletes what is no longer wanted', async () => {
  const dir = scratchDirectory();
  const state = openState(dir);
  await state.put('budget.a', {});
  const node = (name: string, seenMs: number) =>
    nodeEntries(
      {
        name,
        recorderId: '',
        epoch: 1,
        seenMs,
        connected: true,
        delivered: true,
        peer: '',
        holds: HoldSteps.NONE,
      },
      HoldSteps.NONE,
    );
  const mirror = new StateMirror(state, ['node.', 'holds.']);
  await mirror.write([...node('a', 1), ...node('b', 1)]);
  const revisions = new Map(state.entries('').map(({ key, revision }) => [key, revision]));
  await mirror.write([...node('a', 1), ...node('c', 1)]);
  assert.deepEqual(
    state.entries('').map(({ key }) => key),
    ['budget.a', 'node.a', 'holds.a', 'node.c', 'holds.c'],
  );
  assert.equal(state.get('node.a')?.revision, revisions.get('node.a'), 'it did not change');
  // Lost behind its back, as by a state that went back in time.
  await state.delete('node.c');
  await mirror.write([...node('a', 1), ...node('c', 1)]);
  assert.equal(state.get('node.c')?.value.seenMs, 1);
  mkdirSync(`${state.place}.new`);
  await assert.rejects(mirror.write(node('a', 2)), { code: 'EISDIR' });
  rmdirSync(`${state.place}.new`);
  await new StateMirror(state, ['node.', 'holds.']).write(node('a', 3));
  await mirror.write(node('a', 2));
  assert.deepEqual([state.get('node.a')?.value.seenMs, state.get('node.c')], [2, undefined]);
});

test('a file that would be too long to be read is not written, and the entry is refused', async () => {
  const dir = scratchDirectory();
  const state = openState(dir);
  await state.put('a', {});
  const text = 'x'.repeat(STATE_BYTES_MAX);
  await assert.rejects(state.put('b', { text }), { code: 'resource_exhausted', message: /at most \d+ bytes/ });
  assert.equal(state.get('b'), undefined);
  await state.put('c', {});
  const again = openState(dir);
  assert.deepEqual(
    again.entries('').map(({ key }) => key),
    ['a', 'c'],
  );
});

test('claims with many globs are bounded like claims with long filters', async () => {
  const { spec } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
  const book = newBook();
  const globs = (claim: number) => Array.from({ length: 200 }, (_, at) => `${claim}-${at}-${'n'.repeat(200)}`);
  const claims = async () => {
    for (let claim = 0; claim < PREDICATES_MAX; claim++) await book.claim(spec, globs(claim), () => true);
  };
  await assert.rejects(claims(), { code: 'resource_exhausted' });
  const entries = interestEntries(book.saved());
  assert.ok(JSON.stringify(entries).length < 2 * INTEREST_BYTES_MAX);
  assert.ok(entries.every(([key]) => key.length < 100));
});
