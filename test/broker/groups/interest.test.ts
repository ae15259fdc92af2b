/** The interest that a group has in nodes' events, where it can neither be stated nor given up at once. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import type { DeliveryContext } from '../../../src/broker/delivery/planned-subscription.js';
import type { Subscriptions } from '../../../src/broker/delivery/subscriptions.js';
import type { GroupRecord } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import { LiveGroup } from '../../../src/broker/groups/live-group.js';
import { ALONE } from '../../../src/broker/groups/presence/group-presence.js';
import { BackplaneError } from '../../../src/errors.js';
import { openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const RECORD: GroupRecord = {
  ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: 1 },
  slices: Array.from({ length: 8 }, () => ({ epoch: 1, cursor: '', committedMs: 0 })),
};

/** A group without members. `book` counts its claims in force, and refuses others while it is told to. */
async function unattended() {
  const dir = scratchDirectory('group-interest');
  const store = new GroupStore(openState(dir, { name: 'groups' }), openState(dir, { name: 'parked' }));
  await store.create(RECORD);
  const logs = await openLogs(join(dir, 'log'));
  const book = { held: 0, refuses: false };
  const claim = async () => {
    if (book.refuses) throw new BackplaneError('unavailable', 'it was not read back');
    book.held++;
    return () => void book.held--;
  };
  const live = new LiveGroup(RECORD, {
    ...{ store, presence: ALONE, logger: pino({ level: 'silent' }) },
    context: { store: logs, book: { claim }, documents: { all: () => [] } } as unknown as DeliveryContext,
    subscriptions: {} as Subscriptions,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
  });
  await live.claim();
  return { live, store, book, logs };
}

test('nodes are not asked for what a group had before, also where they cannot be asked for what it has now', async () => {
  const { live, store, book, logs } = await unattended();
  assert.equal(book.held, 1);
  book.refuses = true;
  const change = () => store.update('g', (record) => ({ ...record, filter: 'process.pid < 9' }));
  await assert.rejects(live.change(change), { code: 'unavailable' });
  assert.equal(book.held, 0);
  book.refuses = false;
  await live.claim();
  assert.deepEqual([book.held, live.predicate.spec.filter], [1, 'process.pid < 9']);
  live.end();
  assert.equal(book.held, 0);
  await logs.close();
});

test('interest that cannot be given up is given up once, however often that is asked for meanwhile', async () => {
  const { live, book, logs } = await unattended();
  let parks = 0;
  let isAway = true;
  const waiting: (() => void)[] = [];
  live.places.park = async () => {
    parks++;
    await new Promise<void>((resolve) => waiting.push(resolve));
    if (isAway) throw new BackplaneError('unavailable', 'it was not read back');
  };
  const releases = Promise.all([live.release(), live.release(), live.release()]);
  // What is asked for then comes next.
  const claimed = live.claim();
  waiting.shift()!();
  await claimed;
  await releases;
  assert.deepEqual([parks, waiting.length, book.held], [1, 0, 1]);
  isAway = false;
  const released = live.release();
  waiting.shift()!();
  await released;
  assert.deepEqual([parks, book.held, live.isInForce], [2, 0, false]);
  live.end();
  await logs.close();
});
