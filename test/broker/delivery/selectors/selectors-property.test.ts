/**
 * Whatever is published and shed, whoever goes away and comes back at whichever cursor, with whichever selectors: each
 * selector gets, each once, exactly the events that it matches from where it began, and of each event the fields that
 * the selectors want that it matches.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePredicate, type Predicate } from '../../../../src/subscriptions/predicate.js';
import { cutRuns, unionOfMasks } from '../../../../src/wire/event/field-mask.js';
import type { ReceivedBatch } from '../../../../src/wire/received-batch.js';
import { Random } from '../../../fault/schedule.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import type { Recorded, TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

const SEED = Number(process.env.BACKPLANE_SELECTORS_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** They run beside each other, each with a node and a subscriber of its own. */
const SCENARIOS = 12;
const STEPS = 25;
const TYPES: Readonly<Record<string, string>> = { process: 'process.exec', network: 'network.tcp.connect' };

/** Gets everything, so that it is known how far a cursor is. */
const BASE = { id: 'base', topics: ['process', 'network'], filter: '', fields: [] };
const VARIANTS = [
  { topics: ['process'], filter: 'process.comm == "c1"', fields: [] },
  { topics: ['process'], filter: 'process.comm in ["c0", "c1"]', fields: ['process.pid'] },
  { topics: ['network'], filter: '', fields: [] },
  { topics: ['network'], filter: 'process.comm == "c2"', fields: ['process.pid', 'process.comm'] },
  { topics: ['process', 'network'], filter: 'process.comm != "c3"', fields: ['process.pid'] },
  { topics: ['host'], filter: '', fields: [] },
];

type Selector = (typeof VARIANTS)[number] & { readonly id: string };

/** One selector from where it began on, over all streams in which it stayed the same. */
interface Run {
  readonly selector: Selector;
  readonly predicate: Predicate;
  /** By topic, the last event that came before it began, and the first that must come. */
  readonly afterPid: ReadonlyMap<string, number>;
  readonly mustPid: number;
  readonly pids: number[];
}

/** An event as it came. */
interface Came {
  readonly pid: number;
  readonly topic: string;
  readonly refill: boolean;
  readonly selectors: readonly string[];
  readonly bytes: Buffer;
}

