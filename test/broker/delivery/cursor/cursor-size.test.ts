/** The sizes of a cursor's parts tell whether it fits: they may doubt it without need, but never promise it wrongly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CursorSize } from '../../../../src/broker/delivery/cursor/cursor-size.js';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import { CURSOR_NODES_MAX, NAME_BYTES_MAX, OWED_RANGES_MAX, PARTITIONS } from '../../../../src/limits.js';
import { type CursorState, encodeCursor } from '../../../../src/wire/cursor.js';
import type { Position } from '../../../../src/wire/position.js';

const position: fc.Arbitrary<Position> = fc.record({
  epoch: fc.maxSafeNat(),
  timeNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  lane: fc.nat(0xffff),
  tie: fc.nat(0xffff_ffff),
});
const topic = fc.constantFrom('process', 'network', 'file', 'host');

/** A view after some changes, of each kind that a cursor tells. */
const view = fc
  .record({
    nameLength: fc.integer({ min: 1, max: NAME_BYTES_MAX }),
    late: fc.boolean(),
    reached: fc.option(position),
    floors: fc.array(fc.tuple(topic, position), { maxLength: 4 }),
    owed: fc.array(fc.tuple(topic, fc.maxSafeNat(), fc.option(position)), { maxLength: OWED_RANGES_MAX }),
    after: fc.option(position),
  })
  .map(({ nameLength, late, reached, floors, owed, after }) => {
    const made = new NodeView('n'.repeat(nameLength));
    if (late) made.wentLate();
    if (after) made.afterKey = { wallNs: after.timeNs, node: 'm'.repeat(nameLength), position: after };
    if (reached) made.reached(reached);
    for (const [name, floor] of floors) made.reachedOf(name, floor);
    for (const [name, offsetFrom, refilled] of owed) {
      made.owe(name, { offsetFrom, after: refilled ?? undefined, skipped: refilled === null, counted: true });
    }
    return made;
  });

/** The rest of a cursor that has a place in a replay, or places in the log. */
const rest: fc.Arbitrary<Omit<CursorState, 'nodes'>> = fc
  .record({ replayed: fc.boolean(), at: position, offset: fc.maxSafeNat(), short: fc.boolean(), selectors: fc.nat(64) })
  .map(({ replayed, at, offset, short, selectors }) => ({
    clusterId: '0123456789abcdef',
    predicateId: at.timeNs,
    selectors:
      selectors === 0
        ? undefined
        : {
            topics: ['process', 'network', 'security'],
            each: Array.from({ length: selectors }, () => ({ key: at.timeNs, predicateId: at.timeNs })),
          },
    sinceNs: short ? undefined : at.timeNs,
    history: replayed ? { wallNs: at.timeNs, node: 'n'.repeat(short ? 1 : NAME_BYTES_MAX), position: at } : undefined,
    places: replayed ? [] : Array.from({ length: PARTITIONS }, () => ({ offset, mark: at.tie, index: at.lane })),
    note: short ? undefined : { partition: PARTITIONS - 1, offset, id: at.tie },
  }));

const cursorOf = (state: Omit<CursorState, 'nodes'>, views: readonly NodeView[]) =>
  encodeCursor({ ...state, nodes: views.map((each) => each.toCursor()) });

test('a cursor of which the sizes say that it fits is given', () => {
  const views = fc.array(view, { minLength: 1, maxLength: CURSOR_NODES_MAX });
  fc.assert(
    fc.property(views, rest, (some, state) => {
      if (new CursorSize(state).surelyFits(some)) assert.notEqual(cursorOf(state, some), undefined);
    }),
    { numRuns: 500 },
  );
});

test('a changed view is measured again', () => {
  const size = new CursorSize({});
  const owing = new NodeView('a');
  assert.equal(size.surelyFits([owing]), true);
  for (let at = 0; at < OWED_RANGES_MAX * 20; at++) {
    owing.owe(`topic-${at % 20}`, { offsetFrom: 2 ** 40 + at, offsetTo: 2 ** 41, skipped: true, counted: true });
  }
  size.changed(owing);
  assert.equal(size.surelyFits([owing]), false);
});

test('of usual nodes, as many as a cursor may name fit without a doubt', () => {
  const views = Array.from({ length: CURSOR_NODES_MAX }, (_, at) => {
    const usual = new NodeView(`ip-10-0-${at}-17.eu-central-1.compute.internal`);
    usual.reached({ epoch: 1_800_000_000, timeNs: 10n ** 18n, lane: 63, tie: 70_000 });
    return usual;
  });
  assert.equal(new CursorSize({}).surelyFits(views), true);
});

test('where a log went back, nothing is owed by what its lost frames said', () => {
  const owing = new NodeView('n');
  const common = { skipped: false, counted: true };
  owing.owe('process', { ...common, offsetFrom: 1, offsetTo: 5 });
  owing.owe('process', { ...common, offsetFrom: 5, offsetTo: 20 });
  owing.owe('process', { ...common, offsetFrom: 20 });
  owing.owe('file', { ...common, offsetFrom: 3, offsetTo: 10 });
  owing.owe('host', { ...common, offsetFrom: 11 });
  assert.deepEqual(owing.giveUpOwed(10), ['process', 'host']);
  const left = [...owing.owed].map(([name, ranges]) => [name, ...ranges.map((one) => [one.offsetFrom, one.offsetTo])]);
  assert.deepEqual(left, [
    ['process', [1, 5], [5, 10]],
    ['file', [3, 10]],
  ]);
  assert.deepEqual(owing.giveUpOwed(10), []);
});
