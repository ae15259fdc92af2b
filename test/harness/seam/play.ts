/**
 * Whatever comes when: nodes that connect, break off and say late from where they send all, subscribers that go and
 * resume, frames and histories in between, a broker that is killed. Who asked for the past has every event once; who did
 * not has all from some event on, of each node and topic in order; the members of a group, where there is one, what none
 * of them has committed; and nobody is told of a gap.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../fault/schedule.js';
import type { Harness } from '../broker/harness.js';
import { type TestAgent, TestRecorder } from '../broker/test-agent.js';
import { until } from '../until.js';
import { Chain } from './chain.js';
import { Crew, type Due } from './crew.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const STEPS = 60;
const CREW_STEPS = 40;
const NODES = ['a', 'b', 'c'];
const TYPES = ['process.exec', 'network.tcp.connect'];
const WINDOWS = [{ since: '1h' }, {}, { last: 1000 }];
const TOPICS = [['process'], ['network'], ['process', 'network']];
const FILTERS = ['', 'process.pid % 3 == 0'];
const CHAINS_MAX = 4;
const MEMBERS_MAX = 3;
/** A broker that is not ready says so. */
const AGAIN_MS = 50;

class Play {
  readonly told: string[] = [];
  readonly #random: Random;
  readonly #brokers: readonly Harness[];
  readonly #recorders = NODES.map((node) => new TestRecorder(`r-${node}`));
  readonly #agents = new Map<string, TestAgent>();
  readonly #chains: Chain[] = [];
  /** Which broker a node, or a chain, is at. */
  readonly #at = new Map<string | Chain, Harness>();
  readonly #topicOf = new Map<string, string>();
  readonly #crew: Crew | undefined;
  #pid = 0;
  /** From this one on all are recorded at the end. */
  #last = 0;

