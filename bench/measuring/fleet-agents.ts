/**
 * Many agents without a kernel, in processes of their own: the real protocol, events at a rate, gathered as the broker says.
 * This file is the program of such a process, too.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TestAgent, TestRecorder } from '../../test/harness/broker/test-agent.js';
import { cpuSeconds } from './process-cost.js';

/** As an agent by default, unless the broker says more. */
const LINGER_MS = 100;
/** As an agent that has had nothing to tell for a while. */
const COVERAGE_MS = 4_000;
/** Messages of an agent that its connection has not taken: beyond it events gather. */
const UNSENT_MAX = 4;
const CONNECT_AT_ONCE = 25;
/** Of so many events one says how long it was gathered. */
const SAMPLED = 50;

/** What one process does. */
export interface AgentsTask {
  readonly address: string;
  readonly token: string;
  readonly from: number;
  readonly count: number;
  /** Milliseconds since 1970 from which events count their time, in the field `pid`. */
  readonly baseMs: number;
}

/** Since it was asked for last; events since the beginning. */
interface Made {
  readonly events: number;
  /** From when events were due to when they were sent, of some of them. */
  readonly gatheredMs: readonly number[];
  /** The longest time that an agent was told to gather. */
  readonly lingerMs: number;
}

export class Agents {
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  /** Resolves when all are connected. */
  static async come(tasks: readonly AgentsTask[]): Promise<Agents> {
    const children = tasks.map((task) => fork(fileURLToPath(import.meta.url), ['agents', JSON.stringify(task)]));
    await Promise.all(children.map((child) => once(child, 'message')));
    return new Agents(children);
  }

  /** @param rate events a second of each agent; 0: they say that there is nothing */
  load(rate: number): void {
    for (const child of this.#children) child.send(rate);
  }

  async made(): Promise<Made> {
    const asked = this.#children.map(async (child) => {
      const answer = once(child, 'message');
      child.send('made');
      return (await answer)[0] as Made;
    });
    const all = await Promise.all(asked);
    return {
      events: all.reduce((sum, { events }) => sum + events, 0),
      gatheredMs: all.flatMap(({ gatheredMs }) => gatheredMs),
      lingerMs: Math.max(...all.map(({ lingerMs }) => lingerMs)),
    };
  }

  /** CPU seconds so far. */
  cpu(): number {
    return this.#children.reduce((sum, { pid }) => sum + cpuSeconds(pid!), 0);
  }

  async leave(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
  }
}

/** The agents of one process. */
class Load {
  /** Events a second of each. */
  #rate = 0;
  #events = 0;
  #gatheredMs: number[] = [];
  readonly #agents: TestAgent[] = [];

  readonly #task: AgentsTask;

  constructor(task: AgentsTask) {
    this.#task = task;
  }

  async connect(): Promise<void> {
    const { address, token, from, count } = this.#task;
    const numbers = Array.from({ length: count }, (_, at) => from + at).values();
    const some = async () => {
      for (let next = numbers.next(); !next.done; next = numbers.next()) {
        const recorder = new TestRecorder(`recorder-${next.value}`, 1);
        this.#agents.push(await TestAgent.connect(address, `node-${next.value}`, recorder, {}, token));
      }
    };
    await Promise.all(Array.from({ length: CONNECT_AT_ONCE }, some));
  }

  run(): void {
    process.on('message', (message) => {
      if (message === 'made') process.send!(this.#made());
      else this.#rate = message as number;
    });
    for (const [index, agent] of this.#agents.entries()) void this.#publish(agent, index);
  }

  #made(): Made {
    const gatheredMs = this.#gatheredMs;
    this.#gatheredMs = [];
    const lingerMs = Math.max(...this.#agents.map(({ leastLingers }) => leastLingers.at(-1) ?? 0));
    return { events: this.#events, gatheredMs, lingerMs };
  }

  async #publish(agent: TestAgent, index: number): Promise<void> {
    // Agents were not started at one moment.
    await sleep((index * 37) % 1_000);
    let owed = 0;
    for (let lastMs = performance.now(); agent.ended === undefined; ) {
      const lingerMs = Math.max(LINGER_MS, agent.leastLingers.at(-1) ?? 0);
      await sleep(this.#rate > 0 ? lingerMs : COVERAGE_MS / 8);
      const nowMs = performance.now();
      const rate = this.#rate;
      if (rate > 0) owed += ((nowMs - lastMs) * rate) / 1000;
      else if (nowMs - lastMs < COVERAGE_MS) continue;
      lastMs = nowMs;
      // As a real agent gathers while its connection takes nothing.
      if (agent.unsent() > UNSENT_MAX) continue;
      if (rate > 0) owed = this.#record(agent, owed, rate);
      // Nobody asks for it: frames then say that there was nothing.
      else agent.recorder.record('network.tcp.connect', 1);
      agent.publish();
      agent.recorder.events.splice(0, agent.recorder.events.length - 1);
    }
    console.error(`${agent.node}: ${agent.ended}`);
  }

  /** Each event happened when it was due, and then was gathered. Returns what is left of the last. */
  #record(agent: TestAgent, due: number, rate: number): number {
    const nowMs = Date.now() - this.#task.baseMs;
    let owed = due;
    for (; owed >= 1; owed--) {
      const sinceMs = ((owed - 1) * 1000) / rate;
      agent.recorder.record('process.exec', Math.max(0, Math.round(nowMs - sinceMs)), 'bench');
      if (this.#events++ % SAMPLED === 0) this.#gatheredMs.push(sinceMs);
    }
    return owed;
  }
}

const [, , role, task] = process.argv;
if (role === 'agents') {
  const load = new Load(JSON.parse(task!) as AgentsTask);
  await load.connect();
  process.send!('ready');
  load.run();
}
