/** Commits of one group that are written together: each is durable, or refused, by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { Group } from '../../../src/broker/groups/group.js';
import { GroupLag } from '../../../src/broker/groups/group-lag.js';
import { checkGroupState, type GroupRecord } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import type { MemberStream } from '../../../src/broker/groups/member-stream.js';
import type { SliceLease } from '../../../src/broker/groups/slice-lease.js';
import { encodeCursor } from '../../../src/wire/cursor.js';
import { openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

const RECORD: GroupRecord = {
  name: 'g',
  owner: 'local',
  topics: ['process'],
  filter: 'true',
  includeSelf: false,
  fields: [],
  globs: [],
  createdMs: 1,
  sinceNs: 0n,
  interestMs: 600_000,
  cursorsMs: 600_000,
  aloneSinceMs: 1,
  slices: Array.from({ length: 8 }, () => ({ epoch: 1, cursor: '', committedMs: 0 })),
};

const cursor = (sinceNs: bigint) =>
  encodeCursor({ clusterId: '0123456789abcdef', predicateId: 1n, sinceNs, places: [], nodes: [] })!;

test('a commit that is acknowledged is written, also where a later one with it is fenced', async () => {
  const state = openState(scratchDirectory('commits'), { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state);
  await store.create(RECORD);
  const leases = new Map<number, SliceLease>();
  const group = new Group('g', 8, {
    store,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    lag: new GroupLag(8, 0n, () => true),
    deliver: (_stream, lease) => leases.set(lease.slice, lease),
    onAttended: () => undefined,
    logger: pino({ level: 'silent' }),
  });
  const stream = { isOver: false, stop: () => undefined, tell: () => undefined } as unknown as MemberStream;
  group.join({ name: 'g', member: 'm', slices: 8, whatItHas: true }, stream);
  await until('all slices', () => leases.size === 8);
  const [one, two] = [leases.get(1)!, leases.get(2)!];
  const [early, late, other] = [one.give(cursor(1n), 0), one.give(cursor(2n), 0), two.give(cursor(1n), 0)];
  const moved = store.update('g', (before) => ({
    ...before,
    slices: before.slices.map((each, slice) => (slice === 2 ? { ...each, epoch: each.epoch + 1 } : each)),
  }));
  const fenced = group.commit([
    { slice: 1, epoch: one.epoch, cursor: late },
    { slice: 2, epoch: two.epoch, cursor: other },
  ]);
  const alone = group.commit([{ slice: 1, epoch: one.epoch, cursor: early }]);
  await assert.rejects(fenced, /slice 2 is no longer/);
  await Promise.all([moved, alone]);
  assert.equal(store.get('g')!.slices[1]!.cursor, cursor(1n));
  group.close();
});
