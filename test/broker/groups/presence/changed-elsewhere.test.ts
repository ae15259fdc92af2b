/** What one broker does with changes that others made of a group, in whatever order it reads them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { StateValue } from '../../../../src/broker/cluster/shared-state.js';
import { Group } from '../../../../src/broker/groups/group.js';
import { checkGroupState, type GroupRecord, groupValue } from '../../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../../src/broker/groups/group-store.js';
import type { MemberStream } from '../../../../src/broker/groups/member-stream.js';
import { offsetOf } from '../../../../src/broker/groups/places/slice-place.js';
import { SharedPresence } from '../../../../src/broker/groups/presence/shared-presence.js';
import { GROUP_EPOCH_MAX, GROUP_MEMBERS_MAX, STATE_ENTRY_BYTES_MAX } from '../../../../src/limits.js';
import { SharedStream, StreamView } from '../../../harness/groups/shared-stream.js';
import { until } from '../../../harness/until.js';

const SLICES = 8;
/** Later than any clock's. */
const EPOCH = 2 ** 40;
const RECORD: GroupRecord = {
  ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: 1 },
  slices: Array.from({ length: SLICES }, () => ({ epoch: EPOCH, cursor: '', committedMs: 0 })),
};
const KEY = 'group.g';
const MEMBERS = 'members.a.g';
type Had = { readonly slice: number; readonly epoch: number }[];

/** The broker `a`, which reads all of two streams unless a test keeps it from it. */
function oneBroker(slices = RECORD.slices) {
  const streams = [new SharedStream(), new SharedStream()] as const;
  streams[0].append(KEY, groupValue({ ...RECORD, slices }) as StateValue);
  const kept = new StreamView(streams[0]);
  const shared = new StreamView(streams[1]);
  const store = new GroupStore(kept, kept);
  kept.read(1);
  const alive = (broker: string) => broker === 'a';
  const leases = { holds: true, alive, isForgotten: () => true, listen: () => () => undefined };
  const failures: string[] = [];
  const onFailure = (cause: unknown) => failures.push(String(cause));
  const presence = new SharedPresence({ state: shared, leases, broker: 'a', relay: undefined, onFailure });
  const group = new Group('g', SLICES, {
    ...{ store, presence, times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 1 } },
    parkAhead: async () => () => undefined,
    deliver: () => undefined,
    onAttended: () => undefined,
    logger: pino({ level: 'silent' }),
  });
  store.watch((_name, record) => record && group.changed(record));
  presence.listen(() => group.othersChanged());
  const readAll = () => {
    kept.read(Number.POSITIVE_INFINITY);
    shared.read(Number.POSITIVE_INFINITY);
  };
  const stopped: number[] = [];
  const join = (had: Had = [], client = '') => {
    const stream = {
      ...{ isOver: false, stop: (slice: number) => stopped.push(slice), tell: () => undefined, fail: () => undefined },
      ...{ asked: { client }, caller: { peer: '', identity: { name: '' } } },
    };
    return group.join({ name: 'g', member: '', slices: 0, had, whatItHas: true }, stream as unknown as MemberStream);
  };
  const has = (count: number) =>
    until(`${count} slices`, () => {
      readAll();
      return group.slots.held.length === count;
    });
  const record = () => store.get('g')!;
  return { streams, kept, shared, group, join, has, readAll, record, stopped, failures };
}

test('epochs that a member makes up do not use up those of its group', async () => {
  const { group, join, has, record } = oneBroker();
  join([
    { slice: 0, epoch: GROUP_EPOCH_MAX },
    { slice: 1, epoch: EPOCH + 500_000 },
  ]);
  await has(SLICES);
  assert.deepEqual(
    record()
      .slices.slice(0, 3)
      .map(({ epoch }) => epoch),
    [EPOCH + 1, EPOCH + 500_001, EPOCH + 1],
  );
  group.close();
});

test('nobody goes on in an epoch that a state went back to, and the next ones are later than those that it lost', async () => {
  const holder = { broker: 'b', member: 'm' };
  const before = RECORD.slices.map((each) => ({ ...each, holder }));
  // No member is here: what this broker knows counts all the same.
  const { streams, group, readAll, record } = oneBroker(before);
  const write = (slices: GroupRecord['slices']) => {
    streams[0].append(KEY, JSON.parse(JSON.stringify(groupValue({ ...record(), slices }))));
    readAll();
  };
  write(before.map((each, slice) => (slice < 2 ? { ...each, epoch: EPOCH + 5 } : each)));
  write(before);
  await until('later epochs', () => {
    readAll();
    return record().slices[0]!.epoch !== EPOCH;
  });
  const { slices } = record();
  assert.deepEqual(
    slices.slice(0, 3).map(({ epoch, holder: by }) => [epoch - EPOCH, by]),
    [
      [6, undefined],
      [6, undefined],
      [0, holder],
    ],
  );
  group.close();
});

test('where nobody knows of the epochs that a power cut took, the next are later all the same', async () => {
  const { group, join, has, kept } = oneBroker(RECORD.slices.map((each) => ({ ...each, epoch: 7 })));
  const seconds = Math.floor(kept.timeMs() / 1000);
  join();
  await has(SLICES);
  assert.ok(group.slots.held.every(({ lease }) => lease.epoch > seconds));
  group.close();
});

