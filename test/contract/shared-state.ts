/** What every shared state must do, wherever it keeps its entries. */
import assert from 'node:assert/strict';
import type { SharedState, StateChange } from '../../src/broker/cluster/shared-state.js';
import { until } from '../harness/until.js';
import { type Each, eachWith } from './each.js';

export interface SharedStateUnderTest {
  /** Reads the state anew, as after a restart; the one before is used no more. */
  reopen(): Promise<SharedState>;
  /** As two brokers have it at once; of what one process has alone there is only one. */
  two(): Promise<readonly [SharedState, SharedState]>;
  /** From here on nothing can be written; returns what mends it. */
  breakIt(): Promise<() => Promise<void>>;
  destroy(): Promise<void>;
}

const CONFLICT = { code: 'failed_precondition' };
const storedIn = (state: SharedState, key: string) => state.get(key)?.value;
const numbers = (count: number) => Array.from({ length: count }, (_, at) => at);

/** Entries as a watcher knows them who began with nothing. */
function watched(state: SharedState, prefix: string) {
  const entries = new Map<string, unknown>();
  const changes: StateChange[] = [];
  const stop = state.watch(prefix, (change) => {
    changes.push(change);
    if (change.value === undefined) entries.delete(change.key);
    else entries.set(change.key, change.value);
  });
  return { entries, changes, stop };
}

/** Counts in an entry that exists, whoever else does. Returns the tries that it took. */
export async function countOne(state: SharedState, key = 'count'): Promise<number> {
  for (let tries = 1; ; tries++) {
    const { value, revision } = state.get(key)!;
    try {
      await state.put(key, { number: Number(value.number) + 1 }, revision);
      return tries;
    } catch (cause) {
      if ((cause as { code: string }).code !== CONFLICT.code) throw cause;
    }
  }
}

export function sharedStateContract(name: string, create: () => Promise<SharedStateUnderTest>): void {
  const each = eachWith(name, create);
  keepsEntries(each);
  putsAtRevisions(each);
  tellsWatchers(each);
  isShared(each);
}

function keepsEntries(each: Each<SharedStateUnderTest>): void {
  each('an entry can be read when its put has resolved, and after a restart', async (under) => {
    const state = await under.reopen();
    assert.equal(state.get('a'), undefined);
    const revision = await state.put('a', { text: 'ä "quoted"\n', list: [1, { deep: true }] });
    const entry = { key: 'a', value: { text: 'ä "quoted"\n', list: [1, { deep: true }] }, revision };
    for (const each of [state, await under.reopen()]) {
      const { key, value, revision } = each.get('a')!;
      assert.deepEqual({ key, value, revision }, entry);
    }
    assert.ok(state.place.length > 0);
  });

  each('every change has a higher revision, also after a restart and after deletions', async (under) => {
    let state = await under.reopen();
    const revisions: number[] = [];
    for (const round of numbers(3)) {
      revisions.push(await state.put('a', { round }));
      revisions.push(await state.put('b', { round }));
      revisions.push(await state.delete('a'));
      state = await under.reopen();
    }
    assert.ok(revisions[0]! > 0);
    assert.ok(
      revisions.every((revision, at) => at === 0 || revision > revisions[at - 1]!),
      revisions.join(' '),
    );
    assert.equal(state.get('a'), undefined);
    assert.deepEqual(storedIn(state, 'b'), { round: 2 });
  });
}

function putsAtRevisions(each: Each<SharedStateUnderTest>): void {
  each('a put at a revision is made only if the entry still has it', async (under) => {
    const state = await under.reopen();
    const first = await state.put('a', { number: 1 }, 0);
    await assert.rejects(state.put('a', { number: 9 }, 0), CONFLICT);
    const second = await state.put('a', { number: 2 }, first);
    await assert.rejects(state.put('a', { number: 9 }, first), CONFLICT);
    await assert.rejects(state.delete('a', first), CONFLICT);
    await assert.rejects(state.put('b', { number: 9 }, second), CONFLICT);
    assert.deepEqual(storedIn(state, 'a'), { number: 2 });
    await state.delete('a', second);
    await state.put('a', { number: 3 }, 0);
    assert.deepEqual(storedIn(await under.reopen(), 'a'), { number: 3 });
  });

  each('of many writers who count in one entry, none is lost', async (under) => {
    const state = await under.reopen();
    await state.put('count', { number: 0 });
    await Promise.all(numbers(10).map(() => countOne(state)));
    assert.deepEqual(storedIn(state, 'count'), { number: 10 });
  });

  each('deleting what is not there changes nothing', async (under) => {
    const state = await under.reopen();
    const revision = await state.put('a', {});
    const { changes } = watched(state, '');
    assert.equal(await state.delete('b'), revision);
    assert.equal(changes.length, 1);
  });
}

