/**
 * `limit` and `last` are exact over all nodes: of the past in its merged order,
 * and of a stream that follows while nodes publish, shed and come late. Streams
 * that end at their limit and go on at their last cursor bring every event once.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../fault/schedule.js';
import { Harness, range, type Subscriber } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

const SEED = Number(process.env.BACKPLANE_LIMIT_SEED ?? Math.floor(Math.random() * 2 ** 31));
const NODES = ['a', 'b', 'c'];
const ROUNDS = 30;
const STREAMS = 60;

interface Known {
  readonly name: string;
  readonly wallNs: bigint;
  readonly comm: string;
}

/** Everything recorded, as history is merged. */
function merged(agents: readonly TestAgent[]): Known[] {
  const all = agents.flatMap(({ node, recorder }) =>
    recorder.events.map(({ event }) => {
      const { pid, comm = '' } = event.process!;
      return { name: `${node}:${pid}`, wallNs: event.wallNs, comm };
    }),
  );
  return all.sort((a, b) => Number(a.wallNs - b.wallNs) || (a.name < b.name ? -1 : 1));
}

/** One of each comm in an interval. */
function throttled(events: readonly Known[], intervalNs: bigint): Known[] {
  const last = new Map<string, bigint>();
  return events.filter(({ comm, wallNs }) => {
    const before = last.get(comm);
    if (before !== undefined && wallNs - before < intervalNs) return false;
    last.set(comm, wallNs);
    return true;
  });
}

const names = (events: readonly Known[]) => events.map(({ name }) => name);

async function ended(subscriber: Subscriber): Promise<string[]> {
  await subscriber.end();
  assert.equal(subscriber.error, undefined);
  return subscriber.events;
}

test('history: the first N, or the last N, throttled or not, are exact, and the cursor continues behind them', async () => {
  console.log(`# BACKPLANE_LIMIT_SEED=${SEED}`);
  const random = new Random(SEED);
  const harness = await Harness.start();
  try {
    const startNs = BigInt(Date.now()) * 1_000_000n;
    const agents: TestAgent[] = [];
    for (const node of NODES) agents.push(await harness.agent(node, new TestRecorder(`r-${node}`, 1, startNs)));
    // One node has most of it, and all have events of the same times.
    for (const pid of range(0, 900)) {
      const { recorder } = agents[random.between(0, 9) < 7 ? 0 : random.between(1, 2)]!;
      recorder.record('process.exec', pid, `c${random.between(0, 3)}`);
    }
    const all = merged(agents);
    for (let round = 0; round < ROUNDS; round++) {
      const told = `seed ${SEED}, round ${round}`;
      const count = random.between(1, 950);
      const request = { topics: ['process'], since: '1h' };
      assert.deepEqual(
        await ended(harness.subscribe({ ...request, since: '', last: count })),
        names(all.slice(-count)),
        `last ${count}; ${told}`,
      );
      const limit = random.between(1, count);
      assert.deepEqual(
        await ended(harness.subscribe({ ...request, since: '', last: count, limit: String(limit) })),
        names(all.slice(-count)).slice(0, limit),
        `last ${count}, limit ${limit}; ${told}`,
      );
      const ms = random.between(1, 40);
      const sparse = { ...request, throttle: `${ms}ms`, throttleBy: ['process.comm'], limit: String(limit) };
      assert.deepEqual(
        await ended(harness.subscribe(sparse)),
        names(throttled(all, BigInt(ms) * 1_000_000n).slice(0, limit)),
        `throttle ${ms}, limit ${limit}; ${told}`,
      );
      const first = harness.subscribe({ ...request, limit: String(count) });
      const got = await ended(first);
      const rest = harness.subscribe({ topics: ['process'], cursor: first.cursor });
      assert.deepEqual([...got, ...(await ended(rest))], names(all), `limit ${count} and the rest; ${told}`);
      assert.equal(got.length, Math.min(count, 900), told);
    }
  } finally {
    await harness.destroy();
  }
});