test('a commit goes to the broker that gave the slice, whether or not its members were read, and later epochs are not fenced', () => {
  const holder = { broker: 'b', member: 'm' };
  const holders = [holder, holder, undefined, { broker: 'a', member: 'n' }, { broker: 'c', member: 'o' }];
  const { group } = oneBroker(
    RECORD.slices.map((each, at) => (holders[at] ? { ...each, epoch: 7, holder: holders[at] } : each)),
  );
  const commit = (slice: number, epoch: number) => ({ slice, epoch, cursor: 'c' });
  assert.deepEqual(group.others, [], 'nothing was read of its members');
  assert.equal(group.brokerOf([commit(0, 7), commit(1, 7)]), 'b');
  assert.equal(group.brokerOf([commit(0, 7), commit(2, 1)]), 'b', 'it says which of them is over');
  assert.equal(group.brokerOf([commit(0, 7), commit(3, 7)]), undefined);
  assert.equal(group.brokerOf([commit(0, 7), commit(4, 7)]), undefined);
  assert.equal(group.brokerOf([commit(0, 6)]), undefined);
  assert.deepEqual(
    [6, 7, 8].map((epoch) => group.isAhead([commit(0, epoch)])),
    [false, false, true],
  );
  assert.equal(group.isAhead([commit(SLICES, 9)]), false, 'there is no such slice');
  group.close();
});

test('nothing more is given of slices that another broker took while the group is being changed', async () => {
  const { streams, group, join, has, readAll, record, stopped } = oneBroker();
  join();
  await has(SLICES);
  group.pause();
  const slices = record().slices.map((each) => ({ ...each, epoch: each.epoch + 1, holder: undefined }));
  streams[0].append(KEY, JSON.parse(JSON.stringify(groupValue({ ...record(), slices }))));
  readAll();
  assert.deepEqual(
    stopped,
    Array.from({ length: SLICES }, (_, slice) => slice),
  );
  group.resume();
  await until('they are given anew', () => {
    readAll();
    return (
      group.slots.held.every(({ lease }) => lease.epoch === slices[0]!.epoch + 1) && group.slots.held.length === SLICES
    );
  });
  group.close();
});

test('a broker says again what a stream lost of its members, or kept of those that left', async () => {
  const { streams, group, join, has, readAll, shared } = oneBroker();
  const member = join();
  await has(SLICES);
  const earlier = structuredClone(shared.get(MEMBERS)!.value);
  const another = join();
  const ids = () => {
    readAll();
    return ((shared.get(MEMBERS)?.value.members ?? []) as { id: string }[]).map(({ id }) => id);
  };
  await until('both', () => ids().length === 2);
  streams[1].append(MEMBERS, earlier);
  await until('both again', () => ids().length === 2);
  streams[1].append(MEMBERS, undefined);
  await until('both once more', () => ids().length === 2);
  for (const each of [member, another]) group.leave(each, each.stream!, false);
  await until('none', () => ids().length === 0);
  streams[1].append(MEMBERS, earlier);
  await until('none again', () => {
    readAll();
    return streams[1].changes.at(-1)!.value === undefined;
  });
  const { length } = streams[1].changes;
  for (let at = 0; at < 5; at++) {
    readAll();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(streams[1].changes.length, length, 'it says nothing twice');
  group.close();
});

test('what a broker says of as many members as a group may have fits one entry', async () => {
  const holders = Array.from({ length: SLICES }, (_, at) => ({
    broker: `b${at}`.padEnd(12, '0'),
    member: 'm'.repeat(64),
  }));
  const { group, join, readAll, shared, failures } = oneBroker(
    RECORD.slices.map((each, at) => ({ ...each, epoch: 7, holder: holders[at]! })),
  );
  const had = RECORD.slices.map((_, slice) => ({ slice, epoch: 7 }));
  group.pause();
  const members = Array.from({ length: GROUP_MEMBERS_MAX }, () => join(had, '\u0001'.repeat(400)));
  group.resume();
  await until('they are told', () => {
    readAll();
    return ((shared.get(MEMBERS)?.value.members ?? []) as unknown[]).length === members.length;
  });
  const bytes = Buffer.byteLength(JSON.stringify(shared.get(MEMBERS)!.value));
  assert.ok(bytes <= STATE_ENTRY_BYTES_MAX, `${bytes} bytes`);
  assert.deepEqual(failures, []);
  group.close();
});

test('what no broker writes is passed over: a record of another name, epochs that nothing can follow, an odd cursor', () => {
  const of = (changes: Partial<GroupRecord>) => groupValue({ ...RECORD, ...changes });
  checkGroupState(KEY, of({}));
  assert.throws(() => checkGroupState(KEY, of({ name: 'h' })), /is of the group h/);
  const slices = RECORD.slices.map((each) => ({ ...each, epoch: Number.MAX_SAFE_INTEGER }));
  assert.throws(() => checkGroupState(KEY, of({ slices })), /epoch/);
  // A newer broker may write it, and the group goes on at that one.
  assert.equal(offsetOf('not a cursor', 0), undefined);
});
