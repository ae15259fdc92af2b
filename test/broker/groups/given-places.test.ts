/** Where nodes stand with each cursor that is not committed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GivenPlaces } from '../../../src/broker/groups/places/given-places.js';
import { GROUP_GIVEN_PLACES_MAX } from '../../../src/limits.js';
import type { CursorNode } from '../../../src/wire/cursor.js';
import { ORIGIN } from '../../../src/wire/position.js';
import { runs } from '../../harness/runs.js';

const place = (node: number, at: number): CursorNode => {
  return { node: `n${node}`, standing: 'late', position: { ...ORIGIN, timeNs: BigInt(at) } };
};
const byNode = (places: readonly CursorNode[] = []) => {
  return Object.fromEntries(places.map(({ node, position }) => [node, Number(position?.timeNs)]));
};

test('a cursor with events has exactly its place, one of silence that or an earlier one without events between', () => {
  const give = fc.record({ nodes: fc.uniqueArray(fc.nat(3), { maxLength: 3 }), isOpen: fc.boolean() });
  const action = fc.oneof({ weight: 4, arbitrary: give }, fc.record({ commit: fc.nat(20) }));
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const places = new GivenPlaces(8);
      const states: { state: Record<string, number>; events: number }[] = [];
      let state: Record<string, number> = {};
      let [events, committed] = [0, -1];
      for (const each of actions) {
        if ('commit' in each) {
          committed = Math.max(committed, Math.min(each.commit, states.length - 1));
          if (committed >= 0) places.committed(committed);
        } else {
          const ordinal = states.length;
          const moved = each.nodes.map((node) => place(node, ordinal + 1));
          places.given(ordinal, moved, each.isOpen);
          state = { ...state, ...byNode(moved) };
          if (each.isOpen) events++;
          states.push({ state, events });
        }
        for (const [ordinal, own] of states.entries()) {
          if (ordinal < committed) continue;
          const told = byNode(places.at(ordinal));
          const found = states.findLastIndex((one, at) => {
            return at <= ordinal && JSON.stringify(sorted(one.state)) === JSON.stringify(sorted(told));
          });
          assert.ok(found >= 0, `ordinal ${ordinal}: ${JSON.stringify(told)}`);
          assert.equal(states[found]!.events, own.events, 'no events lie between');
        }
      }
    }),
    { numRuns: runs(100) },
  );
});

const sorted = (state: Record<string, number>) => Object.entries(state).sort();

test('of more cursors than it remembers a place is never told too late, and that of the last one stays exact', () => {
  const places = new GivenPlaces(8);
  assert.equal(places.at(1), undefined, 'nothing was given');
  places.given(1, undefined, true);
  assert.equal(places.at(1), undefined, 'a replay needs none');
  const last = 3 * GROUP_GIVEN_PLACES_MAX;
  for (let ordinal = 2; ordinal <= last; ordinal++) places.given(ordinal, [place(0, ordinal)], true);
  for (const ordinal of [2, 3, 777, last - 1]) {
    const { n0 = 0 } = byNode(places.at(ordinal));
    assert.ok(n0 > 0 && n0 <= ordinal, `${n0} <= ${ordinal}`);
  }
  assert.deepEqual(byNode(places.at(last)), { n0: last });
  places.committed(last);
  assert.deepEqual(byNode(places.at(last)), { n0: last });
});

test('cursors with documents alone, which move no node, are not remembered, however many are not committed', () => {
  const places = new GivenPlaces(8);
  places.given(1, [place(0, 1)], true);
  places.given(2, [place(0, 2)], true);
  for (let ordinal = 3; ordinal < 50_000; ordinal++) places.given(ordinal, [], true);
  places.given(50_000, [place(0, 50_000)], true);
  assert.equal(places.size, 2);
  assert.deepEqual([byNode(places.at(49_999)), byNode(places.at(50_000))], [{ n0: 2 }, { n0: 50_000 }]);
});
