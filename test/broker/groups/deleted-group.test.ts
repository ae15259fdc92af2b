/** What is left of a group that was deleted: where a disk takes nothing, and at a broker that reads of it late. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pino } from 'pino';
import type { StateValue } from '../../../src/broker/cluster/shared-state.js';
import type { Sink } from '../../../src/broker/delivery/outlet.js';
import type { DeliveryContext } from '../../../src/broker/delivery/planned-subscription.js';
import type { Subscriptions } from '../../../src/broker/delivery/subscriptions.js';
import { type GroupRecord, groupValue } from '../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../src/broker/groups/group-store.js';
import { Groups } from '../../../src/broker/groups/groups.js';
import { SharedPresence } from '../../../src/broker/groups/presence/shared-presence.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import { wallNowNs } from '../../../src/nanoseconds.js';
import { checkSubscription } from '../../../src/subscriptions/request/subscription-request.js';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness } from '../../harness/broker/harness.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { SharedStream, StreamView } from '../../harness/groups/shared-stream.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(() => {
  harness = new Harness();
});
afterEach(() => harness.destroy());

test('a group whose parked places cannot be forgotten is gone all the same, and the others are listed', async () => {
  harness.groups = { memberMs: 10_000, commitMs: 300_000, revokeMs: 50, interestMs: 50, cursorsMs: 86_400_000 };
  await harness.startBroker();
  const agent = await harness.agent('a');
  agent.recorder.record('process.exec', 1);
  agent.publish();
  const one = new TestMember(harness, 'g', { topics: ['process'], since: '1h' });
  await until('the event came', () => one.subscriber.events.length > 0);
  await one.commit();
  one.cancel();
  const file = () =>
    readdirSync(harness.dataDir, { recursive: true, encoding: 'utf8' }).find((path) => path.endsWith('parked.json'));
  await until('places are parked', () => file() !== undefined);
  const path = join(harness.dataDir, file()!);
  rmSync(path);
  mkdirSync(join(path, 'in-the-way'), { recursive: true });
  const groups = `http://${harness.broker.httpAddress}/v1/groups`;
  assert.notEqual((await fetch(`${groups}/g`, { method: 'DELETE' })).status, 404);
  const answer = await fetch(groups);
  assert.equal(answer.status, 200, await answer.text());
});

const RECORD: GroupRecord = {
  ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: Date.now() },
  slices: Array.from({ length: 8 }, () => ({ epoch: 1, cursor: '', committedMs: 0 })),
};

/** Groups of a broker whose members are given nothing. */
async function groupsOn(store: GroupStore, presence: SharedPresence) {
  const dir = scratchDirectory('deleted-elsewhere');
  const logs = await openLogs(join(dir, 'log'));
  const book = newBook();
  const registry = new NodeRegistry(book, logs, openState(dir), assert.fail);
  const subscription = { cursor: '', phase: 'history', takeMoved: () => undefined, outlet: { ledger: { events: 0 } } };
  const runSlice = () => ({ subscription, done: new Promise(() => undefined) });
  const groups = new Groups({
    ...{ store, presence, logger: pino({ level: 'silent' }) },
    access: { group: () => undefined, mayHaveGroup: () => true },
    context: { store: logs, registry, book, documents: { all: () => [] } } as unknown as DeliveryContext,
    subscriptions: { runSlice } as unknown as Subscriptions,
    times: { memberMs: 10_000, commitMs: 300_000, revokeMs: 2_000 },
    retention: { interestMs: 600_000, cursorsMs: 600_000 },
  });
  const close = async () => {
    groups.close();
    registry.close();
    await logs.close();
  };
  const { signal } = new AbortController();
  const sink: Sink = { client: '', closed: signal, write: async () => undefined };
  const caller = { peer: '', identity: { kind: 'local', name: 'local' } } as const;
  const reading = { begins: async () => undefined, ended: () => undefined };
  const joined = () => {
    const checked = checkSubscription({ follow: true, group: { name: 'g' } }, wallNowNs());
    return groups.join(checked, sink, caller, signal, reading);
  };
  return { join: joined, close };
}

test('a broker that reads that a group was deleted says that it has no member of it, also where it cannot at once', async () => {
  const streams = [new SharedStream(), new SharedStream()] as const;
  streams[0].append('group.g', groupValue(RECORD) as StateValue);
  const kept = new StreamView(streams[0]);
  kept.read(1);
  const signs = new Set<() => void>();
  const presenceOf = (broker: string) => {
    const state = new StreamView(streams[1]);
    const listen = (listener: () => void) => {
      signs.add(listener);
      return () => signs.delete(listener);
    };
    const leases = { holds: true, alive: () => true, isForgotten: () => false, listen };
    const onFailure = () => undefined;
    return { state, presence: new SharedPresence({ state, leases, broker, relay: undefined, onFailure }) };
  };
  const [one, other] = [presenceOf('a'), presenceOf('b')];
  const { join, close } = await groupsOn(new GroupStore(kept, kept), one.presence);
  const others = () => {
    for (const view of [kept, one.state, other.state]) view.read(Number.POSITIVE_INFINITY);
    return other.presence.others('g').length;
  };
  const ended = assert.rejects(join(), { code: 'not_found' });
  await until('the other broker knows the member', () => others() === 1);
  const remove = one.state.delete.bind(one.state);
  let refused = 0;
  one.state.delete = async () => {
    refused++;
    throw new Error('nobody leads the stream');
  };
  streams[0].append('group.g', undefined);
  assert.equal(others(), 1);
  await ended;
  await until('it was tried to say', () => refused > 0);
  one.state.delete = remove;
  for (const sign of signs) sign();
  await until('no member is left at the other broker', () => others() === 0);
  for (const { presence } of [one, other]) presence.close();
  await close();
});
