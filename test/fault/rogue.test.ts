/**
 * An agent that does not keep to its budget: the broker does not read it on,
 * over its lives and connections together, and nobody else sees anything of it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client/client.js';
import { BUDGET_BURST_BYTES_MIN, BUDGET_TOLERANCE, KiB, MESSAGE_BYTES_MAX } from '../../src/limits.js';
import type { SubscribeRequest } from '../../src/wire/messages.js';
import { Cluster } from '../harness/cluster/driver.js';
import { runs } from '../harness/runs.js';
import { until } from '../harness/until.js';
import { bootNs, caughtUp, runFaults } from './run.js';

const RATE = 16 * KiB;
/** An event has about 175 bytes: together twenty times the rate. */
const EVENTS_PER_SECOND = 2_000;
const LIVES = runs(2);
const LIFE_MS = 2_500;
const SAMPLE_MS = 100;

interface Sample {
  readonly askedMs: number;
  readonly answeredMs: number;
  /** Bytes that the broker has taken in from the node so far. */
  readonly bytes: number;
}

class Meter {
  readonly samples: Sample[] = [];
  #done = false;
  readonly #sampled: Promise<void>;

  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#sampled = this.#sample();
  }

  async end(): Promise<void> {
    this.#done = true;
    await this.#sampled;
  }

  /** Bytes beyond the allowed ones, of every stretch between two samples that has any, most first. */
  get excess(): { readonly ms: number; readonly bytes: number; readonly allowed: number }[] {
    const burst = BUDGET_BURST_BYTES_MIN + RATE * BUDGET_TOLERANCE;
    const pairs = this.samples.flatMap((from, at) =>
      this.samples.slice(at + 1).map((to) => {
        const ms = to.answeredMs - from.askedMs;
        // A message is taken in whole, even if the allowance covers only a part of it, and has several frames where an
        // agent sends faster than it should.
        const allowed = burst + (RATE * BUDGET_TOLERANCE * ms) / 1000 + MESSAGE_BYTES_MAX;
        return { ms, bytes: to.bytes - from.bytes, allowed };
      }),
    );
    return pairs
      .filter(({ bytes, allowed }) => bytes > allowed)
      .sort((a, b) => b.bytes / b.allowed - a.bytes / a.allowed);
  }

  async #sample(): Promise<void> {
    while (!this.#done) {
      const askedMs = performance.now();
      const answer = await this.#cluster.get('/v1/nodes');
      const { nodes } = (await answer.json()) as { nodes: { name: string; uplinkBytes: string }[] };
      const bytes = Number(nodes.find(({ name }) => name === 'rogue')?.uplinkBytes ?? 0);
      this.samples.push({ askedMs, answeredMs: performance.now(), bytes });
      await sleep(SAMPLE_MS);
    }
  }
}

/** Whether its node has acknowledged the interest in time. */
async function answers(client: Client, request: SubscribeRequest): Promise<boolean> {
  for await (const item of client.subscribe(request, new AbortController().signal)) {
    if (item.kind === 'accepted') return item.accepted.nodes.includes('rogue');
  }
  return false;
}

test('the broker stops reading a node that ignores its budget, in each of its lives, but not its control or others', async () => {
  const cluster = await Cluster.start();
  const client = cluster.client();
  const ending = new AbortController();
  try {
    await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 200 });
    await cluster.subscribe('honest', {
      args: ['--node', 'alpha', '--filter', 'event.type == "process.exec"'],
      nodes: (n) => n === 'alpha',
    });
    const loud = { topics: ['process'], nodes: ['rogue'], follow: true };
    const heard = (async () => {
      let events = 0;
      for await (const item of client.subscribe(loud, ending.signal))
        if (item.kind === 'events') events += item.batch.events.length;
      return events;
    })();
    const rogue = await cluster.agent({
      name: 'rogue',
      nodes: 1,
      eventsPerSecond: EVENTS_PER_SECOND,
      budgetBytesPerSecond: RATE,
      rogue: true,
    });
    const meter = new Meter(cluster);
    for (let life = 0; life < LIVES; life += 1) {
      await until('bytes of it', () => (meter.samples.at(-1)?.bytes ?? 0) > 0);
      await sleep(LIFE_MS);
      // Over its budget, the node still answers on its control stream.
      await until('its answer', () => answers(client, { ...loud, filter: `process.pid != ${life}` }));
      if (life === LIVES - 1) break;
      await rogue.end('SIGKILL');
      rogue.start();
      await sleep(LIFE_MS);
    }
    await meter.end();
    assert.deepEqual(meter.excess.slice(0, 3), []);
    assert.deepEqual(await caughtUp(cluster, bootNs()), []);
    ending.abort();
    assert.ok((await heard) > 0);
    const { violations } = await runFaults(cluster, { seed: 0, durationMs: 0, kinds: ['kill'] });
    assert.deepEqual(violations, []);
  } finally {
    ending.abort();
    client.close();
    await cluster.destroy();
  }
});
