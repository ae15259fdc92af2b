/** While a dropped hold is not on disk, no node is told: a broker that is killed then would trust a log with a hole. */
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import type { StateFile } from '../../../src/broker/cluster/embedded/state-file.js';
import type { LogStore } from '../../../src/broker/log/log-store.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import type { NodeSession } from '../../../src/broker/nodes/node-session.js';
import { checkNodeState, savedNodes } from '../../../src/broker/nodes/node-state.js';
import { INTEREST_GRACE_MS } from '../../../src/limits.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { helloOf } from '../../harness/broker/hello.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

let store: LogStore;
let state: StateFile;
beforeEach(async () => {
  const dir = scratchDirectory();
  store = await openLogs(dir);
  state = openState(dir, { name: 'interest', check: checkNodeState });
});
afterEach(() => store.close());

const all = () => true;
const predicate = (topic: 'process' | 'network') =>
  compilePredicate({ topics: [topic], filter: '', includeSelf: true }).spec;

/** A connected node, and how many predicates it was told each time. */
function connect(registry: NodeRegistry, name: string) {
  const { record, session: id } = registry.admit(helloOf(name), '10.0.0.1');
  const told: { generation: number; ids: bigint[] }[] = [];
  const session = {
    id,
    record,
    open: true,
    sendInterest: (generation: number, predicates: readonly { id: bigint }[]) =>
      told.push({ generation, ids: predicates.map((each) => each.id) }),
    close: () => undefined,
  };
  registry.attach(session as unknown as NodeSession);
  return { record, told };
}

test('a dropped hold is durable before any node is told, however often the write fails', async () => {
  const failures: string[] = [];
  const book = newBook();
  const registry = new NodeRegistry(book, store, state, (message) => failures.push(message));
  const [wanted, other] = [predicate('process'), predicate('network')];
  const a = connect(registry, 'a');
  const release = await book.claim(wanted, ['*'], all);
  await until('that it is asked', () => a.told.length > 0);
  registry.acknowledged(a.record, a.told.at(-1)!.generation, { epoch: 1, timeNs: 1n, lane: 0, tie: 0 }, new Map());
  await registry.save();
  assert.ok(savedNodes(state)[0]?.holds.get(wanted.id, 1));
  const toldBefore = a.told.length;
  mkdirSync(`${state.place}.new`);
  release();
  book.expire(Date.now() + INTEREST_GRACE_MS + 1);
  await until('that the write failed', () => failures.length > 0);
  // Another claim, another node, and the retries of the write: each is a reason to tell.
  await book.claim(other, ['*'], all);
  const b = connect(registry, 'b');
  const generation = book.generation;
  let looks = 0;
  await until('some retries', () => ++looks > 30);
  assert.deepEqual([a.told.length, b.told.length], [toldBefore, 0]);
  assert.ok(savedNodes(state)[0]?.holds.get(wanted.id, 1), 'the file says so still');
  rmdirSync(`${state.place}.new`);
  await until('that both are told', () => a.told.length > toldBefore && b.told.length > 0);
  assert.deepEqual(a.told.at(-1), { generation, ids: [other.id] });
  assert.ok(savedNodes(state).every(({ holds }) => holds.get(wanted.id, 1) === undefined));
  registry.close();
});

test('a predicate that is asked again before nodes were told that it is not is told again, as its hold is gone', async () => {
  const book = newBook();
  const failures: string[] = [];
  const registry = new NodeRegistry(book, store, state, (message) => failures.push(message));
  const wanted = predicate('process');
  const { record, told } = connect(registry, 'a');
  const acknowledge = (timeNs: bigint) =>
    registry.acknowledged(record, told.at(-1)!.generation, { epoch: 1, timeNs, lane: 0, tie: 0 }, new Map());
  const release = await book.claim(wanted, ['*'], all);
  await until('that it is asked', () => told.length > 0);
  acknowledge(1n);
  // Its drop cannot be saved, so the node is not told of it.
  mkdirSync(`${state.place}.new`);
  release();
  book.expire(Date.now() + INTEREST_GRACE_MS + 1);
  await until('that the write failed', () => failures.length > 0);
  assert.equal(registry.hold('a', [wanted.id]), undefined);
  await book.claim(wanted, ['*'], all);
  const before = told.length;
  rmdirSync(`${state.place}.new`);
  await until('that it is told again', () => told.length > before);
  assert.deepEqual(told.at(-1)?.ids, [wanted.id]);
  acknowledge(2n);
  assert.equal(registry.hold('a', [wanted.id])?.timeNs, 2n);
  registry.close();
});

test('interest stays for its grace behind the last subscriber, and no longer', async () => {
  const book = newBook();
  const releases = [
    await book.claim(predicate('process'), ['*'], all),
    await book.claim(predicate('process'), ['*'], all),
  ];
  const asked = (afterMs: number) => {
    book.expire(Date.now() + afterMs);
    return book.forNode('a').predicates.length;
  };
  releases[0]!();
  assert.equal(asked(10 * INTEREST_GRACE_MS), 1, 'one is still there');
  releases[1]!();
  assert.deepEqual([asked(INTEREST_GRACE_MS / 2), asked(INTEREST_GRACE_MS + 1)], [1, 0]);
});
