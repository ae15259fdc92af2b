/** The synthetic source: deterministic, complete, in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SyntheticOptions, SyntheticSource } from '../../../../src/sensor-agent/source/synthetic/synthetic.js';
import { Recording } from '../../../harness/kernel/live-kernel.js';

async function run(options: Omit<SyntheticOptions, 'nowNs'>, steps: readonly bigint[]): Promise<Recording> {
  let now = 1_000_000_000n;
  const source = new SyntheticSource({ ...options, nowNs: () => now });
  const seen = new Recording(() => source.formats);
  await source.start(seen);
  for (const step of steps) {
    now += step;
    while (!source.drain().empty);
    const horizon = seen.horizons.at(-1)!;
    assert.ok(seen.events.every((event) => event.timeNs <= now));
    assert.ok(horizon >= now);
  }
  await source.stop();
  return seen;
}

test('the same seed makes the same events, at whatever times they are drained', async () => {
  const options = { eventsPerSecond: 50_000, lanes: 3, seed: 7 };
  const [one, other, another] = await Promise.all([
    run(options, [100_000_000n, 300_000_000n]),
    run(
      options,
      Array.from({ length: 40 }, () => 10_000_000n),
    ),
    run({ ...options, seed: 8 }, [400_000_000n]),
  ]);
  assert.equal(one.events.length, 20_001);
  for (const lane of [0, 1, 2]) {
    const of = (recording: Recording) => recording.events.filter((event) => event.lane === lane);
    assert.deepEqual(of(one), of(other));
    assert.notDeepEqual(of(one), of(another));
  }
  const kinds = new Set(one.events.map((event) => event.name));
  assert.equal(kinds.size, 6);
  assert.equal(one.execs.length, one.named('sched_process_exec').length);
});

test('no event comes below a horizon that was announced', async () => {
  let now = 0n;
  const source = new SyntheticSource({ eventsPerSecond: 777, nowNs: () => now });
  let horizon = 0n;
  const seen = new Recording(() => source.formats);
  await source.start(seen);
  for (let i = 0; i < 100; i++) {
    now += BigInt((i * 7_919_000) % 9_000_000);
    const before = seen.events.length;
    source.drain();
    for (const event of seen.events.slice(before)) assert.ok(event.timeNs >= horizon);
    horizon = seen.horizons.at(-1)!;
  }
  assert.ok(seen.events.length > 300);
});

test('numbered events count without a hole, and stop at their end', async () => {
  const seen = await run({ eventsPerSecond: 1_000_000, mix: { numbered: 1 }, eventsMax: 250_000 }, [1_000_000_000n]);
  assert.equal(seen.events.length, 250_000);
  seen.execs.forEach((record, i) => {
    assert.equal(record.process?.args?.at(-1), `--sequence=${i}`);
  });
});

test('options out of bounds are refused', () => {
  assert.throws(() => new SyntheticSource({ eventsPerSecond: 0 }), /eventsPerSecond must be above 0 .* got 0/);
  assert.throws(() => new SyntheticSource({ eventsPerSecond: 1, lanes: 5000 }), /lanes must be 1 to 1024, got 5000/);
});
