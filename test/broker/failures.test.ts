/** Failures in a row: brokers, nodes and subscribers go at any moment, and every event still comes once, in order. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Harness, range, type Subscriber } from '../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../harness/broker/test-agent.js';
import { runs } from '../harness/runs.js';
import { until } from '../harness/until.js';

const TOPICS = ['network', 'process'];
const TYPES = ['process.exec', 'network.tcp.connect'];
const NODES = ['a', 'b', 'c', 'd'];

interface Stretch {
  /** Recorded by each node before it begins, and during it. */
  readonly before: readonly number[];
  readonly during: readonly number[];
  /** Which nodes are there, and which of them goes in the middle of its history. */
  readonly there: readonly boolean[];
  readonly breaksOff: number;
  /** The subscriber goes when so many events have come, or keeps to a limit. */
  readonly events: number;
  readonly limited: boolean;
  /** What happened before it: the broker was killed, and what it knew was lost. */
  readonly fault: 'none' | 'killed' | 'forgot';
}

const counts = fc.array(fc.nat(60), { minLength: NODES.length, maxLength: NODES.length });
const stretch: fc.Arbitrary<Stretch> = fc.record({
  before: counts,
  during: counts,
  there: fc.array(fc.boolean(), { minLength: NODES.length, maxLength: NODES.length }),
  breaksOff: fc.nat(2 * NODES.length),
  events: fc.integer({ min: 1, max: 120 }),
  limited: fc.boolean(),
  fault: fc.constantFrom('none', 'killed', 'forgot'),
});

class World {
  readonly recorders: readonly TestRecorder[];
  readonly events: string[] = [];
  #cursor = '';
  #agents: TestAgent[] = [];
  #pid = 0;

  readonly #harness: Harness;

  constructor(harness: Harness) {
    this.#harness = harness;
    const startNs = BigInt(Date.now() - 60_000) * 1_000_000n;
    this.recorders = NODES.map((node, at) => new TestRecorder(node, 1, startNs + BigInt(at)));
  }

  /** The broker has heard of every node. A node it never heard of may have a past that a cursor cannot name. */
  async introduce(): Promise<void> {
    const somebody = this.#harness.subscribe({ topics: TOPICS, follow: true });
    for (const recorder of this.recorders) this.#agents.push(await this.#harness.agent(recorder.id, recorder));
    await somebody.isAccepted();
    await until('interest', () => this.#agents.every(({ topics }) => topics.length === TOPICS.length));
    this.#record(NODES.map(() => 20));
    for (const agent of this.#agents) agent.publish();
    await until('acknowledged', () => this.#agents.every(({ acknowledged }) => acknowledged.size === TOPICS.length));
    somebody.cancel();
  }

  async live(each: Stretch, last: boolean): Promise<void> {
    await this.#fail(each);
    this.#record(each.before);
    for (const [at, recorder] of this.recorders.entries()) {
      if (!last && !each.there[at]) continue;
      const agent = await this.#harness.agent(recorder.id, recorder);
      if (!last && each.breaksOff === at) agent.midHistory = async () => agent.kill();
      this.#agents.push(agent);
    }
    const resumed = this.#cursor === '' ? { since: '1h' } : { cursor: this.#cursor };
    const limit = each.limited && !last ? each.events : 0;
    const subscriber = this.#harness.subscribe({ topics: TOPICS, follow: true, limit, ...resumed });
    await subscriber.isAccepted();
    for (const part of [0, 1, 2]) {
      this.#record(each.during.map((count) => (part < 2 ? Math.floor(count / 3) : 1)));
      for (const agent of this.#agents) if (!agent.ended) agent.publish();
      await sleep(1);
    }
    await this.#collect(subscriber, last ? this.recorded.length - this.events.length : each.events, last);
    subscriber.cancel();
  }

  get recorded(): string[] {
    return this.recorders.flatMap(({ id, events }) => events.map(({ event }) => `${id}:${event.process?.pid}`));
  }

  async #fail({ fault }: Stretch): Promise<void> {
    for (const agent of this.#agents) agent.kill();
    this.#agents = [];
    if (fault === 'none') return;
    await this.#harness.broker.abort();
    if (fault === 'forgot') rmSync(join(this.#harness.dataDir, 'broker', 'interest.json'), { force: true });
    await this.#harness.startBroker();
  }

  #record(perNode: readonly number[]): void {
    for (const [at, count] of perNode.entries()) {
      for (const _ of range(0, count)) this.recorders[at]!.record(TYPES[++this.#pid % 7 < 3 ? 0 : 1]!, this.#pid);
    }
  }

  /** Keeps what came up to some batch's cursor: where a subscriber goes, what came behind it is lost with it. */
  async #collect(subscriber: Subscriber, due: number, all: boolean): Promise<void> {
    if (all) await subscriber.has(due);
    else for (let tries = 0; subscriber.pids.length < due && !subscriber.ended && tries < 40; tries++) await sleep(5);
    const seen = subscriber.cursors.findLast(({ count }) => all || count <= due || subscriber.ended);
    if (seen === undefined) return;
    assert.notEqual(seen.cursor, '');
    this.#cursor = seen.cursor;
    this.events.push(...subscriber.events.slice(0, seen.count));
  }
}

test('under repeated failures of any kind, every event is delivered exactly once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(stretch, { minLength: 2, maxLength: 6 }), stretch, async (stretches, last) => {
      const harness = await Harness.start();
      try {
        const world = new World(harness);
        await world.introduce();
        for (const each of stretches) await world.live(each, false);
        await world.live(last, true);
        const { events, recorded } = world;
        assert.deepEqual(
          events.filter((event, at) => events.indexOf(event) !== at),
          [],
          'none twice',
        );
        assert.deepEqual(events.toSorted(), recorded.toSorted());
      } finally {
        await harness.destroy();
      }
    }),
    { numRuns: runs(8), endOnFailure: true },
  );
});
