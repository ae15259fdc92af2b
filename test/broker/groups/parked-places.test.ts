/** Which places of a group are written down when, whatever is committed at the same time. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkGroupState, type GroupRecord } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import { ParkedPlaces } from '../../../src/broker/groups/places/parked-places.js';
import type { PlaceContext } from '../../../src/broker/groups/places/slice-place.js';
import { SliceLease } from '../../../src/broker/groups/slice-lease.js';
import { CoveredPositions } from '../../../src/broker/log/covered-positions.js';
import { BackplaneError } from '../../../src/errors.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeNote, encodeCursor } from '../../../src/wire/cursor.js';
import { ORIGIN } from '../../../src/wire/position.js';
import { openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const predicate = compilePredicate({ topics: ['process'], filter: 'true', includeSelf: false, fields: [] });
const SLICE = 3;
const FADING = Array.from({ length: 8 }, () => 100);

const cursorAt = (offset: number, clusterId = '0123456789abcdef') => {
  const places = FADING.map(() => ({ offset }));
  return encodeCursor({ clusterId, predicateId: predicate.cursorId, places, nodes: [] })!;
};

async function opened(name: string, parkedBytesMax?: number) {
  const dir = scratchDirectory(name);
  const check = { check: checkGroupState };
  const groups = openState(dir, { name: 'groups', ...check });
  const parked = openState(dir, { name: 'parked', ...check });
  const store = new GroupStore(groups, parked, parkedBytesMax);
  const logs = await openLogs(join(dir, 'log'));
  const context = { store: logs, registry: { all: () => [] } } as unknown as PlaceContext;
  const slice = (slice: number) => ({ slice, predicate, matches: () => true });
  const places = () => new ParkedPlaces({ name: 'g', store, context, slice, isOthers: () => false });
  const record: GroupRecord = {
    ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
    ...{ createdMs: 1, sinceNs: 0n, interestMs: 1, cursorsMs: 1, aloneSinceMs: 1 },
    slices: FADING.map(() => ({ epoch: 1, cursor: '', committedMs: 0 })),
  };
  await store.create(record);
  const commit = (cursor: string) =>
    store.update('g', (before) => ({
      ...before,
      slices: before.slices.map((each, at) => (at === SLICE ? { ...each, cursor } : each)),
    }));
  return { store, groups, parked, places, commit, logs };
}

/** A lease whose member was given cursors at these offsets; the node stands where they do. */
function given(...offsets: readonly number[]) {
  const lease = new SliceLease(SLICE, 1, '', 1_000, 8);
  let at = 0;
  lease.follow(() => [{ node: 'a', standing: 'late', position: { ...ORIGIN, timeNs: BigInt(at) } }]);
  return offsets.map((offset) => {
    at = offset;
    const committed = lease.read('cursor', lease.give(cursorAt(offset), 0));
    return { lease, field: 'cursor', committed };
  });
}

const timeOf = (nodes: string | undefined) => {
  return nodes === undefined ? undefined : decodeNote(Buffer.from(nodes, 'base64')).nodes[0]?.position?.timeNs;
};

test('a place that the log may forget is written down before it is committed, so that the log need not wait for it', async () => {
  const { places: make, commit, logs } = await opened('parked-ahead');
  const places = make();
  await places.park(FADING);
  const [early, later, near] = given(40, 50, 200);
  for (const one of [early!, later!]) {
    const over = await places.ahead([one]);
    assert.equal(timeOf(places.of(SLICE, one.committed.cursor)), BigInt(one === early ? 40 : 50));
    await commit(one.committed.cursor);
    over();
    assert.equal(places.isOpenBefore(SLICE, 100), false, 'the log may forget it');
  }
  const over = await places.ahead([near!]);
  assert.equal(places.of(SLICE, near!.committed.cursor), undefined, 'the log keeps it for long enough');
  await commit(near!.committed.cursor);
  over();
  assert.equal(places.isOpenBefore(SLICE, 100), false);
  assert.equal(places.isOpenBefore(SLICE, 300), true);
  await logs.close();
});

