/**
 * Whatever comes when: nodes that connect, break off and say late from where they send all, subscribers that go and
 * resume, frames and histories in between, a broker that is killed. Who asked for the past has every event once; who did
 * not has all from some event on, of each node and topic in order; and nobody is told of a gap.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { Random } from '../../fault/schedule.js';
import { Harness, type Subscriber } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

const SEED = Number(process.env.BACKPLANE_SEAM_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = runs(12);
const STEPS = 60;
const NODES = ['a', 'b', 'c'];
const TYPES = ['process.exec', 'network.tcp.connect'];
const WINDOWS = [{ since: '1h' }, {}];
const TOPICS = [['process'], ['network'], ['process', 'network']];
const CHAINS_MAX = 4;

/** What one subscriber was given, over all its streams. */
class Chain {
  readonly #harness: Harness;
  readonly #request: SubscribeRequest;
  readonly #had: string[] = [];
  follows = false;
  #cursor = '';
  #stream: Subscriber | undefined;

  constructor(harness: Harness, request: SubscribeRequest) {
    this.#harness = harness;
    this.#request = request;
  }

  get goes(): boolean {
    return this.#stream !== undefined;
  }

  get hasPast(): boolean {
    return this.#request.since !== undefined;
  }

  get topics(): readonly string[] {
    return this.#request.topics!;
  }

  matches(pid: number): boolean {
    return this.#request.filter === '' || pid % 3 === 0;
  }

  get had(): readonly string[] {
    return [...this.#had, ...(this.#stream?.events ?? [])];
  }

  get error(): string | undefined {
    return this.#stream?.error?.message;
  }

  get gaps() {
    return this.#stream?.gaps ?? [];
  }

  /** Where it only replays what there is, the next stream goes on behind that. */
  begin(follow: boolean): void {
    const from = this.#cursor === '' ? {} : { since: '', cursor: this.#cursor };
    this.follows = follow;
    this.#stream = this.#harness.subscribe({ ...this.#request, ...from, follow });
  }

  /** What came before there was a cursor comes again. */
  cut(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#stream = undefined;
    stream.cancel();
    assert.deepEqual(stream.gaps, []);
    if (stream.cursor === '') return;
    this.#had.push(...stream.events);
    this.#cursor = stream.cursor;
  }

  async isAccepted(): Promise<void> {
    await this.#stream?.isAccepted();
  }

  pause(isPaused: boolean): void {
    if (isPaused) this.#stream?.pause();
    else this.#stream?.resume();
  }
}

class Play {
  readonly told: string[] = [];
  readonly #random: Random;
  readonly #harness: Harness;
  readonly #recorders = NODES.map((node) => new TestRecorder(`r-${node}`));
  readonly #agents = new Map<string, TestAgent>();
  readonly #chains: Chain[] = [];
  readonly #topicOf = new Map<string, string>();
  #pid = 0;
  /** From this one on all are recorded at the end. */
  #last = 0;

