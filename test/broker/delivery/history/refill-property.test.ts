/**
 * Whatever is shed, whoever goes away and comes back at whichever cursor: with
 * refill every event comes once, and in order among live ones and among refills.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../../fault/schedule.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

const SEED = Number(process.env.BACKPLANE_REFILL_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** They run beside each other, each with a node and a subscriber of its own. */
const SCENARIOS = 12;
const STEPS = 20;

class Scenario {
  #agent!: TestAgent;
  #subscriber!: Subscriber;
  #published = 0;
  /** Before the present stream. */
  #had: number[] = [];
  #cursor = '';
  readonly history: string[] = [];

  readonly #harness: Harness;
  readonly #node: string;
  readonly #random: Random;

  constructor(harness: Harness, node: string, random: Random) {
    this.#harness = harness;
    this.#node = node;
    this.#random = random;
  }

  async run(): Promise<void> {
    this.#agent = await this.#harness.agent(this.#node);
    await this.#subscribe();
    for (let step = 0; step < STEPS; step++) await this.#step();
    if (this.#agent.ended) await this.#reconnect();
    this.#publish(1, false);
    await until(
      `${this.#node}: all ${this.#published}; ${this.history.join(', ')}`,
      () => this.#count >= this.#published,
    );
    this.#check();
  }

  get #count(): number {
    return this.#had.length + this.#subscriber.pids.length;
  }

  async #step(): Promise<void> {
    const what = this.#random.between(0, 11);
    if (what < 8) {
      this.#publish(this.#random.between(1, 20), this.#random.between(0, 1) === 1);
      // Sometimes what was published has come before the next, sometimes not.
      if (this.#random.between(0, 2) === 0) await this.#something();
    } else if (what === 8) {
      this.history.push('agent away');
      this.#agent.kill();
      for (const pid of this.#next(this.#random.between(0, 10))) this.#agent.recorder.record('process.exec', pid);
      await this.#reconnect();
    } else if (what < 11) await this.#resume();
    else await this.#something();
  }

  #next(count: number): number[] {
    const pids = range(this.#published, this.#published + count);
    this.#published += count;
    return pids;
  }

  #publish(count: number, shedding: boolean): void {
    this.history.push(`${shedding ? 'shed' : 'sent'} ${count}`);
    for (const pid of this.#next(count)) this.#agent.recorder.record('process.exec', pid);
    this.#agent.shedding = shedding;
    this.#agent.publish();
  }

  async #reconnect(): Promise<void> {
    this.#agent = await this.#harness.agent(this.#node, this.#agent.recorder);
    await until('interest', () => this.#agent.topics.includes('process'));
    this.#agent.publish();
  }

  async #subscribe(): Promise<void> {
    const lag = this.#random.between(0, 2) === 0 ? { lagPolicy: 'skip', lagMax: '1s' } : {};
    const from = this.#cursor === '' ? { since: '1h' } : { cursor: this.#cursor };
    const request = { topics: ['process'], nodes: [this.#node], follow: true, refill: true, ...lag, ...from };
    this.#subscriber = this.#harness.subscribe(request);
    await this.#subscriber.isAccepted();
  }

  /** Goes on at any cursor of this stream: what came behind it was not received. */
  async #resume(): Promise<void> {
    this.#check();
    const { cursors, pids } = this.#subscriber;
    this.#subscriber.cancel();
    if (cursors.length > 0) {
      const { cursor, count } = this.#random.pick(cursors);
      this.#cursor = cursor;
      this.#had.push(...pids.slice(0, count));
      this.history.push(`resume behind ${this.#had.length}`);
    } else this.history.push('resume where it was');
    await this.#subscribe();
  }

  /** Waits until some of what is missing has come, live or refilled. */
  async #something(): Promise<void> {
    const before = this.#count;
    const live = this.#published > 0 && before < this.#published && !this.#agent.ended;
    if (live) await until(`${this.#node}: more; ${this.history.join(', ')}`, () => this.#count > before);
  }

  #check(): void {
    const told = `seed ${SEED}, ${this.#node}: ${this.history.join(', ')}`;
    const all = [...this.#had, ...this.#subscriber.pids];
    assert.equal(new Set(all).size, all.length, `nothing comes twice; ${told}`);
    const { refilled } = this.#subscriber;
    const late = new Set(refilled);
    for (const pids of [refilled, this.#subscriber.pids.filter((pid) => !late.has(pid))]) {
      assert.deepEqual(
        pids,
        pids.toSorted((a, b) => a - b),
        `in order; ${told}`,
      );
    }
  }
}

test('refill delivers every event once over random sheds, skips, interruptions and resumptions', async () => {
  console.log(`# BACKPLANE_REFILL_SEED=${SEED}`);
  const harness = await Harness.start();
  try {
    const scenarios = range(0, SCENARIOS).map((at) => {
      return new Scenario(harness, `node-${at}`, new Random(SEED + at));
    });
    await Promise.all(scenarios.map((scenario) => scenario.run()));
  } finally {
    await harness.destroy();
  }
});
