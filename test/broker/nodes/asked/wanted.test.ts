/** What nodes are asked, and what of it they are told: whole once, then what has changed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NOTHING_WANTED, Wanted, WantedByNode } from '../../../../src/broker/nodes/asked/wanted.js';
import { NodeRecord } from '../../../../src/broker/nodes/node-record.js';
import { keptNodeGlobs } from '../../../../src/subscriptions/request/node-globs.js';
import type { Position } from '../../../../src/wire/position.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const GLOBS = [[], ['*'], ['a*'], ['b'], ['a1', 'b']];
const NODES = ['a1', 'a2', 'b', 'c'];

const claimOf = (id: number, globs: readonly string[], since = 0) => {
  const { matches } = keptNodeGlobs(globs);
  const spec = { id: BigInt(id), topics: ['process'], filter: `${id}`, includeSelf: false, fields: [] };
  return { ...spec, globs, since, matches };
};
const idsOf = ({ predicates }: Wanted) => predicates.map(({ id }) => Number(id));

test('each node is asked what any claim asks of it, once, and nodes that are asked alike share it', () => {
  const change = fc.record({
    id: fc.integer({ min: 1, max: 9 }),
    globs: fc.nat(GLOBS.length - 1),
    comes: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const wanted = new WantedByNode<ReturnType<typeof claimOf>>();
      const claims = new Map<string, ReturnType<typeof claimOf>>();
      const told = new Map<string, { last: Wanted; ids: Set<bigint> }>();
      for (const [index, { id, globs, comes }] of changes.entries()) {
        const key = `${id} ${globs}`;
        const known = claims.get(key);
        if (known) wanted.remove(key, known);
        claims.delete(key);
        if (comes) {
          const claim = claimOf(id, GLOBS[globs]!, index);
          claims.set(key, claim);
          wanted.add(key, claim);
        }
        for (const node of NODES) {
          const own = [...claims.values()].filter(({ matches }) => matches(node));
          const of = wanted.of(node);
          assert.deepEqual(
            idsOf(of),
            [...new Set(own.map((each) => Number(each.id)))].sort((a, b) => a - b),
          );
          const since = own.filter((each) => Number(each.id) === id).map((each) => each.since);
          assert.equal(of.since(BigInt(id)), since.length === 0 ? undefined : Math.min(...since));
          // Who is told every change knows the whole.
          const { last, ids } = told.get(node) ?? { last: NOTHING_WANTED, ids: new Set<bigint>() };
          const { added, removed } = of.changeFrom(last);
          for (const each of removed) assert.ok(ids.delete(each));
          for (const each of added) assert.ok(!ids.has(each.id) && ids.add(each.id));
          told.set(node, { last: of, ids });
          assert.deepEqual([...ids].map(Number).sort(), idsOf(of));
        }
        const matching = (node: string) => [...claims.keys()].filter((each) => claims.get(each)!.matches(node)).join();
        if (matching('a1') === matching('a2')) assert.equal(wanted.of('a1'), wanted.of('a2'));
      }
    }),
    { numRuns: runs(100) },
  );
});

test('a predicate holds from the answer to a generation that had it, if all since have it', () => {
  const at = (timeNs: number): Position => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
  const step = fc.record({
    ids: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 6 }),
    answers: fc.integer({ min: 0, max: 2 }),
    refused: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 2 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const record = new NodeRecord('a');
      record.begin({ session: 's', sinceMs: 0 });
      const asked: { generation: number; ids: number[] }[] = [];
      const holds = new Map<number, bigint>();
      let answered = 0;
      for (const [index, { ids, answers, refused }] of steps.entries()) {
        const wanted = new Wanted(
          ids.map((id) => claimOf(id, [])),
          new Map(ids.map((id) => [BigInt(id), 0])),
        );
        record.narrow(wanted);
        for (const id of holds.keys()) if (!ids.includes(id)) holds.delete(id);
        if (record.ask(wanted, index + 1) !== undefined) asked.push({ generation: index + 1, ids });
        for (let answer = 0; answer < answers && answered < asked.length; answer++) {
          const { generation, ids: then } = asked[answered]!;
          const later = asked.slice(++answered);
          const errors = new Map(refused.filter((id) => then.includes(id)).map((id) => [BigInt(id), 'no']));
          record.acknowledge(generation, at(10 * index + answer), errors);
          for (const id of then) {
            if (!later.every((each) => each.ids.includes(id))) continue;
            if (errors.has(BigInt(id))) holds.delete(id);
            else if (!holds.has(id)) holds.set(id, at(10 * index + answer).timeNs);
          }
        }
        const held = Array.from(record.holds, ([id, { position }]) => [Number(id), position.timeNs] as const);
        assert.deepEqual(new Map(held), holds);
      }
    }),
    { numRuns: runs(200) },
  );
});

/** How much a node was told: generations, and of how many the whole. */
const told = ({ interests, wholeInterests }: TestAgent) => ({ generations: interests.length, whole: wholeInterests });

test('an agent is told what changed, and the whole when it connects; an older one the whole each time', async () => {
  const harness = await Harness.start();
  try {
    const [agent, older] = [await harness.agent('a'), await harness.agent('b', undefined, { interestChanges: false })];
    const subscribers = [];
    for (const pid of range(0, 3)) {
      const subscriber = harness.subscribe({ topics: ['process'], filter: `process.pid == ${pid}`, follow: true });
      await subscriber.isAccepted();
      subscribers.push(subscriber);
    }
    await until('both were told', () => [agent, older].every(({ interests }) => interests.length === 4));
    assert.deepEqual(
      [told(agent), told(older)],
      [
        { generations: 4, whole: 1 },
        { generations: 4, whole: 4 },
      ],
    );
    for (const each of [agent, older]) {
      for (const pid of range(0, 4)) each.recorder.record('process.exec', pid);
      each.publish();
    }
    for (const [pid, subscriber] of subscribers.entries()) {
      await subscriber.has(2);
      assert.deepEqual(subscriber.pids, [pid, pid]);
    }
    agent.kill();
    const again = await harness.agent('a', agent.recorder);
    await until('it is told', () => again.interests.length > 0);
    assert.deepEqual(told(again), { generations: 1, whole: 1 });
    again.recorder.record('process.exec', 2);
    again.publish();
    await subscribers[2]!.has(3);
  } finally {
    await harness.destroy();
  }
});