test('of commits that are under way all places are there, and that of the last one that was written', async () => {
  const { places: make, commit, logs } = await opened('parked-beside');
  const places = make();
  await places.park(FADING);
  const [first, second, third, fourth] = given(10, 20, 30, 40);
  (await places.ahead([first!]))();
  await commit(first!.committed.cursor);
  const two = places.ahead([second!]);
  const three = places.ahead([third!]);
  const overs = await Promise.all([two, three]);
  const of = (one: typeof first) => timeOf(places.of(SLICE, one!.committed.cursor));
  assert.deepEqual([of(first), of(second), of(third)], [10n, 20n, 30n]);
  // Neither was committed: the broker begins anew with what is.
  for (const over of overs) over();
  const after = make();
  await after.park(FADING);
  assert.equal(timeOf(after.of(SLICE, first!.committed.cursor)), 10n);
  assert.equal(after.isOpenBefore(SLICE, 100), false);
  await after.ahead([fourth!]);
  assert.deepEqual([of(first), of(second), of(fourth)], [10n, undefined, 40n]);
  await logs.close();
});

test('where all groups together have no room for a place, commits go on without it', async () => {
  const { store, parked, places: make, commit, logs } = await opened('parked-full', 20_000);
  const nodes = 'A'.repeat(8_000);
  const park = (slice: number, length: number) =>
    store.park('g', new Map([[slice, () => [{ cursor: 'c', nodes: nodes.slice(0, length) }]]]));
  await Promise.all([park(0, 8_000), park(1, 8_000), park(2, 8_000)]);
  assert.deepEqual(
    parked.entries('').map(({ key }) => key),
    ['parked.g.0', 'parked.g.1'],
  );
  await park(2, 3_900);
  const places = make();
  await places.park(FADING);
  const [first, second] = given(10, 20);
  const of = (one: typeof first) => timeOf(places.of(SLICE, one!.committed.cursor));
  (await places.ahead([first!]))();
  await commit(first!.committed.cursor);
  assert.equal(of(first), undefined);
  await park(0, 100);
  (await places.ahead([second!]))();
  await commit(second!.committed.cursor);
  assert.equal(of(second), 20n);
  await store.unpark('g');
  await park(1, 8_000);
  await park(2, 8_000);
  assert.equal(parked.entries('').length, 2);
  await logs.close();
});

test('a place that could not be read is written down when it can, and one that the log never had is left alone', async () => {
  const { places: make, commit, logs } = await opened('parked-unread');
  const log = logs.partition(SLICE);
  let answer: () => CoveredPositions = () => {
    throw new BackplaneError('unavailable', 'nobody leads the partition');
  };
  log.coveredBefore = async () => answer();
  const places = make();
  const [first, never] = [cursorAt(10, logs.identity), cursorAt(20, logs.identity)];
  await commit(first);
  await assert.rejects(places.park('all'), /nobody leads/, 'who drops the interest for it must know');
  assert.equal(places.isOpenBefore(SLICE, 100), false, 'the log does not wait for it');
  answer = () => new CoveredPositions();
  await places.park(FADING);
  assert.notEqual(places.of(SLICE, first), undefined);
  answer = () => {
    throw new BackplaneError('cursor_invalid', 'there is no such offset');
  };
  await commit(never);
  let asked = 0;
  log.coveredBefore = async () => {
    asked++;
    return answer();
  };
  for (let times = 0; times < 2; times++) await places.park(FADING);
  assert.deepEqual([places.of(SLICE, never), asked], [undefined, 1]);
  await logs.close();
});

test('places that an earlier version wrote beside the groups are read, and forgotten with the group', async () => {
  const { store, groups, places: make, commit, logs } = await opened('parked-before');
  const cursor = cursorAt(10);
  await groups.put(`parked.g.${SLICE}`, { cursor, nodes: 'eA' });
  await commit(cursor);
  assert.equal(make().of(SLICE, cursor), 'eA');
  await store.unpark('g');
  assert.equal(make().of(SLICE, cursor), undefined);
  await logs.close();
});
