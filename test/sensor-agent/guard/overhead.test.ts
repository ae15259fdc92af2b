/** What an agent gives up, in which order, and how that is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GUARD_GATHER_MS, GUARD_LATE_MS } from '../../../src/limits.js';
import { type GuardBounds, Overhead } from '../../../src/sensor-agent/guard/overhead.js';
import type { Profile } from '../../../src/subscriptions/pushdown/catalogue.js';

const BOUNDS: GuardBounds = { recordingShare: 0.1, liveShare: 0.15, historyShare: 0.25, residentBytes: 128 * 2 ** 20 };

const SLOW_SHARE = (BOUNDS.liveShare * 2) / 3;

/** An agent by a clock of its own. */
class Machine {
  listens = true;
  queries = false;
  profiles: Profile[] = [];
  mebibytes = 90;
  /** Of the memory. */
  garbage = 0;
  collected = 0;
  lagMs = 0;
  gatherMs = 0;
  share: number | undefined;
  suspended: readonly Profile[] = [];
  readonly told: string[] = [];
  readonly #overhead: Overhead;
  #nowMs = 0;
  #cpuMs = 0;

  constructor(bounds = BOUNDS) {
    this.#overhead = new Overhead(
      bounds,
      {
        listening: () => this.listens,
        readsAgain: () => this.queries,
        gather: (ms) => {
          this.gatherMs = ms;
        },
        slowMatching: (share) => {
          this.share = share;
        },
        lagMs: () => this.lagMs,
        collectGarbage: () => {
          this.collected += 1;
          this.mebibytes -= this.garbage;
          this.garbage = 0;
        },
        profilesAsked: () => this.profiles,
        suspend: (profiles) => {
          this.suspended = profiles;
        },
        notice: (reason, message) => this.told.push(`${reason}: ${message}`),
      },
      () => ({ cpuMs: this.#cpuMs, residentBytes: this.mebibytes * 2 ** 20 }),
    );
    // The first calm second ends the start.
    this.runs(2, 0);
  }

  get given(): string | undefined {
    return this.#overhead.given;
  }

  /** `history`: share of a core that queries take of it. */
  runs(seconds: number, cpuShare: number, history = 0): this {
    for (let second = 0; second < seconds; second += 1) {
      this.#nowMs += 1_000;
      this.#cpuMs += cpuShare * 1_000;
      this.#overhead.historyTook(history * 1_000);
      this.#overhead.tick(this.#nowMs);
    }
    return this;
  }
}

test('within what recording, listeners and queries are allowed nothing is given up', () => {
  const machine = new Machine();
  machine.runs(60, 0.24);
  machine.listens = false;
  machine.runs(60, 0.09);
  machine.queries = true;
  machine.runs(60, 0.34, 0.2);
  machine.listens = true;
  machine.runs(60, 0.49, 0.25);
  assert.deepEqual([machine.told, machine.given], [[], undefined]);
});

test('where nobody listens nothing is given up, as recording never is', () => {
  const machine = new Machine();
  machine.listens = false;
  machine.runs(60, 0.9);
  assert.deepEqual([machine.told, machine.share, machine.gatherMs], [[], undefined, 0]);
});

test('what was given up while somebody listened does not become more while nobody does', () => {
  const machine = new Machine();
  machine.runs(11, 0.8);
  machine.listens = false;
  machine.runs(60, 0.8);
  assert.deepEqual([machine.gatherMs, machine.share, machine.told.length], [GUARD_GATHER_MS[0], undefined, 1]);
  machine.runs(60, 0);
  assert.deepEqual([machine.gatherMs, machine.told.length], [0, 2]);
});

test('what queries took at first does not count against live events', () => {
  const machine = new Machine();
  machine.runs(30, 0.9, 0.7);
  assert.deepEqual(machine.told, []);
});

test('live events come later step by step, then at a pace, then profiles are given up; each step is told and undone', () => {
  const machine = new Machine();
  machine.profiles = ['syscall', 'security'];
  const steps: unknown[] = [];
  for (let step = 0; step < GUARD_GATHER_MS.length + 3; step += 1) {
    machine.runs(10, 0.8);
    steps.push([machine.gatherMs, machine.share, machine.suspended.join()]);
  }
  assert.deepEqual(steps, [
    [250, undefined, ''],
    [500, undefined, ''],
    [1_000, undefined, ''],
    [1_000, SLOW_SHARE, ''],
    [1_000, SLOW_SHARE, 'syscall'],
    [1_000, SLOW_SHARE, 'syscall,security'],
  ]);
  assert.match(machine.told[0]!, /^overhead: the agent used 80 % of a core \(25 % allowed\) and 90 MiB/);
  assert.match(machine.told[1]!, /: live events gather for 500ms$/);
  assert.match(machine.told[3]!, /: live matching is slowed to 10 % of a core, live events are less than 1s late$/);
  assert.match(machine.told[5]!, /; events of syscall and security are not recorded$/);
  assert.match(machine.given!, /not recorded$/);
  machine.runs(400, 0.1);
  assert.equal(machine.told.length, 12);
  assert.deepEqual([machine.gatherMs, machine.share, machine.suspended, machine.given], [0, undefined, [], undefined]);
  assert.match(machine.told.at(-1)!, /^overhead_over: .*: nothing is given up any more$/);
});

test('where memory is short matching is slowed at once, as gathering saves none', () => {
  const machine = new Machine();
  machine.mebibytes = 129;
  machine.runs(12, 0.01);
  assert.equal(machine.share, SLOW_SHARE);
  assert.match(machine.told[0]!, /129 MiB of memory \(128 MiB allowed\): live matching is slowed/);
});

test('garbage is collected before it counts', () => {
  const machine = new Machine();
  for (let round = 0; round < 4; round += 1) {
    machine.mebibytes = 200;
    machine.garbage = 100;
    machine.runs(9, 0.01);
  }
  assert.deepEqual([machine.told, machine.collected > 0], [[], true]);
  machine.mebibytes = 200;
  machine.runs(20, 0.01);
  assert.equal(machine.told.length, 1);
});

test('whatever the load, live events that are late by a second and more are told to be, and no less late than they are', () => {
  const second = fc.record({
    cpu: fc.constantFrom(0.05, 0.2, 0.6),
    growsMs: fc.constantFrom(-20_000, -500, 500, 9_000),
  });
  fc.assert(
    fc.property(fc.array(second, { minLength: 60, maxLength: 300 }), (seconds) => {
      const machine = new Machine();
      for (const { cpu, growsMs } of seconds) {
        const slowed = machine.share !== undefined;
        machine.lagMs = slowed ? Math.max(0, machine.lagMs + growsMs) : 0;
        machine.runs(1, cpu);
        if (machine.lagMs >= 1_000)
          assert.notEqual(machine.share, undefined, 'it is not given back while events are late');
        if (!slowed) continue;
        const due = GUARD_LATE_MS.filter((ms) => machine.lagMs >= ms).at(-1);
        const said = / more than (\d+)(s|m|h) late/.exec(machine.given ?? '');
        const saidMs = said ? Number(said[1]) * { s: 1_000, m: 60_000, h: 3_600_000 }[said[2] as 's' | 'm' | 'h'] : 0;
        if (due !== undefined) assert.ok(saidMs >= due, `${machine.lagMs} ms late, and told ${machine.given}`);
        assert.ok(saidMs / 2 <= machine.lagMs, `${machine.lagMs} ms late, and told ${machine.given}`);
      }
    }),
    { endOnFailure: true },
  );
});