function tellsWatchers(each: Each<SharedStateUnderTest>): void {
  each('a watcher gets the entries that are there, then every change, of its prefix only', async (under) => {
    const state = await under.reopen();
    for (const number of numbers(5)) await state.put(`x.${number}`, { number });
    await state.put('y.0', {});
    const seen = watched(state, 'x.');
    assert.deepEqual([...seen.entries.keys()], ['x.0', 'x.1', 'x.2', 'x.3', 'x.4']);
    await Promise.all([state.put('x.5', { number: 5 }), state.delete('x.0'), state.put('x.1', { number: 7 })]);
    await state.put('y.1', {});
    await until('all changes', () => seen.entries.size === 5 && seen.changes.length >= 8);
    assert.deepEqual(
      [...seen.entries].sort(),
      state
        .entries('x.')
        .map(({ key, value }) => [key, value])
        .sort(),
    );
    assert.deepEqual(seen.entries.get('x.1'), { number: 7 });
    const revisions = seen.changes.map(({ revision }) => revision);
    assert.deepEqual(
      revisions,
      [...revisions].sort((a, b) => a - b),
    );
    seen.stop();
    await state.put('x.9', {});
    assert.equal(seen.entries.has('x.9'), false);
  });

  each('what cannot be written is refused, is not to be seen, and can be written later', async (under) => {
    const state = await under.reopen();
    await state.put('a', { number: 1 });
    const seen = watched(state, '');
    const mend = await under.breakIt();
    await assert.rejects(state.put('a', { number: 2 }));
    await assert.rejects(state.delete('a'));
    assert.deepEqual(storedIn(state, 'a'), { number: 1 });
    assert.equal(seen.changes.length, 1);
    await mend();
    await state.put('a', { number: 3 });
    assert.deepEqual(storedIn(await under.reopen(), 'a'), { number: 3 });
    assert.equal(seen.changes.length, 2);
  });

  each('keys may hold anything that a name or a glob may', async (under) => {
    const state = await under.reopen();
    const keys = ['node.__proto__', 'claim.1.a*,{b,c}', 'node.ä', 'node.constructor', 'node.a.b c'];
    for (const key of keys) await state.put(key, { key });
    const again = await under.reopen();
    assert.deepEqual(
      again.entries('').map(({ key, value }) => [key, value]),
      keys.map((key) => [key, { key }]),
    );
  });
}

function isShared(each: Each<SharedStateUnderTest>): void {
  each('of two who race each change is made once, and both see them in one order', async (under) => {
    const both = await under.two();
    await both[0].put('count', { number: 0 });
    await until('that the other has it', () => both[1].get('count') !== undefined);
    const seen = both.map((state) => watched(state, ''));
    await Promise.all(
      both.map(async (state) => {
        for (const _ of numbers(20)) await countOne(state);
      }),
    );
    for (const state of both) await until('all of them', () => storedIn(state, 'count')?.number === 40);
    for (const { changes } of seen) {
      const counted = changes.map(({ value }) => Number(value!.number));
      assert.deepEqual(
        counted,
        [...new Set(counted)].sort((a, b) => a - b),
      );
    }
  });

  each('all have one clock, which is not behind what was changed', async (under) => {
    const [one, other] = await under.two();
    const before = Date.now();
    await one.put('a', { number: 1 });
    await until('that the other has it', () => other.get('a') !== undefined);
    // The server of the tests has this machine's clock; in whole milliseconds either may be one behind.
    for (const state of [one, other]) assert.ok(state.timeMs() >= before - 1 && state.timeMs() <= Date.now() + 1);
  });

  each('of two who delete an entry at once, one is told that it did', async (under) => {
    const both = await under.two();
    for (const number of numbers(5)) {
      const revision = await both[0].put('token', { number });
      await until('that the other has it', () => both[1].get('token')?.revision === revision);
      const results = await Promise.allSettled(both.map((state) => state.delete('token', revision)));
      assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      for (const state of both) await until('that it is gone', () => state.get('token') === undefined);
    }
  });

  each('what one wrote, and what it deleted, the other sees; an entry that was deleted is made anew', async (under) => {
    const [one, other] = await under.two();
    const seen = watched(other, 'x.');
    await one.put('x.1', { number: 1 });
    await one.put('x.2', { number: 2 });
    await one.delete('x.1');
    await until('both', () => seen.entries.size === 1 && seen.entries.has('x.2'));
    await other.put('x.1', { number: 3 }, 0);
    await until('the new one', () => storedIn(one, 'x.1')?.number === 3);
    await assert.rejects(one.put('x.1', { number: 4 }, 0), CONFLICT);
  });
}