  constructor(harness: Harness, random: Random) {
    this.#harness = harness;
    this.#random = random;
    for (const recorder of this.#recorders) recorder.isTimed = true;
  }

  /** Nodes of which nobody has heard yet are not known to cursors of replays (docs/known-limits.md). */
  async introduce(): Promise<void> {
    for (const node of NODES) {
      await this.#connect(node);
      this.#kill(node);
    }
    // A broker that is killed before would not know them.
    const { interestFile } = this.#harness;
    const saved = () => readFileSync(interestFile, 'utf8');
    await until(
      'that all are saved',
      () => existsSync(interestFile) && NODES.every((node) => saved().includes(`r-${node}`)),
    );
  }

  async step(): Promise<void> {
    const random = this.#random;
    const node = random.pick(NODES);
    const agent = this.#agents.get(node);
    const chain = this.#chains.length === 0 ? undefined : random.pick(this.#chains);
    const does = random.between(0, 22);
    if (does < 5) this.#record(node, random.between(0, 5) === 0 ? 120 : random.between(1, 4));
    else if (does < 8) this.#publish(agent);
    else if (does < 9 && agent) this.#publishOne(agent);
    else if (does < 11) await this.#connect(node);
    else if (does < 12) this.#kill(node);
    else if (does < 14) this.#late(agent);
    else if (does < 16) this.#subscribe();
    else if (does < 17 && chain) this.#cut(chain);
    else if (does < 18 && chain) this.#pause(chain);
    else if (does < 22) await this.#wait();
    else if (random.between(0, 3) === 0) await this.#restart();
  }

  #record(node: string, count: number): void {
    this.told.push(`${node} records ${this.#pid} to ${this.#pid + count - 1}`);
    const recorder = this.#recorders[NODES.indexOf(node)]!;
    for (let left = count; left > 0; left--) recorder.record(this.#random.pick(TYPES), this.#pid++);
  }

  #publish(agent: TestAgent | undefined): void {
    if (agent === undefined) return;
    this.told.push(`${agent.node} publishes`);
    agent.publish();
  }

  #publishOne(agent: TestAgent): void {
    const topic = this.#random.pick(['process', 'network']);
    if (!agent.topics.includes(topic)) return;
    this.told.push(`${agent.node} publishes ${topic}`);
    agent.publishTopic(topic, agent.recorder.frontier);
  }

  async #connect(node: string): Promise<void> {
    if (this.#agents.has(node)) return;
    this.told.push(`${node} connects`);
    const random = this.#random;
    const agent = await this.#harness.agent(node, this.#recorders[NODES.indexOf(node)]!);
    agent.answersLate = random.between(0, 2) === 0;
    agent.midHistory = () => sleep(random.between(0, 10));
    this.#agents.set(node, agent);
  }