  constructor(brokers: readonly Harness[], random: Random) {
    this.#brokers = brokers;
    this.#random = random;
    for (const recorder of this.#recorders) recorder.isTimed = true;
    // A group keeps topics asked for, which other seams need to be without.
    if (random.between(0, 1) === 0) return;
    this.#crew = new Crew(brokers, random, { topics: random.pick(TOPICS), filter: random.pick(FILTERS) });
  }

  get steps(): number {
    return this.#crew ? STEPS + CREW_STEPS : STEPS;
  }

  /** Nodes of which nobody has heard yet are not known to cursors of replays (docs/known-limits.md). */
  async introduce(): Promise<void> {
    for (const node of NODES) {
      await this.#connect(node);
      this.#kill(node);
    }
  }

  async step(): Promise<void> {
    const random = this.#random;
    const node = random.pick(NODES);
    const agent = this.#agents.get(node);
    const chain = this.#chains.length === 0 ? undefined : random.pick(this.#chains);
    const does = random.between(0, this.#crew ? 29 : 22);
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
    else if (does < 23) await this.#maybeRestart();
    else if (this.#crew) this.#shareWork(this.#crew, does);
  }

  #shareWork(crew: Crew, does: number): void {
    const random = this.#random;
    crew.reap();
    if (does < 25 && crew.count < MEMBERS_MAX) {
      const broker = random.pick(this.#brokers);
      this.told.push(`${crew.join(broker)}${this.#toldAt(broker)}`);
    } else if (does < 26) this.#say(crew.leave());
    else if (does < 27) this.#say(crew.pause(random.between(0, 1) === 0));
    else this.#say(crew.commit());
  }

  #say(what: string | undefined): void {
    if (what !== undefined) this.told.push(what);
  }

  #record(node: string, count: number): void {
    this.told.push(`${node} records ${this.#pid} to ${this.#pid + count - 1}`);
    const recorder = this.#recorders[NODES.indexOf(node)]!;
    for (let left = count; left > 0; left--) recorder.record(this.#random.pick(TYPES), this.#pid++);
    // What was told stays so.
    if (this.#random.between(0, 2) === 0) recorder.held = this.#random.between(0, Math.min(5, recorder.held + count));
    else recorder.held = 0;
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
    if (this.#agents.has(node) && this.#brokers.length === 1) return;
    const random = this.#random;
    const broker = random.pick(this.#brokers);
    this.told.push(`${node} connects${this.#toldAt(broker)}`);
    const agent = await broker.agent(node, this.#recorders[NODES.indexOf(node)]!);
    // It has moved.
    this.#agents.get(node)?.kill();
    this.#at.set(node, broker);
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
    const filter = this.#random.pick(FILTERS);
    const chain = new Chain({
      ...this.#random.pick(WINDOWS),
      topics: this.#random.pick(TOPICS),
      filter,
    });
    this.#chains.push(chain);
    this.#begin(chain);
  }

  #begin(chain: Chain): void {
    this.#beginAs(chain, !chain.mayReplay || this.#random.between(0, 3) > 0);
  }

  #beginAs(chain: Chain, follow: boolean): void {
    const broker = this.#random.pick(this.#brokers);
    this.#at.set(chain, broker);
    this.told.push(`${this.#nameOf(chain)} ${follow ? 'subscribes' : 'replays'}${this.#toldAt(broker)}`);
    chain.begin(broker, follow);
  }

  #toldAt(broker: Harness): string {
    return this.#brokers.length === 1 ? '' : ` at ${this.#brokers.indexOf(broker)}`;
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

  async #maybeRestart(): Promise<void> {
    if (this.#random.between(0, 3) > 0) return;
    const broker = this.#random.pick(this.#brokers);
    this.told.push(`the broker${this.#toldAt(broker)} is killed`);
    const connected = [...this.#agents.keys()].filter((node) => this.#at.get(node) === broker);
    const going = this.#chains.filter((chain) => chain.goes && this.#at.get(chain) === broker);
    await broker.broker.abort();
    for (const node of connected) this.#kill(node);
    for (const chain of going) chain.cut();
    const members = this.#crew?.lost(broker) ?? 0;
    await broker.startBroker();
    for (let left = members; left > 0; left--) this.#say(this.#crew!.join(this.#random.pick(this.#brokers)));
    for (const node of connected) await this.#connect(node);
    for (const chain of going) this.#begin(chain);
  }

  /** All are there, and all is sent: then all is delivered. */
  async end(): Promise<void> {
    for (const chain of this.#chains) {
      chain.pause(false);
      if (!chain.follows) chain.cut();
      if (!chain.goes) this.#beginAs(chain, true);
    }
    // Who asked for no past has what is recorded from here on.
    for (const chain of this.#chains) {
      while (!(await chain.isAccepted())) await this.#beginAgain(chain);
    }
    for (const node of NODES) if (!this.#agents.has(node)) await this.#connect(node);
    for (const agent of this.#agents.values()) answersNow(agent);
    const crew = this.#crew;
    crew?.readOn();
    const topics = new Set([...this.#chains, ...(crew ? [crew] : [])].flatMap(({ topics }) => topics));
    const isAsked = ({ topics: own }: TestAgent) => [...topics].every((topic) => own.includes(topic));
    await until('interest', async () => {
      await this.#comeBack();
      if (crew) this.#attend(crew);
      return [...this.#agents.values()].every(isAsked);
    });
    this.#last = this.#pid;
    for (const recorder of this.#recorders) recorder.held = 0;
    for (const recorder of this.#recorders)
      for (const type of TYPES) for (let each = 0; each < 3; each++) recorder.record(type, this.#pid++);
    for (const chain of this.#chains) await this.#whole(chain);
    if (crew) await this.#allCommitted(crew);
  }

  /** Somebody is there who takes what there is. */
  #attend(crew: Crew): void {
    crew.reap();
    if (crew.count === 0) this.#say(crew.join(this.#random.pick(this.#brokers), ''));
  }

  async #allCommitted(crew: Crew): Promise<void> {
    let left: string[] = [];
    await until(
      'all to be committed',
      async () => {
        await this.#comeBack();
        for (const agent of this.#agents.values()) agent.publish();
        this.#attend(crew);
        await crew.commitEverything();
        left = crew.uncommitted(this.#due(crew));
        return left.length === 0;
      },
      () => left,
    );
    crew.sawNoGap();
  }

  /** A session that a broker ends, as it may where a node was at two at once, is begun again: the agent decides where. */
  async #comeBack(): Promise<void> {
    for (const [node, { ended }] of [...this.#agents]) {
      if (ended === undefined) continue;
      this.told.push(`${node} was sent away: ${ended}`);
      this.#agents.delete(node);
      await this.#connect(node);
      answersNow(this.#agents.get(node)!);
    }
  }

  async #beginAgain(chain: Chain): Promise<void> {
    await sleep(AGAIN_MS);
    chain.cut();
    this.#beginAs(chain, true);
  }

  async #whole(chain: Chain): Promise<void> {
    await until(
      `all of ${this.#nameOf(chain)}`,
      async () => {
        if (chain.isAway) await this.#beginAgain(chain);
        await this.#comeBack();
        for (const agent of this.#agents.values()) agent.publish();
        return chain.error !== undefined || this.#lacking(chain).length === 0;
      },
      () => [chain.had.length, this.#lacking(chain)],
    );
    assert.equal(chain.error, undefined);
    assert.deepEqual(chain.gaps, []);
    for (const [node, topic, due] of this.#due(chain)) {
      const had = chain.had.filter((name) => this.#topicOf.get(name) === topic && name.startsWith(`${node}:`));
      const first = chain.hasPast ? 0 : due.length - had.length;
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
  #due(chain: Pick<Chain, 'topics' | 'matches'>): Due[] {
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

function answersNow(agent: TestAgent): void {
  agent.answersLate = false;
  agent.answerLate();
}

/** The same in each `npm test`, others in each `npm run check`. */
export function seamSeed(): number {
  return Number(process.env.BACKPLANE_SEAM_SEED ?? (IS_LONG ? Math.floor(Math.random() * 2 ** 31) : 1));
}

/** Throws with what was done, and the seed with which it is done again. */
export async function play(brokers: readonly Harness[], seed: number): Promise<void> {
  const each = new Play(brokers, new Random(seed));
  try {
    await each.introduce();
    for (const broker of brokers) await broker.knowsNodes(NODES);
    for (let step = 0; step < each.steps; step++) await each.step();
    await each.end();
  } catch (cause) {
    const { message } = cause as Error;
    throw new Error(`BACKPLANE_SEAM_SEED=${seed}: ${message}\n${each.told.join('\n')}`, { cause });
  }
}
