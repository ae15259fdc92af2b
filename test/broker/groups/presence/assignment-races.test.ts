/** Brokers that change one group at once, each reading of the others whenever it does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { Group } from '../../../../src/broker/groups/group.js';
import type { GroupRecord } from '../../../../src/broker/groups/group-record.js';
import { GroupStore } from '../../../../src/broker/groups/group-store.js';
import type { Member } from '../../../../src/broker/groups/member.js';
import type { MemberStream } from '../../../../src/broker/groups/member-stream.js';
import { SharedPresence } from '../../../../src/broker/groups/presence/shared-presence.js';
import type { SliceLease } from '../../../../src/broker/groups/slice-lease.js';
import { SharedStream, StreamView } from '../../../harness/groups/shared-stream.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const SLICES = 8;
const RECORD: GroupRecord = {
  ...{ name: 'g', owner: 'local', topics: ['process'], filter: 'true', includeSelf: false, fields: [], globs: [] },
  ...{ createdMs: 1, sinceNs: 0n, interestMs: 600_000, cursorsMs: 600_000, aloneSinceMs: 1 },
  slices: Array.from({ length: SLICES }, () => ({ epoch: 1, cursor: '', committedMs: 0 })),
};

interface Joined {
  readonly member: Member;
  readonly stream: MemberStream & { isOver: boolean };
}

/** What every broker gave, in whatever order. */
class Given {
  readonly epochs = new Set<string>();

  note({ slice, epoch }: SliceLease): void {
    const key = `${slice} ${epoch}`;
    assert.ok(!this.epochs.has(key), `slice ${slice} was given twice in epoch ${epoch}`);
    this.epochs.add(key);
  }
}

class Broker {
  readonly kept: StreamView;
  readonly shared: StreamView;
  readonly group: Group;
  readonly joined: Joined[] = [];
  readonly leases = new Map<number, SliceLease>();

  constructor(name: string, streams: readonly [SharedStream, SharedStream], alive: Set<string>, given: Given) {
    this.kept = new StreamView(streams[0]);
    this.shared = new StreamView(streams[1]);
    this.kept.read(1);
    const store = new GroupStore(this.kept, this.kept);
    const leases = {
      get holds() {
        return alive.has(name);
      },
      alive: (broker: string) => alive.has(broker),
      isForgotten: () => true,
      listen: () => () => undefined,
    };
    const onFailure = (cause: unknown) => assert.fail(String(cause));
    const presence = new SharedPresence({ state: this.shared, leases, broker: name, relay: undefined, onFailure });
    this.group = new Group('g', SLICES, {
      ...{ store, presence, times: { memberMs: 10, commitMs: 300_000, revokeMs: 1 } },
      parkAhead: async () => () => undefined,
      deliver: (_stream, lease) => {
        given.note(lease);
        this.leases.set(lease.slice, lease);
      },
      onAttended: () => undefined,
      logger: pino({ level: 'silent' }),
    });
    store.watch((_name, record) => record && this.group.changed(record));
    presence.listen(() => this.group.othersChanged());
  }

  join(name = ''): void {
    const stream = { isOver: false, stop: () => undefined, tell: () => undefined, asked: {}, caller: { identity: {} } };
    const fail = () => {
      stream.isOver = true;
    };
    const own = { ...stream, fail } as unknown as Joined['stream'];
    if (this.group.members.some((member) => member.id === name && member.isPresent)) return;
    const had = [...this.leases.values()].map(({ slice, epoch }) => ({ slice, epoch }));
    const member = this.group.join({ name: 'g', member: name, slices: 0, had, whatItHas: true }, own);
    this.joined.push({ member, stream: own });
  }

  leave(at: number): void {
    const [left] = this.joined.splice(at % Math.max(1, this.joined.length), 1);
    if (left !== undefined) this.group.leave(left.member, left.stream, false);
  }

  readAll(): void {
    this.kept.read(Number.POSITIVE_INFINITY);
    this.shared.read(Number.POSITIVE_INFINITY);
  }
}

const action = fc.oneof(
  fc.record({ kind: fc.constant('join' as const), at: fc.nat(1), named: fc.boolean() }),
  fc.record({ kind: fc.constant('leave' as const), at: fc.nat(1), member: fc.nat(5) }),
  fc.record({ kind: fc.constant('kept' as const), at: fc.nat(1), count: fc.nat(3) }),
  fc.record({ kind: fc.constant('shared' as const), at: fc.nat(1), count: fc.nat(3) }),
  fc.constant({ kind: 'wait' as const, at: 0 }),
);

test('however two brokers change a group at once, an epoch is given once and it comes to even shares', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      const streams = [new SharedStream(), new SharedStream()] as const;
      streams[0].append('group.g', { ...RECORD, sinceNs: '0' });
      const alive = new Set(['a', 'b']);
      const given = new Given();
      const brokers = ['a', 'b'].map((name) => new Broker(name, streams, alive, given));
      for (const each of actions) {
        const broker = brokers[each.at]!;
        if (each.kind === 'join') broker.join(each.named ? 'n' : '');
        else if (each.kind === 'leave') broker.leave(each.member);
        else if (each.kind === 'kept') broker.kept.read(each.count);
        else if (each.kind === 'shared') broker.shared.read(each.count);
        else await new Promise((resolve) => setTimeout(resolve, 8));
      }
      brokers[0]!.join();
      const held = () => brokers.flatMap(({ group }) => group.slots.held);
      const isSettled = () => {
        for (const broker of brokers) broker.readAll();
        const { slices } = brokers[0]!.kept.get('group.g')!.value as unknown as GroupRecord;
        const members = brokers.flatMap(({ group }) => group.members);
        const shares = members.map((member) => held().filter(({ owner }) => owner === member).length);
        const active = [...shares].sort((a, b) => b - a).slice(0, SLICES);
        return (
          held().length === SLICES &&
          held().every(({ slice, lease }) => slices[slice]?.epoch === lease.epoch) &&
          active[0]! - active.at(-1)! <= 1
        );
      };
      await until('even shares', isSettled, () => streams.map(({ changes }) => changes.length).join());
      assert.ok(brokers.flatMap(({ group }) => group.members).filter(({ id }) => id === 'n').length <= 1);
      checkEpochs(streams[0]);
      for (const { group } of brokers) group.close();
    }),
    { numRuns: runs(8) },
  );
});

/** Of each slice they only grow. */
function checkEpochs({ changes }: SharedStream): void {
  const latest = Array.from({ length: SLICES }, () => 0);
  for (const { value } of changes) {
    for (const [slice, { epoch }] of (value as unknown as GroupRecord).slices.entries()) {
      assert.ok(epoch >= latest[slice]!, `slice ${slice}: ${latest[slice]} to ${epoch}`);
      latest[slice] = epoch;
    }
  }
}