  #kill(node: string): void {
    const agent = this.#agents.get(node);
    if (agent === undefined) return;
    this.told.push(`${node} is killed`);
    agent.kill();
    this.#agents.delete(node);
  }

  #late(agent: TestAgent | undefined): void {
    if (agent === undefined) return;
    agent.answersLate = !agent.answersLate;
    this.told.push(`${agent.node} answers ${agent.answersLate ? 'late' : 'now'}`);
    if (!agent.answersLate) agent.answerLate();
  }

  #subscribe(): void {
    const away = this.#chains.filter(({ goes }) => !goes);
    if (away.length > 0) this.#begin(this.#random.pick(away));
    if (away.length > 0 || this.#chains.length >= CHAINS_MAX) return;
    const filter = this.#random.pick(['', 'process.pid % 3 == 0']);
    const chain = new Chain(this.#harness, {
      ...this.#random.pick(WINDOWS),
      topics: this.#random.pick(TOPICS),
      filter,
    });
    this.#chains.push(chain);
    this.#begin(chain);
  }

  #begin(chain: Chain): void {
    const follow = !chain.hasPast || this.#random.between(0, 3) > 0;
    this.told.push(`${this.#nameOf(chain)} ${follow ? 'subscribes' : 'replays'}`);
    chain.begin(follow);
  }

  #nameOf(chain: Chain): string {
    return `${this.#chains.indexOf(chain)} (${chain.topics}${chain.hasPast ? ', past' : ''})`;
  }

  #cut(chain: Chain): void {
    if (!chain.goes) return;
    this.told.push(`${this.#nameOf(chain)} goes`);
    chain.cut();
  }

  #pause(chain: Chain): void {
    const isPaused = this.#random.between(0, 1) === 0;
    this.told.push(`${this.#nameOf(chain)} ${isPaused ? 'pauses' : 'reads on'}`);
    chain.pause(isPaused);
  }

  async #wait(): Promise<void> {
    const ms = this.#random.pick([0, 2, 20, 60]);
    this.told.push(`${ms} ms pass`);
    await sleep(ms);
  }

  async #restart(): Promise<void> {
    this.told.push('the broker is killed');
    const connected = [...this.#agents.keys()];
    const going = this.#chains.filter(({ goes }) => goes);
    await this.#harness.broker.abort();
    for (const node of connected) this.#kill(node);
    for (const chain of going) chain.cut();
    await this.#harness.startBroker();
    for (const node of connected) await this.#connect(node);
    for (const chain of going) this.#begin(chain);
  }

  /** All are there, and all is sent: then all is delivered. */
  async end(): Promise<void> {
    for (const chain of this.#chains) {
      chain.pause(false);
      if (!chain.follows) chain.cut();
      if (!chain.goes) chain.begin(true);
    }
    // Who asked for no past has what is recorded from here on.
    for (const chain of this.#chains) await chain.isAccepted();
    for (const node of NODES) await this.#connect(node);
    for (const agent of this.#agents.values()) {
      agent.answersLate = false;
      agent.answerLate();
    }
    const topics = new Set(this.#chains.flatMap(({ topics }) => topics));
    const isAsked = ({ topics: own }: TestAgent) => [...topics].every((topic) => own.includes(topic));
    await until('interest', () => [...this.#agents.values()].every(isAsked));
    this.#last = this.#pid;
    for (const recorder of this.#recorders)
      for (const type of TYPES) for (let each = 0; each < 3; each++) recorder.record(type, this.#pid++);
    for (const chain of this.#chains) await this.#whole(chain);
  }

  async #whole(chain: Chain): Promise<void> {
    await until(
      `all of ${this.#nameOf(chain)}`,
      () => {
        for (const agent of this.#agents.values()) agent.publish();
        return chain.error !== undefined || this.#lacking(chain).length === 0;
      },
      () => [chain.had.length, this.#lacking(chain)],
    );
    assert.equal(chain.error, undefined);
    assert.deepEqual(chain.gaps, []);
    for (const [node, topic, due] of this.#due(chain)) {
      const names = new Set(due);
      const had = chain.had.filter((name) => this.#topicOf.get(name) === topic && name.startsWith(`${node}:`));
      const first = chain.hasPast ? 0 : names.size - had.length;
      assert.deepEqual(had, due.slice(first), `${topic} of ${node}, to ${this.#nameOf(chain)}`);
    }
  }

  /** What is still to come, as far as it is known. */
  #lacking(chain: Chain): string[] {
    const had = new Set(chain.had);
    const isDue = (name: string) => chain.hasPast || Number(name.split(':')[1]) >= this.#last;
    return this.#due(chain).flatMap(([, , due]) => due.filter((name) => isDue(name) && !had.has(name)));
  }

  /** All that a chain would have, had it begun before all, by node and topic. */
  #due(chain: Chain): (readonly [node: string, topic: string, names: readonly string[]])[] {
    return NODES.flatMap((node, at) =>
      chain.topics.map((topic) => {
        const events = this.#recorders[at]!.events.map(({ event }) => event);
        const due = events.filter((event) => event.topic === topic && chain.matches(event.process!.pid));
        const names = due.map((event) => `${node}:${event.process!.pid}`);
        for (const name of names) this.#topicOf.set(name, topic);
        return [node, topic, names] as const;
      }),
    );
  }
}

test('no event is missing at a seam, or comes twice, whatever comes when', async () => {
  for (let run = 0; run < RUNS; run++) {
    const seed = SEED + run;
    const harness = await Harness.start();
    const play = new Play(harness, new Random(seed));
    try {
      await play.introduce();
      for (let step = 0; step < STEPS; step++) await play.step();
      await play.end();
    } catch (cause) {
      const { message } = cause as Error;
      throw new Error(`BACKPLANE_SEAM_SEED=${seed}: ${message}\n${play.told.join('\n')}`, { cause });
    } finally {
      await harness.destroy();
    }
  }
});
