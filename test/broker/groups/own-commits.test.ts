/** What the broker commits by itself for members that have committed all: never past what they were not told. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { LedgerTotals } from '../../../src/broker/delivery/ledger-totals.js';
import { Notices } from '../../../src/broker/delivery/live/notices.js';
import { type Delivery, Outlet, type Sink } from '../../../src/broker/delivery/outlet.js';
import type { DeliveryContext } from '../../../src/broker/delivery/planned-subscription.js';
import { SelectorSet } from '../../../src/broker/delivery/selectors/selector-set.js';
import type { Subscriptions } from '../../../src/broker/delivery/subscriptions.js';
import type { GroupRecord } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import { LiveGroup } from '../../../src/broker/groups/live-group.js';
import { MemberStream } from '../../../src/broker/groups/member-stream.js';
import { ALONE } from '../../../src/broker/groups/presence/group-presence.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import { BackplaneError } from '../../../src/errors.js';
import { wallNowNs } from '../../../src/nanoseconds.js';
import {
  type CheckedSubscription,
  checkSubscription,
} from '../../../src/subscriptions/request/subscription-request.js';
import { encodeCursor } from '../../../src/wire/cursor.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

const SLICE = 3;
const RECORD: GroupRecord = {
  ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: 1 },
  slices: Array.from({ length: 8 }, () => ({ epoch: 1, cursor: '', committedMs: 0 })),
};
const CALLER = { peer: '', identity: { kind: 'local', name: 'local' } } as const;

const cursor = (sinceNs: bigint) =>
  encodeCursor({ clusterId: '0123456789abcdef', predicateId: 1n, sinceNs, places: [], nodes: [] })!;

/** A slice's delivery, of which a test decides how far it is and what it writes. */
interface Run {
  readonly sink: Sink;
  readonly notices: Notices;
  readonly subscription: { cursor: string; readonly outlet: Outlet };
}

/** A group whose one member has all slices. */
async function delivering() {
  const dir = scratchDirectory('own-commits');
  const store = new GroupStore(openState(dir, { name: 'groups' }), openState(dir, { name: 'parked' }));
  await store.create(RECORD);
  const logs = await openLogs(join(dir, 'log'));
  const book = newBook();
  const registry = new NodeRegistry(book, logs, openState(dir), assert.fail);
  const runs = new Map<number, Run>();
  const runSlice = ({ selectors, slice }: CheckedSubscription, sink: Sink) => {
    const asked = new SelectorSet(selectors);
    const notices = new Notices(asked);
    const outlet = new Outlet(sink, 0, asked, new LedgerTotals(), undefined);
    outlet.precededBy(notices);
    const subscription = { cursor: '', phase: 'live', takeMoved: () => [], outlet };
    // Of eight slices each reads a partition of its own.
    runs.set(slice!.partition, { sink, notices, subscription });
    return { subscription, done: new Promise(() => undefined) };
  };
  const presence = { ...ALONE, isCurrent: true, whenCurrent: (signal: AbortSignal) => aborted(signal) };
  const live = new LiveGroup(RECORD, {
    ...{ store, presence, logger: pino({ level: 'silent' }) },
    context: { store: logs, registry, book, documents: { all: () => [] } } as unknown as DeliveryContext,
    subscriptions: { runSlice } as unknown as Subscriptions,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
  });
  const told: Delivery[] = [];
  const sink: Sink = { client: '', closed: new AbortController().signal, write: async (each) => void told.push(each) };
  const checked = checkSubscription({ follow: true, group: { name: 'g' } }, wallNowNs());
  const stream = new MemberStream(sink, CALLER, checked, new AbortController().signal, presence);
  live.group.join(checked.group!, stream);
  await until('all slices', () => runs.size === 8);
  const advanced = async (slice = SLICE) => {
    await live.advance(Number.POSITIVE_INFINITY);
    return store.get('g')!.slices[slice]!.cursor;
  };
  const close = async () => {
    live.close();
    registry.close();
    await logs.close();
  };
  return { live, run: runs.get(SLICE)!, another: runs.get(SLICE + 1)!, presence, stream, told, advanced, close };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
}

test('it follows a member that has committed all, and stays before a gap that is not told yet', async () => {
  const { live, run, told, advanced, close } = await delivering();
  const { subscription, notices } = run;
  const { outlet } = subscription;
  subscription.cursor = cursor(1n);
  assert.equal(await advanced(), cursor(1n));
  notices.partition('process', 'damaged');
  subscription.cursor = cursor(2n);
  assert.equal(await advanced(), cursor(1n), 'who resumes there is told the gap');
  await outlet.gaps();
  assert.equal(await advanced(), cursor(1n), 'the member has to commit it');
  await outlet.message({ watermark: { node: '', cursor: cursor(2n) } });
  const watermark = () => told.flatMap((each) => (each.kind === 'message' && each.message.watermark) || []).at(-1);
  await until('it is told', () => watermark() !== undefined);
  const { epoch } = live.group.slots.lease(SLICE)!;
  await live.group.commit([{ slice: SLICE, epoch, cursor: watermark()!.cursor! }]);
  subscription.cursor = cursor(3n);
  assert.equal(await advanced(), cursor(3n));
  await close();
});

test('it stays before an event that waits while the others take this broker for dead, or is dropped', async () => {
  const { run, another, presence, stream, advanced, close } = await delivering();
  run.subscription.cursor = cursor(1n);
  assert.equal(await advanced(), cursor(1n));
  presence.isCurrent = false;
  run.subscription.cursor = cursor(2n);
  const header = { node: 'a', topic: 'process', history: false, cursor: cursor(2n) };
  const given = run.sink.write({ kind: 'batch', header, parts: [] });
  assert.equal(await advanced(), cursor(1n));
  stream.fail(new BackplaneError('unavailable', 'subscribe at another broker'));
  await assert.rejects(given, { code: 'cancelled' });
  assert.equal(await advanced(), cursor(1n), 'it was never given');
  presence.isCurrent = true;
  another.subscription.cursor = cursor(2n);
  await assert.rejects(another.sink.write({ kind: 'batch', header, parts: [] }), { code: 'cancelled' });
  assert.equal(await advanced(SLICE + 1), '', 'nor was that');
  await close();
});