class Follower {
  readonly had: string[] = [];
  readonly history: string[] = [];
  #cursor = '';
  #published = 0;
  readonly #recorders = NODES.map((node) => new TestRecorder(`r-${node}`));
  readonly #agents: TestAgent[] = [];

  readonly #harness: Harness;
  readonly #random: Random;

  constructor(harness: Harness, random: Random) {
    this.#harness = harness;
    this.#random = random;
  }

  async start(): Promise<void> {
    for (const at of NODES.keys()) await this.#connect(at);
  }

  async #connect(at: number): Promise<void> {
    this.#agents[at] = await this.#harness.agent(NODES[at]!, this.#recorders[at]);
  }

  async #subscribe(limit: number): Promise<Subscriber> {
    const from = this.#cursor === '' ? { since: '1h' } : { cursor: this.#cursor };
    const request = { topics: ['process'], follow: true, refill: true, limit: String(limit), ...from };
    const subscriber = this.#harness.subscribe(request);
    await subscriber.isAccepted();
    this.history.push(`limit ${limit} behind ${this.had.length}`);
    return subscriber;
  }

  #publish(count: number, mayShed: boolean): void {
    for (let left = count; left > 0; left--) {
      this.#random.pick(this.#recorders).record('process.exec', this.#published);
      this.#published++;
    }
    for (const agent of this.#agents) {
      agent.shedding = mayShed && this.#random.between(0, 1) === 0;
      agent.publish();
    }
  }

  /** A stream up to its limit, while nodes publish and shed, and one of them may break off. */
  async limited(): Promise<void> {
    const random = this.#random;
    const { history } = this;
    const limit = random.between(1, 12);
    const subscriber = await this.#subscribe(limit);
    if (random.between(0, 4) === 0) {
      const at = random.between(0, NODES.length - 1);
      history.push(`${NODES[at]} comes back`);
      this.#agents[at]!.kill();
      await this.#connect(at);
      await until('interest', () => this.#agents[at]!.topics.includes('process'));
    }
    const due = () => this.#published - this.had.length - subscriber.events.length;
    while (!subscriber.ended) {
      this.#publish(random.between(0, 6), true);
      await until(this.#told(subscriber), () => subscriber.ended || due() < 60);
      await new Promise(setImmediate);
    }
    this.#take(subscriber);
    assert.equal(subscriber.error, undefined);
    assert.equal(subscriber.events.length, limit, this.#told(subscriber));
  }

  /** Until nothing is owed any more: only so many ranges of the log may be. */
  async whole(): Promise<void> {
    const subscriber = await this.#subscribe(0);
    this.#publish(NODES.length, false);
    await until('all', () => this.had.length + subscriber.events.length >= this.#published).catch(() => undefined);
    this.#take(subscriber);
    subscriber.cancel();
    const all = this.#recorders.flatMap(({ events }, at) =>
      events.map(({ event }) => `${NODES[at]}:${event.process!.pid}`),
    );
    const had = new Set(this.had);
    assert.deepEqual(
      all.filter((name) => !had.has(name)),
      [],
      this.#told(subscriber),
    );
  }

  #take(subscriber: Subscriber): void {
    this.had.push(...subscriber.events);
    this.#cursor = subscriber.cursor;
    assert.equal(new Set(this.had).size, this.had.length, `nothing twice; ${this.#told(subscriber)}`);
  }

  #told({ events }: Subscriber): string {
    return `seed ${SEED}: ${this.history.join(', ')}; ${events.join(' ')}`;
  }
}

test('following streams with refill and late nodes: each keeps its limit, and all together have every event once', async () => {
  const harness = await Harness.start();
  try {
    const follower = new Follower(harness, new Random(SEED));
    await follower.start();
    for (let round = 0; round < STREAMS / 6; round++) {
      for (let stream = 0; stream < 6; stream++) await follower.limited();
      await follower.whole();
    }
  } finally {
    await harness.destroy();
  }
});
