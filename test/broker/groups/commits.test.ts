/** What is asked of groups at the same time: commits that are written together, groups that are made together. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import type { Sink } from '../../../src/broker/delivery/outlet.js';
import type { DeliveryContext } from '../../../src/broker/delivery/planned-subscription.js';
import type { Subscriptions } from '../../../src/broker/delivery/subscriptions.js';
import { Group } from '../../../src/broker/groups/group.js';
import { checkGroupState, type GroupRecord, predicateOf } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import { Groups } from '../../../src/broker/groups/groups.js';
import { GroupLag } from '../../../src/broker/groups/lag/group-lag.js';
import type { MemberStream } from '../../../src/broker/groups/member-stream.js';
import { ALONE, type RemoteMember } from '../../../src/broker/groups/presence/group-presence.js';
import { sliceOf } from '../../../src/broker/groups/slice.js';
import type { SliceLease } from '../../../src/broker/groups/slice-lease.js';
import { DOCUMENT_BOUNDS } from '../../../src/broker/log/documents/document-logs.js';
import { openEmbeddedDocuments } from '../../../src/broker/log/documents/embedded-document-logs.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import { GROUPS_MAX } from '../../../src/limits.js';
import { wallNowNs } from '../../../src/nanoseconds.js';
import { checkSubscription } from '../../../src/subscriptions/request/subscription-request.js';
import { encodeCursor } from '../../../src/wire/cursor.js';
import { ORIGIN } from '../../../src/wire/position.js';
import { batchOf } from '../../harness/broker/documents.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { frameOver } from '../../harness/frames.js';
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

const STREAM = { isOver: false, stop: () => undefined, tell: () => undefined, asked: {}, caller: { identity: {} } };
const PARTS = {
  presence: ALONE,
  times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
  parkAhead: async () => () => undefined,
  onAttended: () => undefined,
  logger: pino({ level: 'silent' }),
};

const cursor = (sinceNs: bigint) =>
  encodeCursor({ clusterId: '0123456789abcdef', predicateId: 1n, sinceNs, places: [], nodes: [] })!;

test('a commit that is acknowledged is written, also where a later one with it is fenced', async () => {
  const state = openState(scratchDirectory('commits'), { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state, state);
  await store.create(RECORD);
  const leases = new Map<number, SliceLease>();
  const group = new Group('g', 8, {
    store,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    presence: ALONE,
    parkAhead: async () => () => undefined,
    deliver: (_stream, lease) => leases.set(lease.slice, lease),
    onAttended: () => undefined,
    logger: pino({ level: 'silent' }),
  });
  const stream = {
    isOver: false,
    stop: () => undefined,
    tell: () => undefined,
    asked: {},
    caller: { identity: {} },
  } as unknown as MemberStream;
  group.join({ name: 'g', member: 'm', slices: 8, had: [], whatItHas: true }, stream);
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
  // Of two that are written together the later one counts, and none goes back: also where nobody heard of it.
  await Promise.all([late, early].map((each) => group.commit([{ slice: 1, epoch: one.epoch, cursor: each }])));
  assert.equal(store.get('g')!.slices[1]!.cursor, cursor(2n));
  const unheard = one.give(cursor(4n), 0);
  const between = one.give(cursor(3n), 0);
  await store.update('g', (before) => ({
    ...before,
    slices: before.slices.map((each, slice) =>
      slice === 1 ? { ...each, cursor: cursor(4n), ordinal: one.read('cursor', between).ordinal } : each,
    ),
  }));
  await group.commit([{ slice: 1, epoch: one.epoch, cursor: unheard }]);
  assert.equal(store.get('g')!.slices[1]!.cursor, cursor(4n));
  group.close();
});

test('a commit whose place is written down for long does not go behind a later one, also when the slice is given up', async () => {
  const state = openState(scratchDirectory('commits-released'), { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state, state);
  await store.create(RECORD);
  const leases: SliceLease[] = [];
  let others: RemoteMember[] = [];
  let parked = () => {};
  const parking = new Promise<void>((resolve) => {
    parked = resolve;
  });
  const group = new Group('g', 8, {
    ...{ ...PARTS, store, presence: { ...ALONE, broker: 'a', others: () => others } },
    parkAhead: async ([fresh]) => {
      if (fresh?.committed.cursor === cursor(10n)) await parking;
      return () => undefined;
    },
    deliver: (_stream, lease) => leases.push(lease),
  });
  group.join({ name: 'g', member: '', slices: 8, had: [], whatItHas: true }, { ...STREAM } as unknown as MemberStream);
  await until('all slices', () => leases.length === 8);
  const given = (at: bigint) => leases.map((each) => ({ ...each, cursor: each.give(cursor(at), 0) }));
  const [early, late] = [given(10n), given(20n)];
  const slow = group.commit(early);
  await group.commit(late);
  const facts = { id: 'x', named: false, order: 1, away: false, slow: false, joinedMs: 1 };
  others = [{ ...facts, broker: 'b', client: '', peer: '', identity: '', replaces: [] }];
  group.othersChanged();
  const free = () => store.get('g')!.slices.filter(({ holder }) => holder === undefined);
  await until('the share of the other member is free', () => free().length === 4);
  parked();
  await slow;
  assert.deepEqual(
    store.get('g')!.slices.map((each) => each.cursor),
    leases.map(() => cursor(20n)),
  );
  group.close();
});

test('of what the log had already only what is not committed counts, and its age', () => {
  const lag = new GroupLag(8, { id: 1n, documents: undefined }, (node) => node !== 'other');
  const at = (offset: number, node: string) => {
    const from = { ...ORIGIN, timeNs: BigInt(offset) };
    const frame = frameOver(
      from,
      { ...from, timeNs: from.timeNs + 1n },
      {
        ...{ topic: 'process', count: 3, matches: [{ predicateId: 1n, all: true, indices: [] }] },
      },
    );
    return { kind: 'frame', offset, node, frame, bytes: 10, appendedMs: offset } as const;
  };
  const slice = sliceOf('a', 8);
  const froms = Array.from({ length: 8 }, (_, index) => (index === slice ? 5 : Number.POSITIVE_INFINITY));
  for (const offset of [3, 4, 5, 6]) lag.frame('before', at(offset, 'a'), froms);
  lag.frame('before', at(7, 'other'), froms);
  assert.deepEqual([lag.events, lag.sinceMs, lag.of(slice).events], [6, 5, 6]);
  lag.committed(slice, 6);
  assert.deepEqual([lag.events, lag.of(slice).sinceMs, lag.unattendedBytes], [3, 6, 0]);
});

test('slices are given when every reason not to is gone', async () => {
  const state = openState(scratchDirectory('pauses'), { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state, state);
  await store.create(RECORD);
  let given = 0;
  const group = new Group('g', 8, {
    store,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    presence: ALONE,
    parkAhead: async () => () => undefined,
    deliver: () => given++,
    onAttended: () => undefined,
    logger: pino({ level: 'silent' }),
  });
  group.pause();
  group.pause();
  const stream = {
    isOver: false,
    stop: () => undefined,
    tell: () => undefined,
    asked: {},
    caller: { identity: {} },
  } as unknown as MemberStream;
  group.join({ name: 'g', member: 'm', slices: 8, had: [], whatItHas: true }, stream);
  group.resume();
  await store.update('g', (record) => record);
  assert.equal(given, 0);
  group.resume();
  await until('all slices', () => given === 8);
  group.close();
});

test('epochs do not fall when the state lost some, nor below what a member had', async () => {
  const state = openState(scratchDirectory('epochs'), { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state, state);
  // Later than any clock's.
  const epoch = 2 ** 40;
  const before = { ...RECORD, slices: RECORD.slices.map((each) => ({ ...each, epoch })) };
  await store.create(before);
  const leases: SliceLease[] = [];
  const stream = () => ({ ...STREAM }) as unknown as MemberStream;
  const group = new Group('g', 8, { ...PARTS, store, deliver: (_stream, lease) => leases.push(lease) });
  store.watch((_name, record) => record && group.changed(record));
  const had = [{ slice: 2, epoch: epoch + 50 }];
  const first = stream();
  const member = group.join({ name: 'g', member: '', slices: 8, had, whatItHas: true }, first);
  await until('all slices', () => leases.length === 8);
  const given = () => leases.map((lease) => lease.epoch - epoch).sort((a, b) => a - b);
  assert.deepEqual(given(), [1, 1, 1, 1, 1, 1, 1, 51]);
  const told = leases.splice(0).find(({ slice }) => slice === 2)!;
  const cursorGiven = told.give(cursor(1n), 0);
  // As a power cut may leave it.
  await store.update('g', () => before);
  await until('all slices anew', () => leases.length === 8);
  assert.deepEqual(given(), [2, 2, 2, 2, 2, 2, 2, 52]);
  await assert.rejects(group.commit([{ slice: 2, epoch: epoch + 51, cursor: cursorGiven }]), /no longer this member's/);
  group.leave(member, first, false);
  group.close();
});

test('two that make a group at once do not pass the bound on groups', async () => {
  const dir = scratchDirectory('groups-max');
  const state = openState(dir, { name: 'groups', check: checkGroupState });
  const store = new GroupStore(state, state);
  const names = Array.from({ length: GROUPS_MAX - 1 }, (_, at) => `g${at}`);
  await Promise.all(names.map((name) => store.create({ ...RECORD, name })));
  const put = state.put.bind(state);
  state.put = async (...change) => {
    await turn();
    return put(...change);
  };
  const logs = await openLogs(join(dir, 'log'));
  const book = newBook();
  const registry = new NodeRegistry(book, logs, openState(dir), assert.fail);
  const groups = new Groups({
    ...{
      store,
      presence: ALONE,
      access: { group: () => undefined, mayHaveGroup: () => true },
      logger: pino({ level: 'silent' }),
    },
    context: { store: logs, registry, book, documents: { all: () => [] } } as unknown as DeliveryContext,
    subscriptions: {} as Subscriptions,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    retention: { interestMs: 600_000, cursorsMs: 600_000 },
  });
  // Nobody gets further than to be let in.
  const reading = { begins: () => Promise.reject(new Error('let in')), ended: () => undefined };
  const caller = { peer: '', identity: { kind: 'local', name: 'local' } } as const;
  const joins = ['one', 'two', 'one'].map((name) => {
    const checked = checkSubscription({ topics: ['process'], follow: true, group: { name } }, wallNowNs());
    return groups.join(checked, {} as Sink, caller, new AbortController().signal, reading);
  });
  const answers = (await Promise.allSettled(joins)).map((each) =>
    each.status === 'rejected' ? each.reason.message : '',
  );
  assert.match(answers[1]!, /at most 128 groups/);
  assert.deepEqual([answers[0], answers[2]], ['let in', 'let in']);
  assert.equal(groups.all().length, GROUPS_MAX);
  groups.close();
  registry.close();
  await logs.close();
});

test('what a member must be granted is what the group stands at, not what it began with', async () => {
  const dir = scratchDirectory('group-stands');
  const store = new GroupStore(openState(dir, { name: 'groups' }), openState(dir, { name: 'parked' }));
  const logs = await openLogs(join(dir, 'log'));
  const places = logs.all().map(() => ({ offset: 0 }));
  const { cursorId } = predicateOf(RECORD);
  const atEnd = encodeCursor({ clusterId: logs.identity, predicateId: cursorId, sinceNs: 1n, places, nodes: [] })!;
  const replaying = { wallNs: 7n, node: 'a', position: ORIGIN };
  const inPast = encodeCursor({
    clusterId: logs.identity,
    predicateId: cursorId,
    places: [],
    nodes: [],
    history: replaying,
  })!;
  const slices = (cursor: string) => RECORD.slices.map((slice) => ({ ...slice, cursor }));
  await store.create({ ...RECORD, name: 'began', sinceNs: 1n });
  await store.create({ ...RECORD, name: 'past', sinceNs: 1n, slices: slices(inPast) });
  await store.create({ ...RECORD, name: 'live', sinceNs: 1n, slices: slices(atEnd) });
  const documents = await openEmbeddedDocuments({
    dir: join(dir, 'documents'),
    bounds: DOCUMENT_BOUNDS,
    onFailure: assert.fail,
  });
  const beganNs = wallNowNs();
  await documents.of('app').append(batchOf('app.jobs', ['1']));
  const apps = { ...RECORD, name: 'apps', topics: ['app.jobs'], sinceNs: 1n };
  const behind = encodeCursor({
    ...{ clusterId: logs.identity, predicateId: predicateOf(apps).cursorId, places: [], nodes: [] },
    logs: [{ offset: 0 }, undefined, undefined],
  })!;
  await store.create({ ...apps, slices: slices(behind) });
  const asked: (readonly [readonly string[], bigint])[] = [];
  const book = newBook();
  const registry = new NodeRegistry(book, logs, openState(dir), assert.fail);
  const groups = new Groups({
    ...{ store, presence: ALONE, logger: pino({ level: 'silent' }) },
    access: { mayHaveGroup: () => false, group: (_caller, verbs, { sinceNs }) => asked.push([verbs, sinceNs]) },
    context: { store: logs, documents, registry, book } as unknown as DeliveryContext,
    subscriptions: {} as Subscriptions,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    retention: { interestMs: 600_000, cursorsMs: Date.now() },
  });
  const fromNs = wallNowNs();
  const reading = { begins: () => Promise.reject(new Error('let in')), ended: () => undefined };
  const caller = { peer: '', identity: { kind: 'token', name: 'shallow' } } as const;
  for (const name of ['began', 'past', 'live', 'apps']) {
    const checked = checkSubscription({ follow: true, group: { name } }, wallNowNs());
    await groups.join(checked, {} as Sink, caller, new AbortController().signal, reading).catch(() => undefined);
  }
  assert.deepEqual(asked.slice(0, 2), [
    [['subscribe', 'history'], 1n],
    [['subscribe', 'history'], 7n],
  ]);
  const [verbs, sinceNs] = asked[2]!;
  assert.deepEqual(verbs, ['subscribe'], 'what is past is done');
  assert.ok(sinceNs >= fromNs);
  const stood = asked[3]![1];
  assert.ok(stood >= beganNs && stood < fromNs, 'documents count by when the next was stored');
  groups.close();
  registry.close();
  await documents.close();
  await logs.close();
});
