/** Trace events are on while somebody asks for them, and at no other time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { INTEREST_GRACE_MS } from '../../../src/limits.js';
import { Demand } from '../../../src/sensor-agent/interest/demand.js';
import type { OnDemandEvents } from '../../../src/sensor-agent/source/source.js';
import { CATALOGUE, tracedEvents } from '../../../src/subscriptions/pushdown/catalogue.js';

/** The switches of a source, and every move of them. */
class Switches implements OnDemandEvents {
  readonly events: ReadonlySet<string>;
  readonly moves: string[] = [];
  readonly enabled: Set<string>;

  constructor(profile: string, enabled: readonly string[] = [], more: readonly string[] = []) {
    const entries = [...CATALOGUE.values()].filter((entry) => entry.profile === profile);
    this.events = new Set([...entries.flatMap(tracedEvents), ...more]);
    this.enabled = new Set(enabled);
  }

  filter(): void {}

  switch(event: string, on: boolean): void {
    assert.notEqual(this.enabled.has(event), on, `${event} is not switched twice`);
    this.moves.push(`${on ? '+' : '-'}${event}`);
    if (on) this.enabled.add(event);
    else this.enabled.delete(event);
  }
}

const KILL = 'syscalls/sys_enter_kill';
const SETNS = 'syscalls/sys_enter_setns';
const asks = (...types: string[]) => {
  return { wants: (type: string) => types.includes(type), conditions: () => undefined };
};

test('events are switched on before the interest holds, and off when nobody asks', () => {
  const switches = new Switches('security');
  const demand = new Demand(switches, 0);
  demand.widen(asks('security.kill', 'process.exec', 'syscall.enter'));
  assert.deepEqual(switches.moves, [`+${KILL}`]);
  demand.narrow();
  demand.widen(asks('security.setns'));
  assert.deepEqual([...switches.enabled].sort(), [KILL, SETNS], 'both until the new interest holds');
  demand.narrow();
  assert.deepEqual([...switches.enabled], [SETNS]);
  demand.widen(asks());
  demand.narrow();
  assert.deepEqual([...switches.enabled], []);
});

test('without a broker, events stay switched on for a grace period, which a new interest ends', () => {
  const switches = new Switches('security');
  const demand = new Demand(switches, 0);
  demand.widen(asks('security.kill'));
  demand.narrow();
  demand.expire(10 * INTEREST_GRACE_MS);
  demand.away(1000);
  demand.away(2000);
  demand.expire(999 + INTEREST_GRACE_MS);
  assert.deepEqual([...switches.enabled], [KILL]);
  demand.expire(1000 + INTEREST_GRACE_MS);
  assert.deepEqual([...switches.enabled], []);
  demand.widen(asks('security.kill'));
  demand.expire(10 * INTEREST_GRACE_MS);
  assert.deepEqual([...switches.enabled], [KILL]);
});

test('events found on in an adopted instance go off after the grace period unless asked for again', () => {
  const switches = new Switches('security', [KILL, SETNS]);
  const demand = new Demand(switches, 5);
  demand.expire(4 + INTEREST_GRACE_MS);
  assert.deepEqual(switches.moves, []);
  demand.widen(asks('security.kill'));
  demand.narrow();
  assert.deepEqual(switches.moves, [`-${SETNS}`]);
  const left = new Switches('security', [KILL]);
  new Demand(left, 5).expire(5 + INTEREST_GRACE_MS);
  assert.deepEqual([...left.enabled], []);
});

test("a call's return is on only where probes say what the call names", () => {
  const returned = 'syscalls/sys_exit_memfd_create';
  const points = ['name_memfd', 'name_memfd_huge'].map((name) => `backplane_1_recorded/${name}`);
  for (const there of [[], points, points.slice(0, 1), points.slice(1)]) {
    const switches = new Switches('security', [], [returned, ...there]);
    new Demand(switches, 0).widen(asks('security.memfd_create'));
    const wanted = there.includes(points[0]!) ? [...there, returned] : [];
    assert.deepEqual([...switches.enabled].sort(), [...wanted, 'syscalls/sys_enter_memfd_create'].sort());
  }
});

test('of two calls that truncate each is told by its trace event where its own probe is not there', () => {
  const probes = (...operations: readonly string[]) =>
    operations.flatMap((operation) => [`g/path_${operation}`, `g/call_${operation}`]);
  const [byPath, byDescriptor] = ['syscalls/sys_enter_truncate', 'syscalls/sys_enter_ftruncate'];
  for (const [there, on] of [
    [[], [byPath, byDescriptor]],
    [probes('ftruncate'), [byPath, ...probes('ftruncate')]],
    [probes('truncate'), [byDescriptor, ...probes('truncate')]],
    [probes('truncate', 'ftruncate'), probes('truncate', 'ftruncate')],
  ] as const) {
    const switches = new Switches('file', [], there);
    new Demand(switches, 0).widen(asks('file.truncate'));
    assert.deepEqual([...switches.enabled].sort(), [...on].sort());
  }
});

test('a source without such events is asked for nothing', () => {
  const demand = new Demand(undefined, 0);
  demand.widen({ wants: () => true, conditions: () => undefined });
  demand.narrow();
  demand.expire(INTEREST_GRACE_MS);
});

test('after any series of interests exactly the events of the last one are on', () => {
  const types = [...CATALOGUE.values()].map(({ type }) => type);
  fc.assert(
    fc.property(fc.array(fc.subarray(types), { minLength: 1 }), fc.constantFrom('file', 'syscall'), (all, profile) => {
      const switches = new Switches(profile);
      const demand = new Demand(switches, 0);
      for (const asked of all) {
        demand.widen(asks(...asked));
        demand.narrow();
      }
      const needed = [...new Set(all.at(-1)!.flatMap((type) => tracedEvents(CATALOGUE.get(type)!)))];
      assert.deepEqual([...switches.enabled].sort(), needed.filter((event) => switches.events.has(event)).sort());
    }),
  );
});

test('a suspended profile is off and reported as missing, and on again afterwards', () => {
  const switches = new Switches('security');
  const demand = new Demand(switches, 0);
  demand.widen(asks('security.kill', 'process.exec'));
  assert.deepEqual(demand.profiles, ['security']);
  assert.deepEqual(demand.missing, []);
  demand.suspend(['syscall', 'security']);
  assert.deepEqual([[...switches.enabled], demand.missing], [[], ['security']]);
  demand.widen(asks('security.kill', 'security.setns'));
  demand.narrow();
  assert.deepEqual([...switches.enabled], [], 'whoever asks meanwhile');
  demand.suspend(['syscall']);
  assert.deepEqual([[...switches.enabled].sort(), demand.missing], [[KILL, SETNS], []]);
  demand.suspend(['security']);
  demand.widen(asks());
  assert.deepEqual(demand.missing, [], 'nobody asks for it');
});