class Scenario {
  #agent!: TestAgent;
  #subscriber!: Subscriber;
  #published = 0;
  readonly #publishes: { readonly from: number; readonly shed: boolean }[] = [];
  /** Live and from history, by topic, over all streams. */
  readonly #reached = new Map<string, number>();
  #runs = new Map<string, Run>();
  #selectors: Selector[] = [];
  /** What they were when the cursor was given. */
  #before: { readonly selectors: readonly Selector[]; readonly runs: ReadonlyMap<string, Run> } = {
    selectors: [],
    runs: new Map(),
  };
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
    this.#publish(this.#random.between(0, 5), false);
    await this.#subscribe(this.#changed());
    for (let step = 0; step < STEPS; step++) await this.#step();
    if (this.#agent.ended) await this.#reconnect();
    this.#publish(4, false);
    await until(
      `${this.#node}: all of ${this.#published}; ${this.#told}`,
      () => this.#runs.get('base')!.pids.length + this.#came().length >= this.#published,
      () => this.#subscriber.responses.length,
    );
    await this.#checkLedger();
    this.#take(this.#came().length);
    for (const run of this.#runs.values()) this.#check(run, true);
    this.#subscriber.cancel();
  }

  get #told(): string {
    return `seed ${SEED}, ${this.#node}: ${this.history.join(', ')}`;
  }

  async #step(): Promise<void> {
    const what = this.#random.between(0, 11);
    if (what < 7) {
      this.#publish(this.#random.between(1, 12), this.#random.between(0, 1) === 1);
      if (this.#random.between(0, 2) === 0) await this.#something();
    } else if (what === 7) {
      this.history.push('agent away');
      this.#agent.kill();
      this.#record(this.#random.between(0, 6));
      await this.#reconnect();
    } else if (what < 10) await this.#resume();
    else await this.#something();
  }

  #record(count: number): void {
    for (const pid of range(this.#published, this.#published + count)) {
      const topic = this.#random.pick(['process', 'process', 'network']);
      this.#agent.recorder.record(TYPES[topic]!, pid, `c${this.#random.between(0, 3)}`);
    }
    this.#published += count;
  }

  #publish(count: number, shed: boolean): void {
    this.history.push(`${shed ? 'shed' : 'sent'} ${count}`);
    // Of none there is no frame that a cursor could be behind.
    if (count > 0) this.#publishes.push({ from: this.#published, shed });
    this.#record(count);
    this.#agent.shedding = shed;
    this.#agent.publish();
  }

  async #reconnect(): Promise<void> {
    this.#agent = await this.#harness.agent(this.#node, this.#agent.recorder);
    await until('interest', () => this.#agent.topics.includes('process'));
    this.#agent.publish();
  }

  /** Each of three ids is as it was, is another one, goes, or comes. */
  #changed(): Selector[] {
    const random = this.#random;
    const others = ['x', 'y', 'z'].flatMap((id): Selector[] => {
      const before = this.#selectors.find((selector) => selector.id === id);
      const what = random.between(0, 5);
      if (before !== undefined && what < 3) return [before];
      return what === 3 ? [] : [{ id, ...random.pick(VARIANTS) }];
    });
    return random.between(0, 1) === 0 ? [BASE, ...others] : [...others, BASE];
  }

  async #subscribe(selectors: Selector[]): Promise<void> {
    const from = this.#cursor === '' ? { since: '1h' } : { cursor: this.#cursor };
    const request = { selectors, nodes: [this.#node], follow: true, refill: true, ...from };
    this.#subscriber = this.#harness.subscribe(request);
    await this.#subscriber.isAccepted();
    const starts = selectors.map(({ id }) => ({ selector: id, start: this.#startOf(id, selectors) }));
    assert.deepEqual(this.#subscriber.accepted?.selectors, starts, this.#told);
    for (const run of this.#before.runs.values()) this.#check(run, false);
    const resumed = starts.filter(({ start }) => start === 'resumed').map(({ selector }) => selector);
    this.#runs = new Map([...this.#before.runs].filter(([id]) => resumed.includes(id)));
    for (const selector of selectors) this.#begin(selector);
    this.#selectors = selectors;
  }

  #startOf(id: string, selectors: readonly Selector[]): string {
    const before = this.#before.selectors.find((selector) => selector.id === id);
    if (this.#cursor === '' || before === undefined) return 'new';
    const { id: _, ...now } = selectors.find((selector) => selector.id === id)!;
    const { id: __, ...was } = before;
    return JSON.stringify(now) === JSON.stringify(was) ? 'resumed' : 'changed';
  }

  #begin(selector: Selector): void {
    if (this.#runs.has(selector.id)) return;
    const first = this.#cursor === '';
    // The cursor may be behind frames of which all was shed, but not behind one of which something was sent.
    const furthest = Math.max(-1, ...this.#reached.values());
    const next = this.#publishes.find(({ from, shed }) => !shed && from > furthest);
    this.#runs.set(selector.id, {
      selector,
      predicate: compilePredicate({ ...selector, includeSelf: false }),
      afterPid: first ? new Map() : new Map(this.#reached),
      mustPid: first ? 0 : (next?.from ?? this.#published),
      pids: [],
    });
  }

  #came(): Came[] {
    return this.#subscriber.responses.flatMap(({ events }) => {
      const batch = events as ReceivedBatch | null;
      if (!batch) return [];
      const { topic, refill } = batch;
      return batch.received.map(({ message, selectors, bytes }) => {
        return { pid: message.process!.pid, topic, refill, selectors, bytes };
      });
    });
  }

  /** Goes on at any cursor of this stream, with other selectors: what came behind it was not received. */
  async #resume(): Promise<void> {
    const { cursors } = this.#subscriber;
    const came = this.#came();
    this.#subscriber.cancel();
    if (cursors.length > 0) {
      const { cursor, count } = this.#random.pick(cursors);
      this.#take(count, came);
      this.#cursor = cursor;
      this.#before = { selectors: this.#selectors, runs: this.#runs };
    }
    const selectors = this.#changed();
    this.history.push(`resume at ${[...this.#reached.values()].join(' ')} with ${selectors.map(textOf).join(' ')}`);
    await this.#subscribe(selectors);
  }

  /** Takes the first events of this stream for received. */
  #take(count: number, came = this.#came()): void {
    const recorded = new Map(this.#agent.recorder.events.map((each) => [each.event.process!.pid, each]));
    for (const { pid, topic, refill, selectors, bytes } of came.slice(0, count)) {
      if (!refill) this.#reached.set(topic, Math.max(this.#reached.get(topic) ?? -1, pid));
      assert.ok(selectors.length > 0, `${pid} matches something; ${this.#told}`);
      for (const id of selectors) this.#runs.get(id)!.pids.push(pid);
      this.#checkContent(recorded.get(pid)!, selectors, bytes);
    }
  }

  #checkContent({ event, run }: Recorded, selectors: readonly string[], bytes: Buffer): void {
    const predicates = selectors.map((id) => this.#runs.get(id)!.predicate);
    assert.ok(
      predicates.every((predicate) => predicate.matches(event)),
      this.#told,
    );
    const mask = unionOfMasks(predicates.map((predicate) => predicate.mask));
    const expected = mask === undefined ? run : cutRuns(run, mask);
    assert.deepEqual(bytes, expected.subarray(expected.length - 2 < 128 ? 2 : 3), this.#told);
  }

  /** Waits until some of what is missing has come. */
  async #something(): Promise<void> {
    const before = this.#came().length;
    if (this.#agent.ended || this.#runs.get('base')!.pids.length + before >= this.#published) return;
    const subscriber = this.#subscriber;
    await until(
      `${this.#node}: more; ${this.#told}`,
      () => this.#came().length > before,
      () => `${subscriber.responses.length} responses; ${subscriber.error?.message}; agent ${this.#agent.ended}`,
    );
  }

  /** @param all whether all that it matches must have come */
  #check({ selector, predicate, afterPid, mustPid, pids }: Run, all: boolean): void {
    const told = `${textOf(selector)}; ${this.#told}`;
    const got = new Set(pids);
    assert.equal(got.size, pids.length, `nothing comes twice; ${told}`);
    for (const topic of selector.topics) {
      const matching = this.#agent.recorder.events
        .filter(({ event }) => event.topic === topic && predicate.matches(event))
        .map(({ event }) => event.process!.pid);
      const first = matching.find((pid) => got.has(pid)) ?? Number.POSITIVE_INFINITY;
      assert.ok(first > (afterPid.get(topic) ?? -1), `${topic} begins at its cursor, not at ${first}; ${told}`);
      if (!all) continue;
      const due = matching.filter((pid) => pid >= Math.min(first, mustPid));
      assert.deepEqual(
        due.filter((pid) => !got.has(pid)),
        [],
        `all ${topic} from ${Math.min(first, mustPid)} on; ${told}`,
      );
    }
  }

  /** Of this stream alone. */
  async #checkLedger(): Promise<void> {
    const came = this.#came();
    const delivered = (id: string) => came.filter(({ selectors }) => selectors.includes(id)).length;
    const expected = this.#selectors.map(({ id }) => ({ selector: id, delivered: delivered(id), shed: 0, skipped: 0 }));
    let last: unknown;
    await until(
      `the ledger; ${this.#told}`,
      async () => {
        const answer = await fetch(`http://${this.#harness.broker.httpAddress}/v1/subscriptions`);
        const { subscriptions } = (await answer.json()) as { subscriptions: ListedSubscription[] };
        const { id } = { id: this.#subscriber.accepted!.subscriptionId };
        const listed = subscriptions.find((each) => each.id === id)!;
        last = listed.selectorLedgers.map(({ selector, delivered, shed, skipped }) => {
          return { selector, delivered: Number(delivered), shed: Number(shed), skipped: Number(skipped) };
        });
        return Number(listed.eventsDelivered) === came.length && JSON.stringify(last) === JSON.stringify(expected);
      },
      () => JSON.stringify(last),
    );
  }
}

interface ListedSubscription {
  readonly id: string;
  readonly eventsDelivered: string;
  readonly selectorLedgers: readonly Record<'selector' | 'delivered' | 'shed' | 'skipped', string>[];
}

function textOf({ id, topics, filter }: Selector): string {
  return `${id}(${topics.join('+')} ${filter})`;
}

test('each selector gets what it alone would get, over random sheds, interruptions and changed selectors', async () => {
  console.log(`# BACKPLANE_SELECTORS_SEED=${SEED}`);
  const harness = await Harness.start();
  try {
    const scenarios = range(0, SCENARIOS).map((at) => new Scenario(harness, `node-${at}`, new Random(SEED + at)));
    await Promise.all(scenarios.map((scenario) => scenario.run()));
  } finally {
    await harness.destroy();
  }
});
